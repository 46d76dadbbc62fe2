/** Who am I? What a caller may know of itself. */

import type { Role } from '../../domain/principals/role.ts';
import { formatScope, type Scope } from '../../domain/scopes/scope.ts';
import type { Caller } from '../authentication/ports.ts';
import type { AgentStore } from './ports.ts';

export interface CallerDescription {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly allowedScopes: readonly string[];
  readonly agentCount: number;
  /** In the namespaces that it may list. */
  readonly secretCount: number;
}

export type DescribeCaller = (caller: Caller) => Promise<CallerDescription>;

export function createDescribeCaller(deps: {
  readonly store: AgentStore;
  /** Secrets in the namespaces that these scopes may list. */
  readonly countSecrets: (scopes: readonly Scope[]) => Promise<number>;
}): DescribeCaller {
  return async ({ principal }) => ({
    id: principal.id,
    name: principal.name,
    role: principal.role,
    allowedScopes: principal.effectiveScopes.map(formatScope),
    agentCount: await deps.store.countAgents(),
    secretCount: await deps.countSecrets(principal.effectiveScopes),
  });
}
