/**
 * Reads the claims of an intent token whose signature is right (contract sections 4.5 and 4.6; RFC 7519): every claim
 * that a decision rests on is present and well-formed, and issuer, audience and times are those expected. Whether the
 * token was revoked is not written in it.
 */

import { DIGEST_HEX } from '../crypto/hashing.ts';
import { LOWER_CASE_UUID } from '../formats/uuid.ts';

import { isJsonObject, type JsonObject, type JsonValue, readStrictJson } from '../json/strict-json.ts';
import { MAX_PLAN_STEPS } from './plan.ts';

const CLOCK_LEEWAY_SECONDS = 5;
/** `nbf` is so long before `iat`, for verifiers whose clock is behind ours. */
export const NOT_BEFORE_LEEWAY_SECONDS = 5;

export interface ClaimExpectations {
  readonly issuer: string;
  readonly audience: string;
  readonly nowSeconds: number;
}

/** What a verifier works with; `all` holds the claims as signed. */
export interface IntentClaims {
  readonly jti: string;
  /** Of a delegation: the token at the start of the chain; otherwise `jti`. Uses are counted by it. */
  readonly rootJti: string;
  readonly clientId: string;
  readonly expiresAtSeconds: number;
  readonly planHashHex: string;
  readonly merkleRootHex: string;
  readonly treeSize: number;
  readonly policy: JsonObject;
  /** Of a delegation: the only actions it allows. */
  readonly allowedActions: readonly string[] | undefined;
  /** Of a delegation: the key that its holder proves possession of (RFC 7800). */
  readonly confirmation: JsonObject | undefined;
  readonly all: JsonObject;
}

export interface IntentJwtRefusal {
  readonly ok: false;
  readonly code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED';
  readonly reason: string;
}

export type IntentJwtVerdict = { readonly ok: true; readonly claims: IntentClaims } | IntentJwtRefusal;

/** Only for the payload of a JWT whose signature is right. `TOKEN_EXPIRED` only where everything else is right. */
export function readIntentClaims(payload: Uint8Array, expected: ClaimExpectations): IntentJwtVerdict {
  const claims = readJsonObject(payload);
  if (claims === undefined) return invalidToken('its claims are not a JSON object');
  const { iss, aud, exp, iat, nbf, jti, token_use: use, client_id: clientId } = claims;
  if (iss !== expected.issuer) return invalidToken('it was issued by another issuer');
  if (aud !== expected.audience) return invalidToken('it is for another audience');
  if (use !== 'intent') return invalidToken('it is not an intent token');
  if (!isTime(exp) || !isTime(iat) || !isTime(nbf)) return invalidToken('its times are not whole seconds');
  if (!isUuid(jti) || typeof clientId !== 'string') return invalidToken('it lacks its ids');
  const { root_jti: rootJti = jti } = claims;
  if (!isUuid(rootJti)) return invalidToken('its root_jti is malformed');
  const latest = expected.nowSeconds + CLOCK_LEEWAY_SECONDS;
  // Negated, so that a clock that says NaN refuses.
  if (!(iat <= latest && nbf <= latest)) return invalidToken('it is not valid yet');
  const plan = readPlanClaims(claims);
  if (plan === undefined) return invalidToken('its plan claims are malformed');
  if (!(exp > expected.nowSeconds)) return { ok: false, code: 'TOKEN_EXPIRED', reason: 'it has expired' };
  return { ok: true, claims: { jti, rootJti, clientId, expiresAtSeconds: exp, ...plan, all: claims } };
}

export function invalidToken(reason: string): IntentJwtRefusal {
  return { ok: false, code: 'TOKEN_INVALID', reason };
}

/** Undefined for anything but the strict JSON of an object. */
export function readJsonObject(bytes: Uint8Array): JsonObject | undefined {
  const read = readStrictJson(bytes);
  return read.ok && isJsonObject(read.value) ? read.value : undefined;
}

function readPlanClaims(claims: JsonObject) {
  const { plan_hash: planHashHex, merkle_root: merkleRootHex, tree_size: treeSize, policy } = claims;
  const { allowed_actions: allowedActions, cnf: confirmation } = claims;
  if (!isDigest(planHashHex) || !isDigest(merkleRootHex) || !isJsonObject(policy)) return undefined;
  if (typeof treeSize !== 'number' || !Number.isInteger(treeSize)) return undefined;
  if (treeSize % 2 !== 0 || treeSize < 2 || treeSize > 2 * MAX_PLAN_STEPS) return undefined;
  if (allowedActions !== undefined && !isTextList(allowedActions)) return undefined;
  if (confirmation !== undefined && !isJsonObject(confirmation)) return undefined;
  return { planHashHex, merkleRootHex, treeSize, policy, allowedActions, confirmation };
}

const isTime = (value: JsonValue | undefined): value is number => Number.isSafeInteger(value);

const isUuid = (value: JsonValue | undefined): value is string =>
  typeof value === 'string' && LOWER_CASE_UUID.test(value);

const isDigest = (value: JsonValue | undefined): value is string =>
  typeof value === 'string' && DIGEST_HEX.test(value);

const isTextList = (value: JsonValue): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');
