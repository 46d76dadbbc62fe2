/**
 * An Ed25519 public key as JWK (RFC 8037 section 2) and its thumbprint (RFC 7638), which is the `kid` of a signing
 * key (contract section 2).
 */

import { decodeBase64url, encodeBase64url } from './base64url.ts';
import type { Sha256 } from './hashing.ts';

const KEY_BYTES = 32;

export interface Ed25519Jwk {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
}

/** The names of an Ed25519 signature in JOSE: RFC 8037 section 3.1, and RFC 9864, which deprecates the first. */
export const SIGNING_ALGS = ['EdDSA', 'Ed25519'] as const;
export type SigningAlg = (typeof SIGNING_ALGS)[number];

export const isSigningAlg = (value: unknown): value is SigningAlg =>
  SIGNING_ALGS.some((alg) => alg === value);

/** The form in which a signing key is published in the JWKS (RFC 7517 section 4). */
export interface PublishedEd25519Jwk extends Ed25519Jwk {
  readonly kid: string;
  readonly use: 'sig';
  readonly alg?: 'EdDSA';
}

/**
 * The three members that are the key.
 * @throws TypeError when the key is not 32 bytes.
 */
export function ed25519Jwk(publicKey: Uint8Array): Ed25519Jwk {
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== KEY_BYTES) {
    throw new TypeError('an Ed25519 public key is 32 bytes');
  }
  return { kty: 'OKP', crv: 'Ed25519', x: encodeBase64url(publicKey) };
}

/**
 * The published form of a key that signs under that name. Under `Ed25519` it names no `alg`: verifiers compare the
 * member with a token's header, and tokens that were signed under the old name live on when the setting changes; some
 * do not know the new name either, and would drop the key.
 */
export function publishedJwk(
  publicKey: Uint8Array,
  { kid, alg }: { readonly kid: string; readonly alg: SigningAlg },
): PublishedEd25519Jwk {
  return { ...ed25519Jwk(publicKey), kid, use: 'sig', ...(alg === 'EdDSA' ? { alg } : {}) };
}

/**
 * RFC 7638 section 3: the hash of the required members in code point order, as base64url.
 * @throws TypeError when `x` is not the canonical text of 32 bytes: anything else could write its own members.
 */
export function jwkThumbprint(x: string, sha256: Sha256): string {
  if (decodeBase64url(x)?.length !== KEY_BYTES) throw new TypeError('x must be 32 bytes as base64url');
  const required = `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`;
  return encodeBase64url(sha256.bytes(new TextEncoder().encode(required)));
}
