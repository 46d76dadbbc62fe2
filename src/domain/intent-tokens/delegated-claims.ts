/**
 * The claims of a delegation (contract section 4.5): the parent's plan, policy and subject as they were signed, the steps
 * that are left, who acts (RFC 8693 section 4.1) and the key that the holder proves (RFC 7800).
 */

import type { Ed25519Jwk } from '../crypto/jwk.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json/strict-json.ts';
import { NOT_BEFORE_LEEWAY_SECONDS } from './intent-claims.ts';

export interface DelegatedTo {
  readonly jti: string;
  readonly parentJti: string;
  readonly rootJti: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  /** The public half of the API key that delegates. */
  readonly keyId: string;
  readonly allowedActions: readonly string[];
  readonly delegateKey: Ed25519Jwk;
  /** The name of that key. */
  readonly delegateUri: string;
  /** What the delegating side calls the delegate: its statement. */
  readonly targetAgent: string | undefined;
}

const OF_PARENT = ['iss', 'sub', 'client_id', 'aud'] as const;
const OF_PLAN = ['plan_hash', 'merkle_root', 'tree_size', 'policy', 'policy_hash'] as const;

/** `parent`: the claims of a token that was verified. */
export function delegatedClaims(parent: JsonObject, to: DelegatedTo): JsonObject {
  const { x, crv, kty } = to.delegateKey;
  return {
    ...pick(parent, OF_PARENT),
    iat: to.issuedAtSeconds,
    nbf: to.issuedAtSeconds - NOT_BEFORE_LEEWAY_SECONDS,
    exp: to.expiresAtSeconds,
    jti: to.jti,
    token_use: 'intent',
    ...pick(parent, OF_PLAN),
    identity: delegatedIdentity(parent, to.keyId),
    ...remainingDetails(parent, to.allowedActions),
    allowed_actions: [...to.allowedActions],
    act: actor(parent, to),
    cnf: { jwk: { kty, crv, x } },
    parent_jti: to.parentJti,
    root_jti: to.rootJti,
  };
}

/** How often a token was delegated to come about: one `act` within the other for each time. */
export function delegationDepth(claims: JsonObject): number {
  let depth = 0;
  for (let act = claims['act']; isJsonObject(act); act = act['act']) depth += 1;
  return depth;
}

/** On whose behalf the plan is stays; by which key it came about is the delegating one. */
function delegatedIdentity({ identity }: JsonObject, keyId: string): JsonObject {
  return { ...(isJsonObject(identity) ? identity : {}), api_key_id: keyId };
}

/** The outermost is who acts now; within it, who passed it on. */
function actor({ act }: JsonObject, { delegateUri, targetAgent }: DelegatedTo): JsonObject {
  return {
    sub: delegateUri,
    ...(targetAgent === undefined ? {} : { target_agent: targetAgent }),
    ...(act === undefined ? {} : { act }),
  };
}

/** A token that names its steps names those that are left; one that does not goes on not to, for the same reason. */
function remainingDetails(
  { authorization_details: details, authorization_details_omitted: omitted }: JsonObject,
  allowedActions: readonly string[],
): JsonObject {
  if (!Array.isArray(details)) return omitted === undefined ? {} : { authorization_details_omitted: omitted };
  const allowed: ReadonlySet<JsonValue> = new Set(allowedActions);
  const left = details.filter((detail) => {
    const actions = isJsonObject(detail) ? detail['actions'] : undefined;
    return Array.isArray(actions) && actions.every((action) => allowed.has(action));
  });
  return { authorization_details: left };
}

function pick(from: JsonObject, names: readonly string[]): JsonObject {
  const picked: Record<string, JsonValue> = {};
  for (const name of names) {
    const value = from[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}
