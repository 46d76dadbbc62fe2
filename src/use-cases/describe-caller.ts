/** Who am I? What a caller may know of itself. */

import { formatScope } from '../domain/scope.ts';
import type { AgentStore, Caller, Role } from './ports.ts';

export interface CallerDescription {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly email: string | null;
  readonly allowedScopes: readonly string[];
  readonly agentCount: number;
}

export type DescribeCaller = (caller: Caller) => Promise<CallerDescription>;

export function createDescribeCaller(deps: { store: AgentStore }): DescribeCaller {
  return async ({ principal }) => {
    const [agentCount, record] = await Promise.all([deps.store.countAgents(), deps.store.find(principal.id)]);
    return {
      id: principal.id,
      name: principal.name,
      role: principal.role,
      email: record?.email ?? null,
      allowedScopes: principal.effectiveScopes.map(formatScope),
      agentCount,
    };
  };
}
