/**
 * From a credential that opens secrets to what it may do with this request (contract section 5.4). The credential is
 * read once, the checks of `domain/secrets/secret-authorization.ts` run in their order, and a refusal is on record
 * before it is answered. What was read goes into the guarded write at the end, which requires the same. A request that
 * equals one that was answered lately starts from what was read for that one, and reads nothing; where that has
 * changed, the guarded write fails and the request starts over.
 */

import { PATH_RULE } from '../../domain/scopes/secret-path.ts';
import {
  authorizeSecretOperation,
  type SecretOperation,
  type SecretRequestRefusal,
} from '../../domain/secrets/secret-authorization.ts';
import { type ErrorCode, WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { AuditEvent, EventType, RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import type {
  Admission,
  AuditResource,
  ClientContext,
  PresentedCredential,
  ReadCache,
  ResolvedRequester,
  SecretQuestion,
  SecretRequester,
} from './authorized-request.ts';
import type { PresentedToken, SecretReader } from './ports.ts';

export interface SecretAdmission {
  /** Rejects with `TOKEN_INVALID`. */
  identify(credential: PresentedCredential, question: SecretQuestion): Promise<ResolvedRequester>;
  /** Runs the checks. `credential` is what `known` was identified by. */
  admit(
    known: ResolvedRequester,
    credential: PresentedCredential,
    context: ClientContext,
  ): Promise<Admission>;
}

export interface SecretAdmissionDeps {
  readonly reader: SecretReader;
  readonly confirm: Authenticator['confirm'];
  readonly denialLog: DenialLog;
  readonly readCache: ReadCache;
}

/** Of one cached value: with the number of entries, the most that the cache takes of memory. */
const MAX_CACHED_BYTES = 4096;

export function createSecretAdmission(deps: SecretAdmissionDeps): SecretAdmission {
  const { readCache } = deps;

  const read = async (
    credential: PresentedCredential,
    question: SecretQuestion,
  ): Promise<ResolvedRequester> => {
    const path = pathToRead(question.wish);
    if (credential.kind === 'api_key') {
      const found =
        path === undefined ? undefined : await deps.reader.find({ path, version: question.version });
      return { requester: requesterByKey(credential.caller), found, question, fromCache: false };
    }
    const { tokenHashHex } = credential;
    const answer = await deps.reader.findByToken({ tokenHashHex, path, version: question.version });
    if (answer === undefined) throw unknownToken();
    return { requester: requesterByToken(answer.token), found: answer.found, question, fromCache: false };
  };

  const identify = async (
    credential: PresentedCredential,
    question: SecretQuestion,
  ): Promise<ResolvedRequester> => {
    const key = cacheKeyOf(credential, question);
    return (key === undefined ? undefined : readCache.get(key)) ?? read(credential, question);
  };

  const admit = async (
    known: ResolvedRequester,
    credential: PresentedCredential,
    context: ClientContext,
  ): Promise<Admission> => {
    const { requester, question } = known;
    const key = cacheKeyOf(credential, question);
    const again = async (): Promise<Admission> => {
      if (key !== undefined) readCache.delete(key);
      const fresh: PresentedCredential =
        credential.kind === 'api_key'
          ? { ...credential, caller: await deps.confirm(credential.caller, context) }
          : credential;
      return admit(await read(fresh, question), fresh, context);
    };
    const resource = resourceOf(question.wish, requester);
    if (requester.actor.role === 'approver' && namesSecrets(question.wish)) {
      const why = 'An approver decides about secrets and does not open them.';
      await refuseSecret(deps, requester, context, { error: new WritError('FORBIDDEN', why), resource });
    }
    const refusal = authorizeSecretOperation({
      wish: question.wish,
      grant: requester.grant,
      clientAddress: context.clientAddress,
    });
    if (refusal !== undefined) {
      if (known.fromCache) return again();
      await refuseSecret(deps, requester, context, { error: errorOf(refusal, context), resource });
    }
    return {
      ...known,
      again,
      cacheRead: () => {
        const size = known.found?.sealed?.ciphertext.byteLength;
        if (key === undefined || known.fromCache || size === undefined || size > MAX_CACHED_BYTES) return;
        readCache.set(key, { ...known, fromCache: true });
      },
    };
  };
  return { identify, admit };
}

/** Puts a refusal of a known credential on record, unless it is about the request's form, and rejects with it. */
export function refuseSecret(
  deps: { readonly denialLog: DenialLog },
  { guard, actor, credentialId }: SecretRequester,
  context: RequestContext,
  { error, resource }: { readonly error: unknown; readonly resource: AuditResource },
): Promise<never> {
  const type = guard.kind === 'scoped_token' ? 'token.denied' : 'secret.denied';
  return deny(deps.denialLog, { actor, credentialId, context }, error, { type, resource });
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
  { wish, version, asksMore }: SecretQuestion,
): string | undefined {
  if (credential.kind === 'api_key' || wish.kind !== 'read-or-list' || asksMore) return undefined;
  return `${credential.tokenHashHex} ${version ?? ''} ${wish.secret.path}`;
}

/** A path that is none is the fault, whoever sends it. */
function namesSecrets({ kind }: SecretOperation): boolean {
  return kind !== 'introspect' && kind !== 'malformed-path';
}

/** Only what reads needs the secret before the guarded write: a change reads it under lock. */
function pathToRead(wish: SecretOperation): string | undefined {
  return wish.kind === 'read-or-list' ? wish.secret.path : undefined;
}

function requesterByKey({ principal, keyId }: Caller): SecretRequester {
  const isAdmin = principal.role === 'admin';
  return {
    actor: principal,
    credentialId: keyId,
    guard: { kind: 'api_key', keyId, agentId: principal.id, agentRevision: principal.revision },
    grant: {
      scopeLists: [principal.effectiveScopes],
      allowedAddresses: null,
      state: 'live',
      namespacesTakeScope: false,
    },
    tier: isAdmin ? 'critical' : 'standard',
    mayLowerTiers: isAdmin,
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
    },
    grant: {
      scopeLists: [token.scopes, token.ownerScopes],
      allowedAddresses: token.allowedAddresses,
      state: token.state,
      namespacesTakeScope: true,
    },
    tier: token.tier,
    mayLowerTiers: false,
  };
}

function resourceOf(wish: SecretOperation, { credentialId }: SecretRequester): AuditResource {
  switch (wish.kind) {
    case 'use':
    case 'read-or-list':
      return { type: 'secret', id: wish.secret.path };
    case 'list':
      return { type: 'namespace', id: wish.namespace.namespace };
    case 'list-namespaces':
      return { type: 'namespace', id: '*' };
    case 'introspect':
      return { type: 'scoped_token', id: credentialId };
    // Nothing is known of the path, so nothing of it is put on record.
    case 'named-by-body':
    case 'malformed-path':
      return { type: 'secret', id: 'unknown' };
  }
}

const MESSAGES: Readonly<Record<SecretRequestRefusal, string>> = {
  INVALID_PATH: PATH_RULE,
  IP_NOT_ALLOWED: 'This token may not be used from',
  TOKEN_REVOKED: 'The scoped token was revoked, or its agent was.',
  TOKEN_EXPIRED: 'The scoped token has expired.',
  TOKEN_EXHAUSTED: 'The scoped token has been used as often as it may be.',
  SCOPE_DENIED: 'This credential’s scopes do not allow this.',
};

function errorOf(code: SecretRequestRefusal & ErrorCode, { ipAddress }: RequestContext): WritError {
  const message = MESSAGES[code];
  return new WritError(code, code === 'IP_NOT_ALLOWED' ? `${message} ${ipAddress ?? 'there'}.` : message);
}
