/** Who am I? What a caller may know of itself. */

import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
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
  /** Of the key that was sent; null: it does not end. */
  readonly keyExpiresAt: Date | null;
  /** In the last days of that key. */
  readonly warning: string | undefined;
}

export type DescribeCaller = (caller: Caller) => Promise<CallerDescription>;

export function createDescribeCaller(deps: {
  readonly store: AgentStore;
  /** Secrets in the namespaces that these scopes may list. */
  readonly countSecrets: (scopes: readonly Scope[]) => Promise<number>;
  readonly now: () => Date;
  /** Days before its end from when a caller is told that its key ends; 0: never. */
  readonly warningDays: number;
}): DescribeCaller {
  return async ({ principal, keyExpiresAt }) => ({
    id: principal.id,
    name: principal.name,
    role: principal.role,
    allowedScopes: principal.effectiveScopes.map(formatScope),
    agentCount: await deps.store.countAgents(),
    secretCount: await deps.countSecrets(principal.effectiveScopes),
    keyExpiresAt,
    warning: warningOf(keyExpiresAt, deps.now(), deps.warningDays),
  });
}

const DAY_MS = 86_400_000;

function warningOf(endsAt: Date | null, now: Date, days: number): string | undefined {
  if (endsAt === null || endsAt.getTime() - now.getTime() > days * DAY_MS) return undefined;
  return `This API key ends at ${formatTimestamp(endsAt)}: ask an administrator for its successor.`;
}
