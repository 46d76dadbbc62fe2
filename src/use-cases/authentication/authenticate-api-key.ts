/**
 * Who is calling? (contract section 2). An API key is checked for shape and checksum, then by bcrypt behind a
 * bounded gate; verified and refused keys are remembered for at most 60 s. Unknown and wrong look the same, wait in the
 * same queue and cost the same. What is remembered never proves liveness: `confirm`, or the guarded write itself, reads the live row.
 */

import { parseApiKey } from '../../domain/principals/api-key.ts';
import { WritError } from '../../errors.ts';
import { ANONYMOUS } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { type DeniedRequester, deny as denyOnRecord } from '../audit/deny.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { NotedUse } from './key-uses.ts';
import type { Caller, CredentialStore, StoredKey } from './ports.ts';

type RefusalCode = 'AUTH_INVALID_KEY' | 'AUTH_EXPIRED_KEY';

export interface RefusedKey {
  readonly refused: RefusalCode;
  /** For the trail, when the key id is one of ours. */
  readonly denied?: Omit<DeniedRequester, 'context'>;
}
/** What has not the form of a key has no id that could be known. */
const MALFORMED: RefusedKey = { refused: 'AUTH_INVALID_KEY' };
export type CachedKey = { readonly caller: Caller } | RefusedKey;

export interface AuthenticateDeps {
  readonly store: Pick<CredentialStore, 'findKey'>;
  /** The name under which a key is cached; opaque, so that no cache holds a key. */
  readonly fingerprint: (keyText: string) => string;
  /** By fingerprint; an entry lives for at most 60 s (contract section 2). */
  readonly keyCache: {
    get(fingerprint: string): CachedKey | undefined;
    /** Asked before a row is read: what was read before everything was dropped is not kept. */
    generation(): number;
    /** `livesMs`: where it ends before that. */
    set(fingerprint: string, key: CachedKey, generation: number, livesMs?: number): void;
    /** Changes an entry without extending how long it lives. */
    replace(fingerprint: string, key: CachedKey, generation: number): void;
    delete(fingerprint: string): void;
  };
  /** Fingerprints of keys that were right, which wait in front of the others: by the whole key, never by its public id. */
  readonly verifiedLately: {
    get(fingerprint: string): true | undefined;
    generation(): number;
    set(fingerprint: string, verified: true, generation: number): void;
  };
  /** bcrypt behind its gate: `'busy'` when there is no room. Without a hash it is false after the same work. */
  readonly compare: (task: {
    keyText: string;
    hash: string | undefined;
    origin: string;
    preferred: boolean;
  }) => Promise<boolean | 'busy'>;
  /**
   * Resolves after longer than an event takes to be written. Every refusal of a key with an id waits for it, or the event
   * that only a known one has would tell that it is known.
   */
  readonly pause: () => Promise<void>;
  readonly denialLog: DenialLog;
  /** By key id: the latest use of each. */
  readonly uses: Map<string, NotedUse>;
  readonly now: () => Date;
}

export interface Authenticator {
  /** What is known without any work; undefined means that `verify` has to be asked. Malformed keys are refused here. */
  cached(keyText: string, context: RequestContext): CachedKey | undefined;
  /** Rejects with `AUTH_INVALID_KEY`, `AUTH_EXPIRED_KEY`, `EMERGENCY_STOP`, `INTEGRITY_ERROR` or `BUSY`. `origin` groups callers for the gate. */
  verify(keyText: string, from: { origin: string; context: RequestContext }): Promise<Caller>;
  /** Puts a refusal on record and rejects with it. */
  deny(refused: RefusedKey, context: RequestContext): Promise<never>;
  /**
   * Reads the live row of a key that was verified: for what does not end in a guarded write, and before a refusal.
   * A dead key, and one of an agent that is stopped, is put on record and refused.
   */
  confirm(caller: Caller, context: RequestContext): Promise<Caller>;
}

const MESSAGES: Record<RefusalCode, string> = {
  AUTH_INVALID_KEY: 'The API key is missing, unknown, wrong or revoked.',
  AUTH_EXPIRED_KEY: 'The API key has expired.',
};

export function refusedKey(code: RefusalCode): WritError {
  return new WritError(code, MESSAGES[code]);
}

/** Said to whoever has proven a credential of an agent that is stopped; why, the operators know. */
export const STOPPED =
  'An operator has stopped this, for one agent or for all: nothing is granted until it is resumed. Do not retry.';

export function createAuthenticator(deps: AuthenticateDeps): Authenticator {
  const { store, fingerprint: fingerprintOf, keyCache, verifiedLately, denialLog } = deps;
  const inFlight = new Map<string, Promise<Caller>>();

  const noteUse = (keyId: string, ipAddress: string | null): void => {
    const known = deps.uses.get(keyId);
    if (known === undefined) {
      deps.uses.set(keyId, { at: deps.now(), ipAddress, writtenUseMs: 0, writtenAtMs: 0 });
      return;
    }
    known.at = deps.now();
    known.ipAddress = ipAddress;
  };

  const deny = async ({ refused, denied }: RefusedKey, context: RequestContext): Promise<never> => {
    const error = refusedKey(refused);
    if (denied === undefined) throw error;
    const resource = { type: 'api_key', id: denied.credentialId };
    return denyOnRecord(denialLog, { ...denied, context }, error, { type: 'auth.denied', resource });
  };

  const refuse = async (refused: RefusedKey, context: RequestContext): Promise<never> => {
    if (refused === MALFORMED) return deny(refused, context);
    const denied = deny(refused, context);
    await Promise.allSettled([denied, deps.pause()]);
    return denied;
  };

  const denyStopped = ({ principal, keyId }: Caller, context: RequestContext): Promise<never> =>
    denyOnRecord(
      denialLog,
      { actor: principal, credentialId: keyId, context },
      new WritError('EMERGENCY_STOP', STOPPED),
      { type: 'auth.denied', resource: { type: 'api_key', id: keyId } },
    );

  const check = async (
    keyText: string,
    fingerprint: string,
    from: { origin: string; context: RequestContext },
  ): Promise<Caller> => {
    const parsed = parseApiKey(keyText);
    if (!parsed.ok) throw refusedKey('AUTH_INVALID_KEY');
    const generation = keyCache.generation();
    const stored = await store.findKey(parsed.key.keyId);
    const matches = await deps.compare({
      keyText,
      hash: stored?.hash,
      origin: from.origin,
      preferred: verifiedLately.get(fingerprint) === true,
    });
    if (matches === 'busy') {
      throw new WritError('BUSY', 'Too many keys are being checked; try again shortly.', {
        retryAfterSeconds: 1,
      });
    }
    const result = evaluate(stored, matches, fingerprint);
    const livesMs = 'refused' in result ? undefined : (stored?.livesMs ?? undefined);
    keyCache.set(fingerprint, result, generation, livesMs);
    if ('refused' in result) return refuse(result, from.context);
    verifiedLately.set(fingerprint, true, generation);
    // The key is right, and is remembered as that: a stop is never remembered, so that it can end at any moment.
    if (stored?.stopped === true) return denyStopped(result.caller, from.context);
    noteUse(result.caller.keyId, from.context.ipAddress);
    return result.caller;
  };

  return {
    // What is cached was well-formed when it was verified.
    cached: (keyText, { ipAddress }) => {
      const known = keyCache.get(fingerprintOf(keyText));
      if (known === undefined) return parseApiKey(keyText).ok ? undefined : MALFORMED;
      if ('caller' in known) noteUse(known.caller.keyId, ipAddress);
      return known;
    },
    verify: (keyText, from) => {
      const fingerprint = fingerprintOf(keyText);
      const running = inFlight.get(fingerprint);
      if (running !== undefined) return running;
      const started = check(keyText, fingerprint, from).finally(() => inFlight.delete(fingerprint));
      inFlight.set(fingerprint, started);
      return started;
    },
    deny: refuse,
    confirm: async (caller, context) => {
      const generation = keyCache.generation();
      const stored = await store.findKey(caller.keyId);
      if (stored?.isWhole === false) keyCache.delete(caller.fingerprint);
      // The secret was right when it was verified; only the row can have changed since.
      const result = evaluate(stored, true, caller.fingerprint);
      keyCache.replace(caller.fingerprint, result, generation);
      if ('refused' in result) return deny(result, context);
      return stored?.stopped === true ? denyStopped(result.caller, context) : result.caller;
    },
  };
}

function evaluate(stored: StoredKey | undefined, matches: boolean, fingerprint: string): CachedKey {
  if (stored === undefined) return { refused: 'AUTH_INVALID_KEY' };
  if (!matches || stored.revoked) return refusedAs('AUTH_INVALID_KEY', stored, matches);
  if (stored.expired) return refusedAs('AUTH_EXPIRED_KEY', stored, matches);
  if (!stored.isWhole) {
    throw new WritError(
      'INTEGRITY_ERROR',
      'What is stored of this API key was changed, so nothing is granted.',
      {
        detail: `the row of key ${stored.caller.keyId} or of its agent does not fit its seal`,
        about: { type: 'api_keys', id: stored.caller.keyId },
      },
    );
  }
  return { caller: { ...stored.caller, fingerprint } };
}

/** Who presents a wrong secret under a known key id is nobody; who presents a dead key is its principal. */
function refusedAs(code: RefusalCode, { caller }: StoredKey, matches: boolean): RefusedKey {
  const { principal, keyId } = caller;
  return {
    refused: code,
    denied: {
      actor: matches ? { id: principal.id, role: principal.role } : ANONYMOUS,
      credentialId: keyId,
    },
  };
}
