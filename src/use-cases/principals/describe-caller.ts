/** Who am I? What a caller may know of itself. */

import type { Role } from '../../domain/principals/role.ts';
import { formatScope } from '../../domain/scopes/scope.ts';
import type { Caller } from '../authentication/ports.ts';
import type { SecretReader } from '../secrets/ports.ts';
import { namespacesWithin } from '../secrets/visible-namespaces.ts';
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
  readonly reader: Pick<SecretReader, 'listNamespaces'>;
}): DescribeCaller {
  return async ({ principal }) => {
    let secretCount = 0;
    for await (const namespace of namespacesWithin(deps.reader, principal.effectiveScopes)) {
      secretCount += namespace.secretCount;
    }
    return {
      id: principal.id,
      name: principal.name,
      role: principal.role,
      allowedScopes: principal.effectiveScopes.map(formatScope),
      agentCount: await deps.store.countAgents(),
      secretCount,
    };
  };
}
