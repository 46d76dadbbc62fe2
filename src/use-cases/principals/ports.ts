/** What the use cases of principals ask of the outside: types only. */

import type { Role } from '../../domain/principals/role.ts';
import type { AuditEvent } from '../audit/ports.ts';
import type { Notice } from '../notices/ports.ts';

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
  readonly lastUsedIp: string | null;
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
  /**
   * Adds a key, and lets the live ones among `older` end after the overlap, never later than they would; without an
   * overlap they are revoked. What each of them says of it is an event as well.
   */
  rotateKeys(
    agentId: string,
    rotation: KeyRotation,
    write: ActorWrite,
  ): Promise<readonly EndedKey[] | 'absent' | 'actor_not_live'>;
  /** Active principals of role `agent`. */
  countAgents(): Promise<number>;
}

export interface KeyRotation {
  readonly key: NewApiKey;
  /** Key ids. What was made since the rotation was asked for is not ended by it: nobody may have seen it yet. */
  readonly older: readonly string[];
  /** 0: they are revoked. */
  readonly overlapSeconds: number;
  readonly eventOf: (ended: EndedKey) => AuditEvent;
}

/** An older key, and when it ends. */
export interface EndedKey {
  readonly keyId: string;
  readonly endsAt: Date;
}

/** A live key that ends soon. */
export interface KeyThatEnds {
  readonly keyId: string;
  readonly keyName: string | null;
  readonly agentId: string;
  readonly agentName: string;
  readonly expiresAt: Date;
  readonly lastUsedAt: Date | null;
  /** Nobody was told before. */
  readonly isFirst: boolean;
}

export interface KeyEndReminders {
  /**
   * Takes the keys that end within so many days and of which nobody was told for a day. What `tell` makes of those that
   * are the first time is written in the same transaction. `taken` counts also rows that Writ did not write.
   */
  take(
    which: { readonly withinDays: number; readonly limit: number },
    tell: (key: KeyThatEnds) => { readonly event: AuditEvent; readonly notice: Notice | undefined },
  ): Promise<{ readonly taken: number; readonly whole: readonly KeyThatEnds[] }>;
}

export interface KeyEnds {
  readonly soon: number;
  /** Null: no live key ends. */
  readonly nextInSeconds: number | null;
}

export interface OwnKeyStore {
  /** Oldest first. */
  listOf(agentId: string): Promise<readonly ApiKeyRecord[]>;
  /**
   * `'absent'`: that agent has no such key. Again is `'revoked'`, and writes nothing. The key of `actorKeyId` must be a
   * live one of that agent, and is never revoked itself.
   */
  revokeOwn(
    key: { readonly keyId: string; readonly agentId: string },
    actorKeyId: string,
    event: AuditEvent,
  ): Promise<'revoked' | 'absent' | 'actor_not_live'>;
}

export interface ActorWrite {
  readonly actorKeyId: string | null;
  readonly event: AuditEvent;
}
