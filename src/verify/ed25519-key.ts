/**
 * One public key of a JWKS (RFC 8037), ready to check signatures: by WebCrypto where the runtime has Ed25519, otherwise
 * by the JavaScript implementation of `domain`, which judges alike.
 */

import { decodeBase64url } from '../domain/crypto/base64url.ts';
import { isSmallOrder, verifyEd25519 } from '../domain/crypto/ed25519.ts';
import { portableSha256 } from '../domain/crypto/hashing.ts';
import { isSigningAlg, jwkThumbprint } from '../domain/crypto/jwk.ts';
import type { JwsSignature } from '../domain/intent-tokens/intent-jwt.ts';

export interface VerificationKey {
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  verify(jws: JwsSignature): Promise<boolean>;
}

type ImportedKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

/**
 * Undefined for a key that is not an Ed25519 signing key of Writ: another type, another use, a small-order point
 * (under which almost any signature verifies), or a `kid` that is not the thumbprint of the key.
 */
export function readVerificationKey(jwk: unknown): VerificationKey | undefined {
  if (typeof jwk !== 'object' || jwk === null) return undefined;
  const { kty, crv, x, kid, use, alg } = jwk as Readonly<Record<string, unknown>>;
  if (kty !== 'OKP' || crv !== 'Ed25519' || typeof x !== 'string' || typeof kid !== 'string')
    return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  if (alg !== undefined && !isSigningAlg(alg)) return undefined;
  const publicKey = decodeBase64url(x);
  if (publicKey?.length !== 32 || isSmallOrder(publicKey)) return undefined;
  if (jwkThumbprint(x, portableSha256) !== kid) return undefined;
  let imported: Promise<ImportedKey | undefined> | undefined;
  return {
    kid,
    verify: async ({ signature, signingInput }) => {
      imported ??= importKey(publicKey);
      const key = await imported;
      return key === undefined
        ? verifyEd25519({ signature, message: signingInput, publicKey })
        : crypto.subtle.verify('Ed25519', key, unshared(signature), unshared(signingInput));
    },
  };
}

/** Undefined without WebCrypto (a page outside a secure context) and where WebCrypto lacks Ed25519. */
async function importKey(publicKey: Uint8Array): Promise<ImportedKey | undefined> {
  try {
    return await crypto.subtle.importKey('raw', unshared(publicKey), 'Ed25519', false, ['verify']);
  } catch {
    return undefined;
  }
}

/** WebCrypto refuses views of shared memory; none of these is one. */
const unshared = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>;
