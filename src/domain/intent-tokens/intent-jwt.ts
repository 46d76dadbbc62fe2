/**
 * Reads an intent token's JWT strictly (contract section 4.6; RFC 7515, RFC 8037): canonical encodings only, no header
 * member but `alg`, `typ` and `kid`, `alg` exactly `EdDSA` or `Ed25519` (RFC 9864), a signature in its only form.
 */

import { decodeBase64url } from '../crypto/base64url.ts';
import { textToBytes } from '../crypto/hashing.ts';
import { isSigningAlg } from '../crypto/jwk.ts';
import {
  type ClaimExpectations,
  type IntentJwtRefusal,
  type IntentJwtVerdict,
  invalidToken,
  readIntentClaims,
  readJsonObject,
} from './intent-claims.ts';

/** 64 bytes in base64url. */
const SIGNATURE_CHARACTERS = 86;
/** Far above what the largest signed policy makes; bounds the work on hostile text. */
export const MAX_JWT_CHARACTERS = 512 * 1024;

/** What a signature is checked with. */
export interface JwsSignature {
  readonly kid: string;
  readonly signingInput: Uint8Array;
  /** 64 bytes; S is below the order of the group. */
  readonly signature: Uint8Array;
}

/** Says whether a signature is right; undefined for a key id that is not known. */
export type CheckSignature = (jws: JwsSignature) => boolean | undefined;

/** The bytes of a canonical base64url text, else undefined. */
export type DecodeBase64url = (text: string) => Uint8Array | undefined;

export interface JwtExpectations extends ClaimExpectations {
  readonly checkSignature: CheckSignature;
  /** A native one, where there is one; it must decide as the portable one does. */
  readonly decode?: DecodeBase64url;
}

/** A JWT of the right form. Nothing of it may be believed before its signature is checked. */
export interface UnverifiedIntentJwt {
  readonly ok: true;
  readonly jws: JwsSignature;
  readonly payload: Uint8Array;
}

/** `TOKEN_EXPIRED` only for a token that is right in every other way. */
export function verifyIntentJwt(text: string, expected: JwtExpectations): IntentJwtVerdict {
  const parsed = parseIntentJwt(text, expected.decode);
  if (!parsed.ok) return parsed;
  const refusal = refuseSignature(expected.checkSignature(parsed.jws));
  return refusal ?? readIntentClaims(parsed.payload, expected);
}

/** The first part of a verification, for verifiers that check signatures asynchronously. */
export function parseIntentJwt(
  text: string,
  decode: DecodeBase64url = decodeBase64url,
): UnverifiedIntentJwt | IntentJwtRefusal {
  const parts = splitJws(text, decode);
  if (parts === undefined) return invalidToken('it is not a compact JWS in canonical base64url');
  const kid = readHeader(parts.header);
  if (kid === undefined) {
    return invalidToken('its header must be exactly alg EdDSA or Ed25519, kid and typ JWT');
  }
  const { signingInput, signature, payload } = parts;
  if (!hasReducedScalar(signature)) {
    return invalidToken('its signature is malleable (RFC 8032 section 5.1.7)');
  }
  return { ok: true, jws: { kid, signingInput, signature }, payload };
}

/** The refusal that a result of `CheckSignature` stands for; undefined for a right signature. */
export function refuseSignature(isRight: boolean | undefined): IntentJwtRefusal | undefined {
  if (isRight === undefined) return invalidToken('its key is not one of ours');
  return isRight === true ? undefined : invalidToken('its signature is wrong');
}

/** Three parts, of which the decoder refuses every character outside the alphabet. */
function splitJws(text: string, decode: DecodeBase64url) {
  if (typeof text !== 'string' || text.length > MAX_JWT_CHARACTERS) return undefined;
  const [head = '', body = '', tail = '', ...others] = text.split('.', 4);
  if (head === '' || body === '' || tail.length !== SIGNATURE_CHARACTERS || others.length > 0)
    return undefined;
  const header = decode(head);
  const payload = decode(body);
  const signature = decode(tail);
  if (header === undefined || payload === undefined || signature === undefined) return undefined;
  const signingInput = textToBytes(text.slice(0, -1 - SIGNATURE_CHARACTERS));
  return { header, payload, signature, signingInput };
}

/** The kid, or undefined for a header with anything else in it: `crit`, `jwk`, `jku`, another `alg` (RFC 8725). */
function readHeader(bytes: Uint8Array): string | undefined {
  const header = readJsonObject(bytes);
  if (header === undefined || Object.keys(header).length !== 3) return undefined;
  const { alg, kid, typ } = header;
  return isSigningAlg(alg) && typ === 'JWT' && typeof kid === 'string' ? kid : undefined;
}

/** The order of the base point, RFC 8032 section 5.1, little-endian as in a signature. */
const GROUP_ORDER = Uint8Array.from(
  (2n ** 252n + 27742317777372353535851937790883648493n).toString(16).padStart(64, '0').match(/../g) ?? [],
  (byte) => Number.parseInt(byte, 16),
).reverse();

/** S < L: without it every signature has a second form. */
function hasReducedScalar(signature: Uint8Array): boolean {
  for (let index = 31; index >= 0; index -= 1) {
    const difference = (signature[32 + index] ?? 0) - (GROUP_ORDER[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
