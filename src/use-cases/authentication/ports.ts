/** What the use cases ask of the outside: types only. Storage, keys and the composition root provide them. */

import type { Policy } from '../../domain/policies/policy.ts';
import type { Scope } from '../../domain/scopes/scope.ts';

export type Role = 'admin' | 'approver' | 'agent';

/** Process time corrected by the measured offset to the database clock; it never steps back. */
export interface Clock {
  now(): Date;
}

/** Where a request came from; part of every audit event. */
export interface RequestContext {
  readonly requestId: string;
  readonly ipAddress: string | null;
}

/** Who an API key speaks for, as read with `revision`. */
export interface Principal {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The operator's policy for this agent (contract 4.4), beside which every plan's own is decided. */
  readonly policy: Policy | null;
  readonly effectiveScopes: readonly Scope[];
  readonly revision: number;
}

/** A principal together with the key that spoke for it. */
export interface Caller {
  readonly principal: Principal;
  /** 16 hex characters, public. */
  readonly keyId: string;
  readonly keyPrefix: string;
  /** The opaque name under which this process remembers the key. */
  readonly fingerprint: string;
}

export type EventType =
  | 'intent.issued'
  | 'intent.denied'
  | 'intent.verified'
  | 'agent.created'
  | 'agent.updated'
  | 'agent.revoked'
  | 'key.created'
  | 'key.revoked'
  | 'auth.denied'
  | 'token.issued'
  | 'token.denied'
  | 'token.revoked'
  | 'secret.created'
  | 'secret.read'
  | 'secret.updated'
  | 'secret.rotated'
  | 'secret.imported'
  | 'secret.deleted'
  | 'secret.listed'
  | 'secret.denied'
  | 'namespace.listed'
  | 'approval.requested'
  | 'approval.granted'
  | 'approval.denied'
  | 'approval.claimed';

export type ActorType = Role | 'anonymous' | 'system';

/** One row of the audit trail. Never holds a key, a token or a value. */
export interface AuditEvent {
  readonly id: string;
  readonly eventType: EventType;
  readonly actorId: string;
  readonly actorType: ActorType;
  readonly resourceType: string;
  readonly resourceId: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ipAddress: string | null;
  readonly requestId: string | null;
}

/** Audit rows without another effect: denialLog. Resolves after the commit. */
export interface AuditTrail {
  append(event: AuditEvent): Promise<void>;
}

/** An API key's row joined with its agent's, judged by the database clock. */
export interface StoredKey {
  readonly caller: Omit<Caller, 'fingerprint'>;
  /** bcrypt, `$2b$`. */
  readonly hash: string;
  /** Revoked itself, or its agent is. */
  readonly revoked: boolean;
  readonly expired: boolean;
}

export interface CredentialStore {
  findKey(keyId: string): Promise<StoredKey | undefined>;
  /** Best effort: `last_used_at`, about once a minute per key and process. */
  noteUse(keyId: string): Promise<void>;
}

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

/** What an operator says of a principal. */
export interface AgentProfile {
  readonly name: string;
  readonly role: Role;
  readonly email: string | null;
  readonly description: string | null;
  readonly allowedScopes: readonly string[] | null;
  readonly allowedNamespaces: readonly string[] | null;
}

/** A principal as an administrator sees it. */
export interface AgentRecord extends AgentProfile {
  readonly id: string;
  /** Canonical JSON. */
  readonly policyText: string | null;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
  /** Oldest first; never empty. */
  readonly keys: readonly ApiKeyRecord[];
}

export interface ApiKeyRecord {
  readonly keyId: string;
  readonly name: string | null;
  readonly prefix: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
}

export interface NewApiKey {
  readonly keyId: string;
  readonly name: string | null;
  readonly prefix: string;
  readonly hash: string;
  readonly expiresAt: Date | null;
}

export interface NewAgent extends AgentProfile {
  readonly id: string;
  readonly policyText: string | null;
  readonly key: NewApiKey;
}

/** Members that are present change; null clears. */
export interface AgentChanges {
  readonly email?: string | null;
  readonly description?: string | null;
  readonly allowedScopes?: readonly string[] | null;
  readonly allowedNamespaces?: readonly string[] | null;
  readonly policyText?: string | null;
}

/**
 * Every change carries its event in one transaction and requires that `actor` is still a live administrator in it
 * (`'actor_not_live'`). `actor` null is the system itself: the first start and the command line.
 */
export interface AgentStore {
  create(agent: NewAgent, write: ActorWrite): Promise<'created' | 'name_taken' | 'actor_not_live'>;
  /** By id or, among the active, by name. */
  find(idOrName: string): Promise<AgentRecord | undefined>;
  list(page: { limit: number; after: string | undefined }): Promise<readonly AgentRecord[]>;
  update(
    agentId: string,
    changes: AgentChanges,
    write: ActorWrite,
  ): Promise<'updated' | 'absent' | 'actor_not_live'>;
  /** `'absent'` also when it was revoked before: nothing is written then. */
  revoke(agentId: string, write: ActorWrite): Promise<'revoked' | 'absent' | 'actor_not_live'>;
  addKey(agentId: string, key: NewApiKey, write: ActorWrite): Promise<'added' | 'absent' | 'actor_not_live'>;
  revokeKey(
    key: { agentId: string; keyId: string },
    write: ActorWrite,
  ): Promise<'revoked' | 'absent' | 'actor_not_live'>;
  /** Active principals of role `agent`. */
  countAgents(): Promise<number>;
}

export interface ActorWrite {
  readonly actorKeyId: string | null;
  readonly event: AuditEvent;
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
