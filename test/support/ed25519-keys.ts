/** Fresh Ed25519 keys for tests, from a seed as Writ makes its own (`generateSigningKey` says why). */
import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { privateKeyFromSeed } from '../../src/keys/signing/signing-key.ts';

export function anEd25519Key(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  const privateKey = privateKeyFromSeed(randomBytes(32));
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
