/** The claims of an intent token (contract section 4.5) and their signature. Same input, same token: Ed25519 is deterministic. */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import { NOT_BEFORE_LEEWAY_SECONDS } from '../../domain/intent-tokens/intent-claims.ts';
import { canonicalText } from '../../domain/json/canonical-json.ts';
import type { Principal } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import type { PlanAssessment } from './assess-plan.ts';
import type { SignedJwt, TokenSigner } from './ports.ts';

/** The caller's statement; no decision rests on it. */
export interface OnBehalfOf {
  readonly userId: string | null;
  readonly agentId: string | null;
  readonly contextId: string | null;
  readonly userEmail: string | null;
}

/** Everything of a token that does not come from the request. Kept with an idempotency key, it makes the token again. */
export interface IssuanceFields {
  readonly jti: string;
  readonly planId: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  /** The API key's public half. */
  readonly keyId: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface UnsignedIntentToken extends PlanAssessment, IssuanceFields {
  readonly compositeIdentityHex: string;
  readonly signer: TokenSigner;
}

export interface IssuedIntentToken extends UnsignedIntentToken, SignedJwt {}

/** Of a new token that begins now. */
export function issuanceFields(
  deps: {
    readonly clock: Clock;
    readonly newId: () => string;
    readonly issuer: string;
    readonly audience: string;
  },
  keyId: string,
  validitySeconds: number,
): IssuanceFields {
  const issuedAtSeconds = Math.floor(deps.clock.now().getTime() / 1000);
  return {
    jti: deps.newId(),
    planId: deps.newId(),
    issuedAtSeconds,
    expiresAtSeconds: issuedAtSeconds + validitySeconds,
    keyId,
    issuer: deps.issuer,
    audience: deps.audience,
  };
}

/** Begins to sign: what is recorded of a token does not need the signature, so the two go on side by side. */
export function startSigning(
  made: {
    readonly assessment: PlanAssessment;
    /** JSON text of one more member. */
    readonly detailsMember: string | undefined;
    readonly onBehalfOf: OnBehalfOf;
    readonly principal: Principal;
    readonly fields: IssuanceFields;
    readonly signer: TokenSigner;
  },
  sha256: Sha256,
): { readonly token: UnsignedIntentToken; readonly signature: Promise<SignedJwt> } {
  const { assessment, detailsMember, onBehalfOf, principal, fields, signer } = made;
  const identity = {
    user_id: onBehalfOf.userId,
    agent_id: onBehalfOf.agentId,
    context_id: onBehalfOf.contextId,
    api_key_id: fields.keyId,
  };
  const claims = {
    iss: fields.issuer,
    sub: onBehalfOf.userId ?? principal.id,
    client_id: principal.id,
    aud: fields.audience,
    iat: fields.issuedAtSeconds,
    nbf: fields.issuedAtSeconds - NOT_BEFORE_LEEWAY_SECONDS,
    exp: fields.expiresAtSeconds,
    jti: fields.jti,
    token_use: 'intent',
    plan_hash: assessment.digest.planHashHex,
    merkle_root: assessment.digest.merkleRootHex,
    tree_size: assessment.digest.treeSize,
    policy: assessment.policyJson,
    policy_hash: assessment.policyHashHex,
    identity,
  };
  const text = JSON.stringify(claims);
  const signature = signer.signJwt(
    detailsMember === undefined ? text : `${text.slice(0, -1)},${detailsMember}}`,
  );
  // Whoever awaits it is told of a failure; a token that could not be recorded is not awaited.
  signature.catch(() => {});
  // Not spread into one literal: V8 makes a hash table of so many members, which takes 12 µs instead of 0.3.
  const token = Object.assign({}, assessment, fields, {
    compositeIdentityHex: sha256.hex(canonicalText(identity)),
    signer,
  });
  return { token, signature };
}
