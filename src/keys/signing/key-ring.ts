/**
 * The signing keys in use by this process: one active, and those whose tokens still verify. Published keys are
 * only those that unwrapped and proved themselves (see `openSigningKey`).
 */

import type { SigningAlg } from '../../domain/crypto/jwk.ts';
import type { SigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
import type { ForgedRow } from '../../use-cases/ports.ts';
import { type KeyEncryption, UnwrapError } from '../encryption/key-encryption.ts';
import { openSigningKey, type SigningKey, type StoredSigningKey } from './signing-key.ts';
import type { SigningThread } from './signing-thread.ts';

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
}): Promise<KeyRing> {
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
    const opened = new Map<string, OpenedRow>();
    let nextActive: SigningKey | undefined;
    for (const stored of await options.load()) {
      const key = open(stored);
      if (key === undefined) continue;
      opened.set(key.kid, { key, stored });
      if (stored.state === 'active') nextActive = key;
    }
    if (nextActive === undefined) throw new NoActiveKeyError('there is no active signing key that opens');
    keys = opened;
    active = nextActive;
  };
  await refresh();
  return {
    active: () => {
      if (active === undefined) throw new Error('the key ring is empty');
      return active;
    },
    find: (kid) => keys.get(kid)?.key,
    published: () => [...keys.values()].map(({ key }) => key),
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
