/** What the use cases of intent tokens ask of the outside: types only. */

import type { AskedUse, StepUses } from '../../domain/intent-tokens/step-uses.ts';
import type { Role } from '../../domain/principals/role.ts';
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

/**
 * Of the token first, then of the API key that it was issued to; `revoked` also where the token's row is gone, `forged`
 * where the row of that key, or of its agent, says that it is live and is not what Writ wrote.
 */
export type RepeatStanding = IntentTokenLiveness | 'key_ended' | 'forged';

/** What was kept, and what has become of it, by the database clock. */
export interface RepeatableToken extends IdempotencyRecord {
  readonly standing: RepeatStanding;
}

/** That the token of an idempotency key is handed out again, and what that was decided by. */
export interface RecordedRepeat {
  readonly scope: IdempotencyScope;
  readonly jti: string;
  /** Of the caller, who must be live and of the scope's principal. */
  readonly callerKeyId: string;
  /** The principal's `revision` under which the policy was decided. */
  readonly agentRevision: number;
  readonly event: AuditEvent;
}

export interface IntentTokenStore {
  /**
   * One guarded write with its event. False: key or agent is not live, the agent changed, the key that signed it does not
   * sign any more, or the idempotency key is taken; nothing was written.
   */
  issue(
    record: IntentTokenRecord,
    event: AuditEvent,
    idempotency?: { readonly scope: IdempotencyScope; readonly record: IdempotencyRecord },
  ): Promise<boolean>;
  /** Not older than 10 minutes. */
  findIssued(scope: IdempotencyScope): Promise<RepeatableToken | undefined>;
  /**
   * One guarded write. False: the key has another token or is older than 10 minutes, the token, the key that it was
   * issued to or the caller's is not live or not what Writ wrote, or the agent changed; nothing was written.
   */
  recordRepeat(repeat: RecordedRepeat): Promise<boolean>;
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
  /** Of the key that signed it; null where that key is compromised or gone. */
  readonly kid: string | null;
  readonly agentRole: Role;
  /** Of that principal, as its policy was read. */
  readonly agentRevision: number;
  readonly planId: string;
  /** Itself, an ancestor, or the agent of any of them. */
  readonly revoked: boolean;
  readonly expired: boolean;
  /** Its principal is stopped, by name or with everybody. */
  readonly stopped: boolean;
  /** The operator's policy for that principal as it is now; canonical JSON. */
  readonly agentPolicyText: string | null;
  /** Canonical JSON: the plan's distinct `[mcp | null, action]` pairs. */
  readonly actionsText: string;
}

export interface IntentTokenReader {
  findState(jti: string): Promise<IntentTokenState | undefined>;
}

export interface VerificationEvents {
  /** One guarded write. False: the token's principal or the caller is stopped; nothing was written. */
  append(verification: {
    readonly event: AuditEvent;
    readonly agentId: string;
    readonly agentRole: Role;
  }): Promise<boolean>;
}

/** One use that is to be written down, and what it was decided by. */
export interface IntentTokenUse extends AskedUse {
  readonly jti: string;
  readonly rootJti: string;
  /** The revision of the token's principal by whose policy it was decided. */
  readonly agentRevision: number;
  /** Of the caller, who must be live. */
  readonly callerKeyId: string;
  readonly event: AuditEvent;
}

export interface IntentTokenUses {
  /**
   * One guarded write with its event. False: it has no room for this use, the token is not live, its principal changed,
   * or the caller's key is dead; nothing was written.
   */
  record(use: IntentTokenUse): Promise<boolean>;
  /** Of a token and all that was delegated from it; undefined while nothing was used. */
  find(rootJti: string): Promise<StepUses | undefined>;
}

/** `revoked`: itself, an ancestor, or the agent of any of them. */
export type IntentTokenLiveness = 'live' | 'expired' | 'revoked';

/** As the inventory shows it; `state` is judged by the database clock. */
export interface IntentTokenEntry {
  readonly jti: string;
  readonly planId: string;
  readonly planHashHex: string;
  readonly agentId: string;
  readonly agentName: string;
  readonly keyId: string;
  readonly totalSteps: number;
  /** One character for each step, `1` for a consumed one; null while nothing was used. Shared with all delegations. */
  readonly consumedSteps: string | null;
  readonly rootJti: string;
  /** From which it was delegated. */
  readonly parentJti: string | null;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly revokedAt: Date | null;
  readonly state: IntentTokenLiveness;
}

export interface IntentTokenInventory {
  /** Newest first. `agentId` undefined: everybody's. */
  list(query: {
    readonly agentId: string | undefined;
    readonly state: IntentTokenLiveness | undefined;
    readonly limit: number;
    readonly before: string | undefined;
  }): Promise<readonly IntentTokenEntry[]>;
  findOwner(jti: string): Promise<{ readonly agentId: string; readonly planId: string } | undefined>;
  /** One guarded write with its event. `'unchanged'`: it was revoked before, and nothing was written. */
  revoke(
    jti: string,
    write: { readonly actorKeyId: string; readonly event: AuditEvent },
  ): Promise<'revoked' | 'unchanged' | 'actor_not_live'>;
  /** What was delegated from it, directly or not, and would still be live otherwise: at most `limit` ids, and how many. */
  listHeirs(
    jti: string,
    limit: number,
  ): Promise<{ readonly jtis: readonly string[]; readonly count: number }>;
}

export interface PlanReports {
  /** One guarded write. False: the key is not live, or no token of its principal has that plan; nothing was written. */
  report(planId: string, event: AuditEvent, keyId: string): Promise<boolean>;
}

/** What is a child's own; everything else of its row is the parent's. */
export interface DelegationRecord {
  readonly jti: string;
  readonly parentJti: string;
  /** The `revision` of the parent's principal under which the policy was decided. */
  readonly parentAgentRevision: number;
  /** Of whoever delegates. */
  readonly keyId: string;
  /** The `revision` of whoever delegates, as the key was judged. */
  readonly callerRevision: number;
  readonly kid: string;
  /** Canonical JSON: the `[mcp | null, action]` pairs that the child allows. */
  readonly actionsText: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
}

export interface DelegationStore {
  /**
   * One guarded write with its event. Undefined: the parent is not live or has been delegated too often, its principal
   * changed, the key may not delegate it, or the key that signed the child does not sign any more; nothing was written.
   */
  delegate(
    record: DelegationRecord,
    event: AuditEvent,
  ): Promise<{ /** The principal whose token it is. */ readonly agentName: string } | undefined>;
}
