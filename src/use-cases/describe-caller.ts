/** Who am I? What a caller may know of itself. */

import { formatScope } from '../domain/scope.ts';
import type { AgentStore, Caller, Role } from './ports.ts';

export interface CallerDescription {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly allowedScopes: readonly string[];
  readonly agentCount: number;
}

export type DescribeCaller = (caller: Caller) => Promise<CallerDescription>;

export function createDescribeCaller(deps: { store: AgentStore }): DescribeCaller {
  return async ({ principal }) => {
    return {
      id: principal.id,
      name: principal.name,
      role: principal.role,
      allowedScopes: principal.effectiveScopes.map(formatScope),
      agentCount: await deps.store.countAgents(),
    };
  };
}
