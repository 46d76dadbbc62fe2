/**
 * From a credential that opens secrets to what it may do with this request (contract section 5.4). The credential is
 * read once, the checks of `domain/secrets/secret-authorization.ts` run in their order, and a refusal is on record
 * before it is answered. What was read goes into the guarded write at the end, which requires the same. A request that
 * equals one that was answered lately starts from what was read for that one, and reads nothing; where that has
 * changed, the guarded write fails and the request starts over.
 */

import { PATH_RULE } from '../../domain/scopes/secret-path.ts';
import type { TierGrant } from '../../domain/secrets/access-tier.ts';
import {
  type AccessDenial,
  authorizeSecretOperation,
  type SecretOperation,
} from '../../domain/secrets/secret-authorization.ts';
import { UNRESTRICTED } from '../../domain/secrets/token-restrictions.ts';
import { type ErrorCode, WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { AuditEvent, EventType, RequestContext } from '../audit/ports.ts';
import { type Authenticator, STOPPED } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import type {
  AuditResource,
  AuthorizedRequest,
  ClientContext,
  PresentedCredential,
  ReadCache,
  ResolvedRequester,
  SecretRequest,
  SecretRequester,
} from './authorized-request.ts';
import type { PresentedToken, SecretReader } from './ports.ts';
import { refuseSecret } from './refuse-secret.ts';

export interface SecretAuthorization {
  /** Reads whose credential it is and what it asks for. Rejects with `TOKEN_INVALID`. */
  resolveRequester(credential: PresentedCredential, request: SecretRequest): Promise<ResolvedRequester>;
  /** Runs the checks. `credential` is what `resolved` was read by. */
  authorizeSecretRequest(
    resolved: ResolvedRequester,
    credential: PresentedCredential,
    context: ClientContext,
  ): Promise<AuthorizedRequest>;
}

export interface SecretAuthorizationDeps {
  readonly reader: SecretReader;
  readonly confirm: Authenticator['confirm'];
  readonly denialLog: DenialLog;
  readonly readCache: ReadCache;
}

/** Of one cached value: with the number of entries, the most that the cache takes of memory. */
const MAX_CACHED_BYTES = 4096;

export function createSecretAuthorization(deps: SecretAuthorizationDeps): SecretAuthorization {
  const { readCache } = deps;

  const read = async (
    credential: PresentedCredential,
    request: SecretRequest,
  ): Promise<ResolvedRequester> => {
    const { version } = request;
    const path = pathToRead(request.operation);
    const unread = { request, fromCache: false, generation: readCache.generation() };
    if (credential.kind === 'api_key') {
      const found = path === undefined ? undefined : await deps.reader.find({ path, version });
      return { ...unread, requester: requesterByKey(credential.caller), found };
    }
    const { tokenHashHex } = credential;
    const answer = await deps.reader.findByToken({ tokenHashHex, path, version });
    if (answer === undefined) throw unknownToken();
    return { ...unread, requester: requesterByToken(answer.token), found: answer.found };
  };

  const resolveRequester = async (
    credential: PresentedCredential,
    request: SecretRequest,
  ): Promise<ResolvedRequester> => {
    const key = cacheKeyOf(credential, request);
    return (key === undefined ? undefined : readCache.get(key)) ?? read(credential, request);
  };

  const authorizeSecretRequest = async (
    resolved: ResolvedRequester,
    credential: PresentedCredential,
    context: ClientContext,
  ): Promise<AuthorizedRequest> => {
    const { requester, request, found, fromCache } = resolved;
    const { operation, version } = request;
    const key = cacheKeyOf(credential, request);
    const reauthorize = async (): Promise<AuthorizedRequest> => {
      if (key !== undefined) readCache.delete(key);
      const fresh: PresentedCredential =
        credential.kind === 'api_key'
          ? { ...credential, caller: await deps.confirm(credential.caller, context) }
          : credential;
      return authorizeSecretRequest(await read(fresh, request), fresh, context);
    };
    const resource = resourceOf(operation, requester);
    if (requester.actor.role === 'approver' && namesSecrets(operation)) {
      const why = 'An approver decides about secrets and does not open them.';
      await refuseSecret(deps, requester, context, { error: new WritError('FORBIDDEN', why), resource });
    }
    const { grant } = requester;
    const decision = authorizeSecretOperation({ operation, grant, client: context });
    if (!decision.allowed) {
      if (fromCache) return reauthorize();
      return refuseSecret(deps, requester, context, { error: errorOf(decision.code, context), resource });
    }
    const cacheRead = (): void => {
      const bytes = found?.sealed?.ciphertext.byteLength;
      if (key === undefined || fromCache || bytes === undefined || bytes > MAX_CACHED_BYTES) return;
      readCache.set(key, { ...resolved, fromCache: true }, resolved.generation, requester.livesMs);
    };
    return { requester, operation: decision.operation, version, found, reauthorize, cacheRead };
  };
  return { resolveRequester, authorizeSecretRequest };
}

/** The event of an effect on secrets. */
export function secretEvent(
  id: string,
  { guard, actor }: SecretRequester,
  context: RequestContext,
  what: {
    readonly type: EventType;
    readonly resource: AuditResource;
    readonly metadata: Readonly<Record<string, unknown>>;
  },
): AuditEvent {
  const by = guard.kind === 'scoped_token' ? { token_id: guard.tokenId } : { key_id: guard.keyId };
  return auditEvent(actor, context, { ...what, id, metadata: { ...by, ...what.metadata } });
}

export const unknownToken = (): WritError => new WritError('TOKEN_INVALID', 'The scoped token is not known.');

/** A plain request for one secret by a token; no other is cached. */
function cacheKeyOf(
  credential: PresentedCredential,
  { operation, version, cacheable }: SecretRequest,
): string | undefined {
  if (credential.kind === 'api_key' || operation.kind !== 'read-or-list' || !cacheable) return undefined;
  return `${credential.tokenHashHex} ${version ?? ''} ${operation.secret.path}`;
}

/** A path that is none is the fault, whoever sends it. */
function namesSecrets({ kind }: SecretOperation): boolean {
  return kind !== 'introspect' && kind !== 'malformed-path';
}

/** Only what reads needs the secret before the guarded write: a change reads it under lock. */
function pathToRead(operation: SecretOperation): string | undefined {
  return operation.kind === 'read-or-list' ? operation.secret.path : undefined;
}

const ADMIN_OPENS: TierGrant = { tier: 'critical', bound: undefined };
const KEY_OPENS: TierGrant = { tier: 'standard', bound: undefined };

function requesterByKey({ principal, keyId }: Caller): SecretRequester {
  const isAdmin = principal.role === 'admin';
  return {
    actor: principal,
    credentialId: keyId,
    guard: { kind: 'api_key', keyId, agentId: principal.id, agentRevision: principal.revision },
    grant: {
      scopeLists: [principal.effectiveScopes],
      restrictions: UNRESTRICTED,
      state: 'live',
      namespacesTakeScope: false,
    },
    opens: isAdmin ? ADMIN_OPENS : KEY_OPENS,
    administers: isAdmin,
  };
}

function requesterByToken(token: PresentedToken): SecretRequester {
  return {
    actor: { id: token.agentId, role: token.agentRole },
    credentialId: token.id,
    guard: {
      kind: 'scoped_token',
      tokenId: token.id,
      agentId: token.agentId,
      agentRevision: token.agentRevision,
      limited: token.limited,
      tokenAsRead: token.asRead,
    },
    grant: {
      scopeLists: [token.scopes, token.ownerScopes],
      restrictions: token.restrictions,
      state: token.state,
      namespacesTakeScope: true,
    },
    opens: token.opens,
    administers: false,
    livesMs: token.livesMs,
  };
}

/** What a request about secrets is about. */
export function resourceOf(
  operation: SecretOperation,
  { credentialId }: Pick<SecretRequester, 'credentialId'>,
): AuditResource {
  switch (operation.kind) {
    case 'use':
    case 'read-or-list':
      return { type: 'secret', id: operation.secret.path };
    case 'list':
      return { type: 'namespace', id: operation.namespace.namespace };
    case 'list-namespaces':
    case 'list-due':
      return { type: 'namespace', id: '*' };
    case 'introspect':
      return { type: 'scoped_token', id: credentialId };
    // Nothing is known of the path, so nothing of it is put on record.
    case 'named-by-body':
    case 'malformed-path':
      return { type: 'secret', id: 'unknown' };
  }
}

const MESSAGES: Readonly<Record<AccessDenial, string>> = {
  INVALID_PATH: PATH_RULE,
  IP_NOT_ALLOWED: 'This token may not be used from',
  TOKEN_REVOKED: 'The scoped token was revoked, or its agent was.',
  TOKEN_EXPIRED: 'The scoped token has expired.',
  TOKEN_EXHAUSTED: 'The scoped token has been used as often as it may be.',
  EMERGENCY_STOP: STOPPED,
  SCOPE_DENIED: 'This credential’s scopes do not allow this.',
};

function errorOf(code: AccessDenial & ErrorCode, { ipAddress }: RequestContext): WritError {
  const message = MESSAGES[code];
  return new WritError(code, code === 'IP_NOT_ALLOWED' ? `${message} ${ipAddress ?? 'there'}.` : message);
}
