/** What reading the audit trail asks of the outside: types only. */

export interface AuditFilter {
  readonly eventType: string | undefined;
  readonly actorId: string | undefined;
  readonly resourceType: string | undefined;
  readonly resourceId: string | undefined;
  /** Inclusive; RFC 3339, to the microsecond. */
  readonly since: string | undefined;
  /** Exclusive. */
  readonly until: string | undefined;
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

/** Which transactions were over at one moment: no event of theirs can still appear. */
export interface AuditHorizon {
  /** `pg_snapshot` as text: `xmin:xmax:` and those between that were still running. */
  readonly snapshot: string;
  /** The moment, RFC 3339. */
  readonly at: string;
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
  horizon(): Promise<AuditHorizon>;
  /** Oldest first, of the transactions that were over at `to` and not yet at `from` (undefined: of all of them). */
  settled(query: {
    readonly filter: AuditFilter;
    readonly from: AuditHorizon | undefined;
    readonly to: AuditHorizon;
    readonly after: AuditPosition | undefined;
    readonly limit: number;
  }): Promise<readonly RecordedAuditEvent[]>;
}
