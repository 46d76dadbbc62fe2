/** Who asks for secrets, what for, and what is known once they may: types only. */

import type { Role } from '../../domain/principals/role.ts';
import type { TierGrant } from '../../domain/secrets/access-tier.ts';
import type {
  AuthorizedOperation,
  SecretGrant,
  SecretOperation,
} from '../../domain/secrets/secret-authorization.ts';
import type { ClientFacts } from '../../domain/secrets/token-restrictions.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import type { CredentialGuard, FoundSecret } from './ports.ts';

/** Where a request came from, as it is recorded and as it is judged. */
export interface ClientContext extends RequestContext, ClientFacts {}

export type PresentedCredential =
  /** Its row has been read for this request. */
  | { readonly kind: 'api_key'; readonly caller: Caller }
  | { readonly kind: 'scoped_token'; readonly tokenHashHex: string };

export interface SecretRequest {
  readonly operation: SecretOperation;
  /** Which version to read; undefined: the newest. */
  readonly version: number | undefined;
  /** False if the request has further input to validate, so a cached read must not be used. */
  readonly cacheable: boolean;
}

/** Who asks, as far as secrets are concerned. */
export interface SecretRequester {
  readonly actor: { readonly id: string; readonly role: Role };
  /** The token's id, or the key's. */
  readonly credentialId: string;
  readonly guard: CredentialGuard;
  readonly grant: SecretGrant;
  readonly opens: TierGrant;
  /** By an administrator's key: lowers tiers, places canaries and sees which secrets are. */
  readonly administers: boolean;
  /** Of a token, until it expires: what was read of it is not remembered for longer. */
  readonly livesMs?: number;
}

/** Who asks, with what was read to answer; not judged yet. */
export interface ResolvedRequester {
  readonly requester: SecretRequester;
  readonly request: SecretRequest;
  readonly found: FoundSecret | undefined;
  /** Read for an earlier request: enough to grant under guard, not to refuse. */
  readonly fromCache: boolean;
  /** Of the cache, before anything of this was read. */
  readonly generation: number;
}

/** A request that may go on to its body, and what it may do. */
export interface AuthorizedRequest {
  readonly requester: SecretRequester;
  readonly operation: AuthorizedOperation;
  /** Which version to read; undefined: the newest. */
  readonly version: number | undefined;
  readonly found: FoundSecret | undefined;
  /** The same request with everything read and judged afresh. */
  reauthorize(): Promise<AuthorizedRequest>;
  /** What was read has just been released: the next such request may start from it. */
  cacheRead(): void;
}

/** What was read for requests that were answered lately; bounded in number and in time. */
export interface ReadCache {
  get(key: string): ResolvedRequester | undefined;
  /** Asked before reading: what was read before everything was dropped is not kept. */
  generation(): number;
  /** `livesMs`: where it ends before what the cache keeps of all. */
  set(key: string, read: ResolvedRequester, generation: number, livesMs?: number): void;
  delete(key: string): void;
}

export interface AuditResource {
  readonly type: 'secret' | 'namespace' | 'scoped_token';
  readonly id: string;
}
