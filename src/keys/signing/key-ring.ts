/**
 * The signing keys in use by this process: one active, and those whose tokens still verify. Published keys are
 * only those that unwrapped and proved themselves (see `openSigningKey`).
 */

import type { SigningAlg } from '../../domain/crypto/jwk.ts';
import type { SigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
import { WritError } from '../../errors.ts';
import type { ForgedRow, Memories } from '../../use-cases/ports.ts';
import { type KeyEncryption, UnwrapError } from '../encryption/key-encryption.ts';
import { openSigningKey, type SigningKey, type StoredSigningKey } from './signing-key.ts';
import type { SigningThread } from './signing-thread.ts';

/**
 * Where another server than before answers, its keys are read before any is used, published or compared: until then all
 * but `refresh` throw `UNAVAILABLE`.
 */
export interface KeyRing {
  active(): SigningKey;
  /** By kid; undefined for a key that is not ours. */
  find(kid: string): SigningKey | undefined;
  /** In the order of the database: oldest first. */
  published(): readonly SigningKey[];
  /** Reads the keys again; a rotation on another replica arrives this way. */
  refresh(): Promise<void>;
}

/** No row that says it is active opens. */
export class NoActiveKeyError extends Error {
  override readonly name = 'NoActiveKeyError';
}

/**
 * A row that does not open is reported and left out. Where none is left that is active, this rejects with
 * `NoActiveKeyError`, and `refresh` with the same keeps what it had.
 */
export async function openKeyRing(options: {
  kek: KeyEncryption;
  thread: Pick<SigningThread, 'sign'>;
  alg: SigningAlg;
  load: () => Promise<readonly RingRow[]>;
  onForged: (row: ForgedRow) => void;
  memories: Memories;
}): Promise<KeyRing> {
  const { memories } = options;
  let keys = new Map<string, OpenedRow>();
  let active: SigningKey | undefined;
  const open = (stored: RingRow): SigningKey | undefined => {
    // Unwrapping costs a private-key derivation: only for a row that is not as it was.
    const known = keys.get(stored.kid);
    if (known !== undefined && isSameKey(known.stored, stored)) return known.key;
    try {
      return openSigningKey(stored, options.kek, options.thread, options.alg);
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
    if (nextActive === undefined) throw new NoActiveKeyError('there is no active signing key that opens');
    // Read before everything was dropped: of a database that may not be the one that answers now.
    if (before !== memories.generation() && active === undefined) return refresh();
    keys = opened;
    active = nextActive;
  };
  await refresh();
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
    readAgain();
  });
  const requireActive = (): SigningKey => {
    if (active !== undefined) return active;
    readAgain();
    throw new WritError('UNAVAILABLE', 'The signing keys are being read again; try again shortly.', {
      retryAfterSeconds: 1,
    });
  };
  return {
    active: requireActive,
    find: (kid) => {
      requireActive();
      return keys.get(kid)?.key;
    },
    published: () => {
      requireActive();
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
