/** What the use cases of scoped tokens ask of the outside. */

import type { Scope } from '../../domain/scopes/scope.ts';
import type { AccessTier } from '../../domain/secrets/access-tier.ts';
import type { TokenState } from '../../domain/secrets/secret-authorization.ts';
import type { TokenRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { AuditEvent, RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import type { RETRY } from '../retry-guarded-write.ts';

export interface IssueScopedTokenCommand extends TokenRestrictions {
  /** Scopes or vendor names, as asked. */
  readonly scopes: readonly string[];
  /** The member that they came in: `scope` holds just one. */
  readonly scopesMember: 'scopes' | 'scope';
  readonly ttlSeconds: number;
  readonly requireApproval: boolean;
  readonly description: string | null;
}

/** A new scoped token; the token itself is not kept, only its SHA-256. */
export interface NewScopedToken extends TokenRestrictions {
  readonly id: string;
  readonly tokenHashHex: string;
  readonly agentId: string;
  readonly keyId: string;
  /** The principal's `revision` under which its scopes were decided. */
  readonly agentRevision: number;
  readonly scopes: readonly string[];
  readonly description: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** A scoped token as inventory and introspection see it; `state` is judged by the database clock. */
export interface ScopedTokenRecord extends TokenRestrictions {
  readonly id: string;
  readonly agentId: string;
  readonly scopes: readonly string[];
  readonly uses: number;
  readonly description: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly revokedAt: Date | null;
  readonly state: TokenState;
}

export interface FoundScopedToken extends ScopedTokenRecord {
  /** False: a live row, or its agent's, is not what Writ wrote, and grants nothing. It has been reported. */
  readonly isWhole: boolean;
  /** Its agent is stopped: while it is, the token is not active. */
  readonly isStopped: boolean;
}

export interface ScopedTokenStore {
  /** One guarded write with its event. False: key or agent is not live, or the agent changed; nothing was written. */
  issue(token: NewScopedToken, event: AuditEvent): Promise<boolean>;
  /** Newest first. `agentId` undefined: everybody's. */
  list(query: {
    readonly agentId: string | undefined;
    readonly state: TokenState | undefined;
    readonly limit: number;
    readonly before: string | undefined;
  }): Promise<readonly ScopedTokenRecord[]>;
  find(id: string): Promise<FoundScopedToken | undefined>;
  findByHash(tokenHashHex: string): Promise<FoundScopedToken | undefined>;
  /** `'unchanged'`: it was revoked before, and nothing was written. */
  revoke(
    id: string,
    write: { readonly actorKeyId: string; readonly event: AuditEvent },
  ): Promise<'revoked' | 'unchanged' | 'actor_not_live'>;
  /** The highest tier among the secrets at these paths that exist; undefined when none does. */
  highestTier(paths: readonly string[]): Promise<AccessTier | undefined>;
}

export interface OpenedApproval {
  readonly id: string;
  readonly expiresAt: Date;
}

export const MAX_PENDING = 20;

/** `too_many` of the agent's are pending; `too_wide`: the scopes name more secrets than an approval can. */
export type RequestApproval = (
  asked: { readonly command: IssueScopedTokenCommand; readonly scopes: readonly Scope[] },
  caller: Caller,
  context: RequestContext,
) => Promise<OpenedApproval | 'too_many' | 'too_wide' | typeof RETRY>;
