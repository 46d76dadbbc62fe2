/** What the audit trail holds (one event for each effect and each refusal), and what reading it asks of the outside: types only. */

import type { Role } from '../../domain/principals/role.ts';
import type { Notice } from '../notices/ports.ts';

/** Where a request came from; part of every audit event. */
export interface RequestContext {
  readonly requestId: string;
  readonly ipAddress: string | null;
}

export type EventType =
  | 'intent.issued'
  | 'intent.repeated'
  | 'intent.denied'
  | 'intent.verified'
  | 'intent.enforced'
  | 'intent.reported'
  | 'intent.revoked'
  | 'intent.delegated'
  | 'agent.created'
  | 'agent.updated'
  | 'agent.revoked'
  | 'key.created'
  | 'key.revoked'
  | 'signing_key.created'
  | 'signing_key.activated'
  | 'signing_key.retired'
  | 'signing_key.compromised'
  | 'key.rotated'
  | 'key.expiring'
  | 'settings.changed'
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
  | 'secret.rotation_due'
  | 'secret.canary_touched'
  | 'secret.canary_changed'
  | 'secret.versions_pruned'
  | 'secret.denied'
  | 'namespace.listed'
  | 'approval.requested'
  | 'approval.granted'
  | 'approval.denied'
  | 'approval.claimed'
  | 'emergency.stopped'
  | 'emergency.resumed'
  | 'integrity.failed'
  | 'integrity.sealed'
  | 'integrity.resealed'
  | 'kek.activated'
  | 'kek.rotated'
  | 'audit.read'
  | 'audit.exported';

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

/** What is told of an event beside it, in the statement or the transaction that writes the event. */
export interface Alarm {
  readonly event: AuditEvent;
  readonly notice: Notice | undefined;
}

/** Audit rows without another effect: denialLog. Resolves after the commit. */
export interface AuditTrail {
  append(event: AuditEvent, alarms?: readonly Alarm[]): Promise<void>;
  /** Alarms whose event is not on record by itself. */
  raise(alarms: readonly Alarm[]): Promise<void>;
}

/** Events whose only effect is that they are on record, and that somebody acts by them: one guarded statement. */
export interface CallerEvents {
  /**
   * All of them, or none: false if the key or its agent is not live, or the agent is no longer of `revision` (null: of
   * any).
   */
  append(
    events: readonly AuditEvent[],
    caller: { readonly keyId: string; readonly revision: number | null },
  ): Promise<boolean>;
}

export interface AuditFilter {
  readonly eventType: string | undefined;
  readonly actorId: string | undefined;
  readonly resourceType: string | undefined;
  readonly resourceId: string | undefined;
  /** Inclusive; RFC 3339, to the microsecond. */
  readonly since: string | undefined;
  /** Exclusive. */
  readonly until: string | undefined;
  /** False: without what only administrators are to know. */
  readonly ofCanaries: boolean;
}

export interface RecordedAuditEvent {
  readonly id: string;
  readonly event_type: string;
  readonly actor_id: string;
  readonly actor_type: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ip_address: string | null;
  readonly request_id: string | null;
  /** RFC 3339 in UTC, to the microsecond. */
  readonly created_at: string;
}

/** Where an event stands in the order of the trail. */
export interface AuditPosition {
  readonly createdAt: string;
  readonly id: string;
}

/** Which transactions were over at one moment, in one epoch: no event of theirs can still appear, nor of epochs before. */
export interface AuditHorizon {
  /** Names the epoch. */
  readonly epochId: string;
  /** `pg_snapshot` as text: `xmin:xmax:` and those between that were still running. */
  readonly snapshot: string;
  /** The moment, RFC 3339. */
  readonly at: string;
}

/** Of one epoch what its snapshot shows; of others everything. Epochs are moments, RFC 3339 or `-infinity`. */
export interface AuditEventsHad {
  readonly epoch: string;
  readonly snapshot: string;
  readonly whole: readonly string[];
  /** No event that was not had is older than this by more than its transaction and a clock that was set back. */
  readonly since: string;
}

export interface AuditReader {
  /** Newest first. */
  list(query: {
    readonly filter: AuditFilter;
    readonly limit: number;
    readonly offset: number;
    readonly before: AuditPosition | undefined;
  }): Promise<readonly RecordedAuditEvent[]>;
  /** Counts no further than `limit`. */
  count(filter: AuditFilter, limit: number): Promise<number>;
  /** Of now. */
  horizon(): Promise<AuditHorizon & { readonly epoch: string }>;
  /** What an export up to `horizon` has had; undefined where the database does not know its epoch. */
  hadBy(horizon: AuditHorizon): Promise<AuditEventsHad | undefined>;
  /**
   * Oldest first, of the transactions that were over at `to`, without those that were `had` (undefined: all of them).
   * Rejects with `UNAVAILABLE` where another server answers than the one that gave `to`.
   */
  settled(query: {
    readonly filter: AuditFilter;
    readonly had: AuditEventsHad | undefined;
    readonly to: { readonly snapshot: string; readonly epoch: string };
    readonly after: AuditPosition | undefined;
    readonly limit: number;
  }): Promise<readonly RecordedAuditEvent[]>;
}
