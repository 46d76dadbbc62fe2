/**
 * The signing keys in use by this process: one active, and those whose tokens still verify. Published keys are
 * only those that unwrapped and proved themselves (see `openSigningKey`).
 */

import type { SigningAlg } from '../../domain/crypto/jwk.ts';
import type { LiveSigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
import { WritError } from '../../errors.ts';
import type { ForgedRow, Memories } from '../../use-cases/ports.ts';
import { UnwrapError } from '../encryption/key-encryption.ts';
import type { MasterKeys } from '../encryption/master-keys.ts';
import { openSigningKey, type SigningKey, type StoredSigningKey } from './signing-key.ts';
import type { SigningThread } from './signing-thread.ts';

/**
 * Where another server than before answers, its keys are read before any is used, published or compared: until then all
 * but `refresh` throw `UNAVAILABLE`.
 */
export interface KeyRing {
  /** Throws `UNAVAILABLE` also while no row that says it is active opens. */
  active(): SigningKey;
  /** By kid; undefined for a key that is not ours. */
  find(kid: string): SigningKey | undefined;
  /** In the order of the database: oldest first. Throws `UNAVAILABLE` where there is none: a verifier would pin that. */
  published(): readonly SigningKey[];
  /** Reads the keys again; a rotation on another replica arrives this way. */
  refresh(): Promise<void>;
  /** A read that begins after this call, shared by all that ask meanwhile. Where no active row opens, it resolves too. */
  readAgain(): Promise<void>;
}

/** No row that says it is active opens. */
export class NoActiveKeyError extends Error {
  override readonly name = 'NoActiveKeyError';
}

/**
 * A row that does not open is reported and left out. Where none is left that is active, `onNoActive` is told, the others
 * verify, and each call of `active` reads again. Later, `refresh` rejects with `NoActiveKeyError` and keeps what it had,
 * without the keys whose rows say that they have ended.
 */
export async function openKeyRing(options: {
  masterKeys: Pick<MasterKeys, 'find'>;
  thread: Pick<SigningThread, 'sign'>;
  alg: SigningAlg;
  load: () => Promise<readonly (RingRow | EndedRow)[]>;
  onForged: (row: ForgedRow) => void;
  onNoActive: () => void;
  memories: Memories;
}): Promise<KeyRing> {
  const { memories } = options;
  let keys = new Map<string, OpenedRow>();
  let active: SigningKey | undefined;
  let areRead = false;
  const open = (stored: RingRow): SigningKey | undefined => {
    // Unwrapping costs a private-key derivation: only for a row that is not as it was.
    const known = keys.get(stored.kid);
    if (known !== undefined && isSameKey(known.stored, stored)) return known.key;
    try {
      return openSigningKey(stored, options.masterKeys, options.thread, options.alg);
    } catch (error) {
      const why = error instanceof UnwrapError ? error.message : 'it cannot be read';
      options.onForged({ table: 'signing_keys', id: stored.kid, why });
      return undefined;
    }
  };
  const read = async (): Promise<void> => {
    const before = memories.generation();
    const opened = new Map<string, OpenedRow>();
    let nextActive: SigningKey | undefined;
    const endedKids: string[] = [];
    for (const stored of await options.load()) {
      if (stored.state === 'ended') {
        endedKids.push(stored.kid);
        continue;
      }
      const key = open(stored);
      if (key === undefined) continue;
      opened.set(key.kid, { key, stored });
      if (stored.state === 'active') nextActive = key;
    }
    // Read before everything was dropped: of a database that may not be the one that answers now.
    if (before !== memories.generation() && active === undefined) return read();
    if (nextActive !== undefined || active === undefined) {
      keys = opened;
      active = nextActive;
      areRead = true;
    }
    if (nextActive !== undefined) return;
    for (const kid of endedKids) keys.delete(kid);
    if (active !== undefined && !keys.has(active.kid)) active = undefined;
    throw new NoActiveKeyError('there is no active signing key that opens');
  };
  const readInTurn = oneAtATime(read);
  const refresh = () => readInTurn(0);
  await refresh().catch((error: unknown) => {
    if (!(error instanceof NoActiveKeyError)) throw error;
    options.onNoActive();
  });
  const readAgain = (): Promise<void> =>
    readInTurn(PAUSE_MS).catch((error: unknown) => {
      if (!(error instanceof NoActiveKeyError)) throw error;
    });
  const readSometime = (): void => void refresh().catch(() => {});
  // A lost connection alone leaves the keys to the job that reads them: its server may be the one that was.
  memories.add('signing keys', (why) => {
    if (why !== 'another history') return;
    keys = new Map();
    active = undefined;
    areRead = false;
    readSometime();
  });
  const unavailable = (): WritError => {
    readSometime();
    const message = 'No signing key can be used now; the keys are being read again. Try again shortly.';
    return new WritError('UNAVAILABLE', message, { retryAfterSeconds: 1 });
  };
  return {
    active: () => {
      if (active === undefined) throw unavailable();
      return active;
    },
    find: (kid) => {
      if (!areRead) throw unavailable();
      return keys.get(kid)?.key;
    },
    published: () => {
      if (keys.size === 0) throw unavailable();
      return [...keys.values()].map(({ key }) => key);
    },
    refresh,
    readAgain,
  };
}

/** Between the beginnings of two reads that anybody can ask for, by presenting a key that there is not. */
const PAUSE_MS = 50;

/**
 * Reads in a row, never two at once: the later one knows more, and must not be overtaken. Who asks while one is under way
 * shares the next one with all others who do. `pauseMs` is the least time between the beginnings of two.
 */
function oneAtATime(read: () => Promise<void>): (pauseMs: number) => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let beganAt = Number.NEGATIVE_INFINITY;
  const begin = (): Promise<void> => {
    beganAt = performance.now();
    running = read().finally(() => {
      running = undefined;
    });
    return running;
  };
  const inTurn = async (pauseMs: number): Promise<void> => {
    await running?.catch(() => {});
    const leftMs = beganAt + pauseMs - performance.now();
    if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
    next = undefined;
    return begin();
  };
  return (pauseMs) => {
    const isFree = running === undefined && next === undefined && performance.now() >= beganAt + pauseMs;
    if (isFree) return begin();
    next ??= inTurn(pauseMs);
    return next;
  };
}

type RingRow = StoredSigningKey & { readonly state: LiveSigningKeyState };

interface EndedRow {
  readonly kid: string;
  readonly state: 'ended';
}

interface OpenedRow {
  readonly key: SigningKey;
  readonly stored: StoredSigningKey;
}

function isSameKey(one: StoredSigningKey, other: StoredSigningKey): boolean {
  return (
    one.kekId === other.kekId &&
    Buffer.compare(one.publicKey, other.publicKey) === 0 &&
    Buffer.compare(one.wrappedPrivateKey, other.wrappedPrivateKey) === 0
  );
}
