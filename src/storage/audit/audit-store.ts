/** Audit rows: the columns every effect's statement inserts, and the queue for events that have no other effect. */

import type { AuditEvent, AuditTrail } from '../../use-cases/audit/ports.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Session, Statement } from '../engine/database.ts';

/** The columns of an event in the order of `auditValues`. */
export const AUDIT_COLUMNS =
  'id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id';

/** Eight parameters and the JSON text of `metadata`, in the order of `AUDIT_COLUMNS`. */
export function auditValues(event: AuditEvent): readonly unknown[] {
  return [
    event.id,
    event.eventType,
    event.actorId,
    event.actorType,
    event.resourceType,
    event.resourceId,
    JSON.stringify(event.metadata),
    event.ipAddress,
    event.requestId,
  ];
}

const INSERT_EVENTS: Statement = {
  name: 'insert_audit_events',
  effect: 'write',
  text: `
    insert into audit_events (${AUDIT_COLUMNS})
    select id, event_type, actor_id, actor_type, resource_type, resource_id, metadata::jsonb, ip_address, request_id
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
      as event (${AUDIT_COLUMNS})`,
};

/** Inside a transaction: the event of its effect. */
export async function insertAuditEvents(session: Session, events: readonly AuditEvent[]): Promise<void> {
  await session.query(INSERT_EVENTS, columnsOf(events.map(auditValues)));
}

/** Rows to columns, for `unnest`. Every row has the same length. */
export function columnsOf(rows: readonly (readonly unknown[])[]): unknown[][] {
  return (rows[0] ?? []).map((_, column) => rows.map((row) => row[column]));
}

export function createAuditTrail(database: Database): AuditTrail {
  const queue = createBatcher<AuditEvent, true>({
    orderKey: (event) => event.id,
    run: async (events) => {
      await insertAuditEvents(database, events);
      return events.map(() => true);
    },
  });
  return { append: async (event) => void (await queue.submit(event)) };
}
