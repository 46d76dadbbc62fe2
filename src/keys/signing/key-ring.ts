/**
 * The signing keys in use by this process: one active, and those whose tokens still verify. Published keys are
 * only those that unwrapped and proved themselves (see `openSigningKey`).
 */

import type { SigningAlg } from '../../domain/crypto/jwk.ts';
import type { SigningKeyState } from '../../domain/signing-keys/signing-key-state.ts';
import type { KeyEncryption } from '../encryption/key-encryption.ts';
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

/** Rejects when there is no active key or any row does not open. */
export async function openKeyRing(options: {
  kek: KeyEncryption;
  thread: Pick<SigningThread, 'sign'>;
  alg: SigningAlg;
  load: () => Promise<readonly (StoredSigningKey & { state: SigningKeyState })[]>;
}): Promise<KeyRing> {
  let keys = new Map<string, SigningKey>();
  let active: SigningKey | undefined;
  const refresh = async (): Promise<void> => {
    const opened = new Map<string, SigningKey>();
    let nextActive: SigningKey | undefined;
    for (const stored of await options.load()) {
      // Unwrapping costs a private-key derivation; a kid names its key for ever.
      const key = keys.get(stored.kid) ?? openSigningKey(stored, options.kek, options.thread, options.alg);
      opened.set(key.kid, key);
      if (stored.state === 'active') nextActive = key;
    }
    if (nextActive === undefined) throw new Error('there is no active signing key');
    keys = opened;
    active = nextActive;
  };
  await refresh();
  return {
    active: () => {
      if (active === undefined) throw new Error('the key ring is empty');
      return active;
    },
    find: (kid) => keys.get(kid),
    published: () => [...keys.values()],
    refresh,
  };
}
