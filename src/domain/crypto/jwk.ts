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

/** The form in which a signing key is published in the JWKS (RFC 7517 section 4). */
export interface PublishedEd25519Jwk extends Ed25519Jwk {
  readonly kid: string;
  readonly use: 'sig';
  readonly alg: 'EdDSA';
}

/**
 * With a `kid` the published form, without it the three members that are the key.
 * @throws TypeError when the key is not 32 bytes.
 */
export function ed25519Jwk(publicKey: Uint8Array): Ed25519Jwk;
export function ed25519Jwk(publicKey: Uint8Array, kid: string): PublishedEd25519Jwk;
export function ed25519Jwk(publicKey: Uint8Array, kid?: string): Ed25519Jwk | PublishedEd25519Jwk {
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== KEY_BYTES) {
    throw new TypeError('an Ed25519 public key is 32 bytes');
  }
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: encodeBase64url(publicKey) } as const;
  return kid === undefined ? jwk : { ...jwk, kid, use: 'sig', alg: 'EdDSA' };
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
