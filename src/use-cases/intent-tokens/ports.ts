/** What the use cases of intent tokens ask of the outside: types only. */

import type { StepToProve } from '../../domain/intent-tokens/proven-step.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import type { AuditEvent } from '../audit/ports.ts';

/** What is kept of an issued intent token; the plan itself is not. */
export interface IntentTokenRecord {
  readonly jti: string;
  readonly planId: string;
  readonly agentId: string;
  readonly keyId: string;
  /** The principal's `revision` under which the policy was decided. */
  readonly agentRevision: number;
  readonly kid: string;
  readonly planHashHex: string;
  readonly merkleRootHex: string;
  readonly treeSize: number;
  /** Canonical JSON. */
  readonly policyText: string;
  /** Canonical JSON: the distinct `[mcp | null, action]` pairs. */
  readonly actionsText: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
}

/** Under which a request is made at most once: `Idempotency-Key`, per principal and path. */
export interface IdempotencyScope {
  readonly agentId: string;
  readonly path: string;
  readonly key: string;
}

/** What lets the same request be answered again. */
export interface IdempotencyRecord {
  readonly bodySha256Hex: string;
  readonly jwtSha256Hex: string;
  readonly jti: string;
  readonly planId: string;
  readonly keyId: string;
  readonly kid: string;
  readonly issuer: string;
  readonly audience: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
}

export interface IntentTokenStore {
  /**
   * One guarded write with its event. False: key or agent is not live, the agent changed, or the idempotency key is
   * taken; nothing was written.
   */
  issue(
    record: IntentTokenRecord,
    event: AuditEvent,
    idempotency?: { readonly scope: IdempotencyScope; readonly record: IdempotencyRecord },
  ): Promise<boolean>;
  /** Not older than 10 minutes. */
  findIssued(scope: IdempotencyScope): Promise<IdempotencyRecord | undefined>;
}

/** One signing key, Ed25519 (RFC 8032). */
export interface TokenSigner {
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  /** 32 bytes in lower-case hex. */
  readonly publicKeyHex: string;
  /** The compact JWS (RFC 7515) over a claims text, and its signature in hex. */
  signJwt(claimsText: string): Promise<SignedJwt>;
  /** The signature over a text's UTF-8, in hex. */
  signText(text: string): string;
}

export interface SignedJwt {
  readonly jwt: string;
  readonly signatureHex: string;
}

/** What the database knows of an issued intent token, judged by its clock. */
export interface IntentTokenState {
  /** The principal it was issued to. */
  readonly agentId: string;
  /** Itself, an ancestor, or the agent of any of them. */
  readonly revoked: boolean;
  readonly expired: boolean;
  /** The operator's policy for that principal as it is now; canonical JSON. */
  readonly agentPolicyText: string | null;
  /** Canonical JSON: the plan's distinct `[mcp | null, action]` pairs. */
  readonly actionsText: string;
}

export interface IntentTokenReader {
  findState(jti: string): Promise<IntentTokenState | undefined>;
}

export interface VerificationRequest {
  readonly jwt: string;
  /** What an SDK's token object says beside its JWT; it must agree with what was signed. */
  readonly statedBeside: readonly {
    readonly member: string;
    readonly claim: string;
    readonly value: JsonValue;
  }[];
  readonly step: StepToProve | undefined;
}
