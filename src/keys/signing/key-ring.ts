/**
 * The signing keys in use by this process: one active, and those whose tokens still verify. Published keys are
 * only those that unwrapped and proved themselves (see `openSigningKey`).
 */

import type { SigningAlg } from '../../domain/crypto/jwk.ts';
import type { SigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
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
}

/** No row that says it is active opens. */
export class NoActiveKeyError extends Error {
  override readonly name = 'NoActiveKeyError';
}

/**
 * A row that does not open is reported and left out. Where none is left that is active, `onNoActive` is told, the others
 * verify, and each call of `active` reads again. Later, `refresh` rejects with `NoActiveKeyError` and keeps what it had.
 */
export async function openKeyRing(options: {
  masterKeys: Pick<MasterKeys, 'find'>;
  thread: Pick<SigningThread, 'sign'>;
  alg: SigningAlg;
  load: () => Promise<readonly RingRow[]>;
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
  const refresh = async (): Promise<void> => {
    const before = memories.generation();
    const opened = new Map<string, OpenedRow>();
    let nextActive: SigningKey | undefined;
    for (const stored of await options.load()) {
      const key = open(stored);
      if (key === undefined) continue;
      opened.set(key.kid, { key, stored });
      if (stored.state === 'active') nextActive = key;
    }
    // Read before everything was dropped: of a database that may not be the one that answers now.
    if (before !== memories.generation() && active === undefined) return refresh();
    if (nextActive !== undefined || active === undefined) {
      keys = opened;
      active = nextActive;
      areRead = true;
    }
    if (nextActive === undefined) throw new NoActiveKeyError('there is no active signing key that opens');
  };
  await refresh().catch((error: unknown) => {
    if (!(error instanceof NoActiveKeyError)) throw error;
    options.onNoActive();
  });
  let isReading = false;
  const readAgain = (): void => {
    if (isReading) return;
    isReading = true;
    void refresh()
      .catch(() => {})
      .finally(() => {
        isReading = false;
      });
  };
  // A lost connection alone leaves the keys to the job that reads them: its server may be the one that was.
  memories.add('signing keys', (why) => {
    if (why !== 'another history') return;
    keys = new Map();
    active = undefined;
    areRead = false;
    readAgain();
  });
  const unavailable = (): WritError => {
    readAgain();
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
  };
}

type RingRow = StoredSigningKey & { readonly state: SigningKeyState };

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
