/**
 * Fresh Ed25519 keys for tests, from a seed as Writ makes its own: Node.js 20 waits for itself for ever where garbage is
 * collected while a key is exported that its generator has made.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes } from 'node:crypto';

/** RFC 8410 section 7: what stands before the 32 bytes of a private key. */
const FRAME = Buffer.from('302e020100300506032b657004220420', 'hex');

export function anEd25519Key(): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  const key = Buffer.concat([FRAME, randomBytes(32)]);
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
