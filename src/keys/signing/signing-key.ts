/**
 * Ed25519 signing keys (RFC 8032, RFC 8037) by node:crypto, which signs about sixteen times faster than pure
 * JavaScript. A private half leaves this room only wrapped.
 */

import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import { jwkThumbprint, type SigningAlg } from '../../domain/crypto/jwk.ts';
import type { TokenSigner } from '../../use-cases/intent-tokens/ports.ts';
import { type KeyEncryption, UnwrapError, unwrapOrUndefined } from '../encryption/key-encryption.ts';
import type { MasterKeys } from '../encryption/master-keys.ts';
import { nodeSha256 } from './node-sha256.ts';
import type { SigningThread } from './signing-thread.ts';

/** A signing key as the database keeps it. */
export interface StoredSigningKey {
  readonly kid: string;
  readonly publicKey: Uint8Array;
  readonly wrappedPrivateKey: Uint8Array;
  readonly kekId: string;
}

export interface SigningKey extends TokenSigner {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** RFC 8032; the caller has checked that S is reduced, and the key has been proven to be ours. */
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

const SEED_BYTES = 32;

/**
 * From random bytes, which a private key is (RFC 8032 section 5.1.5), and not by `generateKeyPairSync`: Node.js 20 waits
 * for itself for ever where garbage is collected while a key that it generated is exported.
 */
export function generateSigningKey(kek: KeyEncryption): StoredSigningKey {
  const seed = randomBytes(SEED_BYTES);
  const publicKey = rawPublicKey(privateKeyFromSeed(seed));
  const kid = thumbprint(publicKey);
  return { kid, publicKey, wrappedPrivateKey: kek.wrap(seed, purposeOf(kid)), kekId: kek.kekId };
}

/**
 * Unwraps a stored key and proves that it is what its row says: the private half must yield the public one, and
 * that the kid. A row written by someone without the master key is refused with `UnwrapError`. `alg` is the name that
 * the headers of its tokens give the algorithm.
 */
export function openSigningKey(
  stored: StoredSigningKey,
  masterKeys: Pick<MasterKeys, 'find'>,
  thread: Pick<SigningThread, 'sign'>,
  alg: SigningAlg = 'EdDSA',
): SigningKey {
  const kek = masterKeys.find(stored.kekId);
  if (kek === undefined) throw new UnwrapError(`signing key ${stored.kid} is wrapped under another key`);
  const seed = kek.unwrap(stored.wrappedPrivateKey, purposeOf(stored.kid));
  const privateKey = privateKeyFromSeed(seed);
  const publicKey = rawPublicKey(privateKey);
  if (thumbprint(publicKey) !== stored.kid || !Buffer.from(publicKey).equals(stored.publicKey)) {
    throw new UnwrapError(`signing key ${stored.kid} is not what its row says`);
  }
  const publicKeyObject = createPublicKey(privateKey);
  const header = Buffer.from(JSON.stringify({ alg, kid: stored.kid, typ: 'JWT' })).toString('base64url');
  return {
    kid: stored.kid,
    publicKey,
    publicKeyHex: Buffer.from(publicKey).toString('hex'),
    signJwt: async (claimsText) => {
      const signingInput = `${header}.${Buffer.from(claimsText).toString('base64url')}`;
      const signature = await thread.sign(privateKey, signingInput);
      return {
        jwt: `${signingInput}.${signature}`,
        signatureHex: Buffer.from(signature, 'base64url').toString('hex'),
      };
    },
    verify: (message, signature) => verify(null, message, publicKeyObject, signature),
    signText: (text) => sign(null, Buffer.from(text), privateKey).toString('hex'),
  };
}

/** The same private half, wrapped under the active key; undefined where it does not open. */
export function rewrapSigningKey(
  { kid, wrappedPrivateKey, kekId }: Omit<StoredSigningKey, 'publicKey'>,
  masterKeys: Pick<MasterKeys, 'active' | 'find'>,
): Pick<StoredSigningKey, 'wrappedPrivateKey' | 'kekId'> | undefined {
  const seed = unwrapOrUndefined(masterKeys.find(kekId), wrappedPrivateKey, purposeOf(kid));
  const active = masterKeys.active();
  return seed && { wrappedPrivateKey: active.wrap(seed, purposeOf(kid)), kekId: active.kekId };
}

const purposeOf = (kid: string): string => `signing-key:${kid}`;

const thumbprint = (publicKey: Uint8Array): string =>
  jwkThumbprint(Buffer.from(publicKey).toString('base64url'), nodeSha256);

/** RFC 8410 section 7: the 32-byte seed inside a fixed PKCS#8 frame. */
export function privateKeyFromSeed(seed: Uint8Array): KeyObject {
  const frame = Buffer.from('302e020100300506032b657004220420', 'hex');
  return createPrivateKey({ key: Buffer.concat([frame, seed]), format: 'der', type: 'pkcs8' });
}

function rawPublicKey(privateKey: KeyObject): Uint8Array {
  return Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '', 'base64url');
}
