/**
 * Reads an intent token's JWT strictly (contract section 4.6; RFC 7515, RFC 7519, RFC 8037): canonical encodings
 * only, no header member but `alg`, `typ` and `kid`, `alg` exactly `EdDSA`, every claim present and right. Whether
 * the token was revoked is not written in it.
 */

import { decodeBase64url } from '../crypto/base64url.ts';
import { DIGEST_HEX, textToBytes } from '../crypto/hashing.ts';
import { LOWER_CASE_UUID } from '../formats/uuid.ts';
import { isJsonObject, type JsonObject, type JsonValue, readStrictJson } from '../json/strict-json.ts';
import { MAX_PLAN_STEPS } from './plan.ts';

const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]{86}$/;
/** Far above what the largest signed policy makes; bounds the work on hostile text. */
const MAX_JWT_CHARACTERS = 512 * 1024;
const CLOCK_LEEWAY_SECONDS = 5;

/** Says whether a signature is right; undefined for a key id that is not known. */
export type CheckSignature = (question: {
  readonly kid: string;
  readonly signingInput: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}) => boolean | undefined;

export interface JwtExpectations {
  readonly issuer: string;
  readonly audience: string;
  readonly nowSeconds: number;
  readonly checkSignature: CheckSignature;
}

/** What a verifier works with; `all` holds the claims as signed. */
export interface IntentClaims {
  readonly jti: string;
  readonly clientId: string;
  readonly expiresAtSeconds: number;
  readonly planHashHex: string;
  readonly merkleRootHex: string;
  readonly treeSize: number;
  readonly policy: JsonObject;
  /** Of a delegation: the only actions it allows. */
  readonly allowedActions: readonly string[] | undefined;
  readonly all: JsonObject;
}

export type IntentJwtVerdict =
  | { readonly ok: true; readonly claims: IntentClaims }
  | { readonly ok: false; readonly code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED'; readonly reason: string };

/** `TOKEN_EXPIRED` only for a token that is right in every other way. */
export function verifyIntentJwt(text: string, expected: JwtExpectations): IntentJwtVerdict {
  const parts = splitJws(text);
  if (parts === undefined) return invalid('it is not a compact JWS in canonical base64url');
  const kid = readHeader(parts.header);
  if (kid === undefined) return invalid('its header must be exactly alg EdDSA, kid and typ JWT');
  const { signingInput, signature } = parts;
  if (!hasReducedScalar(signature)) return invalid('its signature is malleable (RFC 8032 section 5.1.7)');
  const signed = expected.checkSignature({ kid, signingInput, signature });
  if (signed === undefined) return invalid('its key is not one of ours');
  if (!signed) return invalid('its signature is wrong');
  const claims = readJsonObject(parts.payload);
  if (claims === undefined) return invalid('its claims are not a JSON object');
  return readClaims(claims, expected);
}

function invalid(reason: string): IntentJwtVerdict {
  return { ok: false, code: 'TOKEN_INVALID', reason };
}

function splitJws(text: string) {
  if (text.length > MAX_JWT_CHARACTERS || !COMPACT_JWS.test(text)) return undefined;
  const [head = '', body = '', tail = ''] = text.split('.');
  const header = decodeBase64url(head);
  const payload = decodeBase64url(body);
  const signature = decodeBase64url(tail);
  if (header === undefined || payload === undefined || signature === undefined) return undefined;
  return { header, payload, signature, signingInput: textToBytes(`${head}.${body}`) };
}

/** The kid, or undefined for a header with anything else in it: `crit`, `jwk`, `jku`, another `alg` (RFC 8725). */
function readHeader(bytes: Uint8Array): string | undefined {
  const header = readJsonObject(bytes);
  if (header === undefined || Object.keys(header).length !== 3) return undefined;
  const { alg, kid, typ } = header;
  return alg === 'EdDSA' && typ === 'JWT' && typeof kid === 'string' ? kid : undefined;
}

function readJsonObject(bytes: Uint8Array): JsonObject | undefined {
  const read = readStrictJson(bytes);
  return read.ok && isJsonObject(read.value) ? read.value : undefined;
}

function readClaims(claims: JsonObject, expected: JwtExpectations): IntentJwtVerdict {
  const { iss, aud, exp, iat, nbf, jti, token_use: use, client_id: clientId } = claims;
  if (iss !== expected.issuer) return invalid('it was issued by another issuer');
  if (aud !== expected.audience) return invalid('it is for another audience');
  if (use !== 'intent') return invalid('it is not an intent token');
  if (!isTime(exp) || !isTime(iat) || !isTime(nbf)) return invalid('its times are not whole seconds');
  if (typeof jti !== 'string' || !LOWER_CASE_UUID.test(jti) || typeof clientId !== 'string')
    return invalid('it lacks its ids');
  const latest = expected.nowSeconds + CLOCK_LEEWAY_SECONDS;
  if (iat > latest || nbf > latest) return invalid('it is not valid yet');
  const plan = readPlanClaims(claims);
  if (plan === undefined) return invalid('its plan claims are malformed');
  if (exp <= expected.nowSeconds) return { ok: false, code: 'TOKEN_EXPIRED', reason: 'it has expired' };
  return { ok: true, claims: { jti, clientId, expiresAtSeconds: exp, ...plan, all: claims } };
}

function readPlanClaims(claims: JsonObject) {
  const {
    plan_hash: planHashHex,
    merkle_root: merkleRootHex,
    tree_size: treeSize,
    policy,
    allowed_actions,
  } = claims;
  if (!isDigest(planHashHex) || !isDigest(merkleRootHex) || !isJsonObject(policy)) return undefined;
  if (typeof treeSize !== 'number' || !Number.isInteger(treeSize)) return undefined;
  if (treeSize % 2 !== 0 || treeSize < 2 || treeSize > 2 * MAX_PLAN_STEPS) return undefined;
  if (allowed_actions !== undefined && !isTextList(allowed_actions)) return undefined;
  return { planHashHex, merkleRootHex, treeSize, policy, allowedActions: allowed_actions };
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

const isTime = (value: JsonValue | undefined): value is number => Number.isSafeInteger(value);

const isDigest = (value: JsonValue | undefined): value is string =>
  typeof value === 'string' && DIGEST_HEX.test(value);

const isTextList = (value: JsonValue): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');
