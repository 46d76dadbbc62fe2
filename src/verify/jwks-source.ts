/**
 * Where a verifier's keys come from: a key set that the caller holds, or an address that the caller names. Fetched keys
 * are used for five minutes. A `kid` that is not among them causes one fetch, at most every 30 s. Without fresh keys
 * every verification fails.
 */

import { readVerificationKey, type VerificationKey } from './ed25519-key.ts';
import { VerificationError } from './verification-error.ts';

/** RFC 7517 section 5. */
export interface JsonWebKeySet {
  readonly keys: readonly object[];
}

/** Undefined for a `kid` that is not in the set. Rejects with `KEYS_UNAVAILABLE`. */
export type FindKey = (kid: string) => Promise<VerificationKey | undefined>;

/** A point in time on both clocks: the first may stand still while a machine sleeps, the second may be set back. */
export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface FetchedKeysOptions {
  readonly url: string;
  /** The text of the key set. Rejects when it cannot be had. */
  readonly download: (url: string) => Promise<string>;
  readonly now: () => Moment;
}

/** What the server allows caches (`max-age=300`). */
const KEEP_MS = 300_000;
/** Between fetches for an unknown `kid`: a sender of made-up tokens must not make this verifier flood the server. */
const REFRESH_MS = 30_000;
/** Between fetches while there are no fresh keys. */
const RETRY_MS = 3000;
const MAX_KEYS = 64;

/** @throws TypeError for a set without a usable key: such a verifier could only refuse. */
export function fixedKeys(jwks: JsonWebKeySet): FindKey {
  const keys = readKeySet(jwks);
  if (keys === undefined || keys.size === 0) {
    throw new TypeError('jwks must be a JSON Web Key Set with at least one Ed25519 key of Writ');
  }
  return async (kid) => keys.get(kid);
}

export function fetchedKeys({ url, download, now }: FetchedKeysOptions): FindKey {
  let keys: ReadonlyMap<string, VerificationKey> = new Map();
  let fetchedAt: Moment | undefined;
  let triedAt: Moment | undefined;
  let failure: VerificationError | undefined;
  let inFlight: Promise<void> | undefined;

  const fetchKeys = async (): Promise<void> => {
    const startedAt = now();
    triedAt = startedAt;
    try {
      const fetched = readKeySet(JSON.parse(await download(url)));
      if (fetched === undefined) throw new Error('the answer is not a JSON Web Key Set');
      keys = fetched;
      fetchedAt = startedAt;
      failure = undefined;
    } catch (cause) {
      failure = unavailable(url, cause);
    } finally {
      inFlight = undefined;
    }
  };
  const isFresh = (): boolean => elapsedMs(fetchedAt, now()) < KEEP_MS;

  return async (kid) => {
    const known = isFresh() ? keys.get(kid) : undefined;
    if (known !== undefined) return known;
    const pauseMs = isFresh() ? REFRESH_MS : RETRY_MS;
    if (inFlight === undefined && elapsedMs(triedAt, now()) >= pauseMs) inFlight = fetchKeys();
    await inFlight;
    // After a failed fetch nobody knows whether the key is new or made up.
    if (failure !== undefined) throw failure;
    if (!isFresh()) throw unavailable(url);
    return keys.get(kid);
  };
}

function elapsedMs(since: Moment | undefined, now: Moment): number {
  if (since === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(now.monotonicMs - since.monotonicMs, now.wallMs - since.wallMs);
}

function unavailable(url: string, cause?: unknown): VerificationError {
  return new VerificationError('KEYS_UNAVAILABLE', `The key set at ${url} could not be fetched.`, { cause });
}

/** Keys of other types are left out, as RFC 7517 section 5 asks; a set of too many keys is none. */
function readKeySet(jwks: unknown): ReadonlyMap<string, VerificationKey> | undefined {
  const { keys } = (typeof jwks === 'object' && jwks !== null ? jwks : {}) as { keys?: unknown };
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) return undefined;
  const usable = keys.map(readVerificationKey).filter((key) => key !== undefined);
  return new Map(usable.map((key) => [key.kid, key]));
}
