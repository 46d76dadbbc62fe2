/** Audit rows: how the statement of an effect inserts its event, and the queue for events that have no other effect. */

import type { Alarm, AuditEvent, AuditTrail } from '../../use-cases/audit/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import { columns, columnTypes, insertFrom, members, recordset } from '../engine/table-columns.ts';
import {
  GROUPED_NOTICE_TYPES,
  groupedNotice,
  insertNoticesOf,
  oweNotices,
  sentNotices,
} from '../notices/owed-notices.ts';
import { auditEvents } from '../schema.ts';

const MEMBERS = [
  'id',
  'eventType',
  'actorId',
  'actorType',
  'resourceType',
  'resourceId',
  'metadata',
  'ipAddress',
  'requestId',
] as const satisfies readonly (keyof AuditEvent)[];

/** What Writ sends of an event. The rest is the database's: when, and in which transaction. */
export const SENT_COLUMNS: readonly string[] = Object.values(columns(auditEvents, 'event', MEMBERS)).map(
  (column) => column.slice('event.'.length),
);

/** A list of events, sent as JSON. */
const eventsSent = (parameter: string): string =>
  recordset(parameter, 'event', columnTypes(auditEvents, MEMBERS));

const INSERT_EVENTS: Statement = {
  name: 'insert_audit_events',
  effect: 'write',
  text: insertFrom(auditEvents, members('event', MEMBERS), eventsSent('$1')),
};

/** In the statement of one effect: inserts the list sent as `parameter` if `effect` has a row, else nothing. */
export const insertEventOf = (effect: string, parameter: string): string =>
  insertFrom(auditEvents, members('event', MEMBERS), `${effect} cross join ${eventsSent(parameter)}`);

/** What each member of a grouped statement sends of its event. */
export const GROUPED_EVENT_TYPES = {
  eventId: 'uuid',
  ...columnTypes(auditEvents, ['actorType', 'metadata', 'ipAddress', 'requestId']),
};

export function groupedEvent({ id, actorType, metadata, ipAddress, requestId }: AuditEvent) {
  return { eventId: id, actorType, metadata, ipAddress, requestId };
}

/** In a grouped statement: the events of the members that `granted` holds. What is not sent is an expression over it. */
export const insertGroupedEvents = (
  rest: Readonly<Record<'eventType' | 'actorId' | 'resourceType' | 'resourceId', string>>,
): string =>
  insertFrom(
    auditEvents,
    {
      id: 'granted."eventId"',
      ...rest,
      ...members('granted', ['actorType', 'metadata', 'ipAddress', 'requestId']),
    },
    'granted',
  );

/** Inside a transaction: the event of its effect. */
export async function insertAuditEvents(session: Session, events: readonly AuditEvent[]): Promise<void> {
  await session.query(INSERT_EVENTS, [JSON.stringify(events)]);
}

const INSERT_ALARMED: Statement = {
  name: 'insert_alarmed_audit_events',
  effect: 'write',
  text: `
    with event as (${insertFrom(auditEvents, members('event', MEMBERS), eventsSent('$1'))} returning 1)
    ${insertNoticesOf('event', '$2')}`,
};

/** In a grouped statement: the events of alarms beside those of the members that `granted` holds. */
export const insertGroupedAlarms = (
  rest: Readonly<Record<'actorId' | 'resourceType' | 'resourceId', string>>,
): string =>
  insertFrom(
    auditEvents,
    {
      id: 'granted."alarmId"',
      eventType: 'granted."alarmType"',
      ...rest,
      metadata: 'granted."alarmMetadata"',
      ...members('granted', ['actorType', 'ipAddress', 'requestId']),
    },
    'granted where granted."alarmId" is not null',
  );

/** What a member of such a statement sends of its alarm; all are null where it has none. */
export const GROUPED_ALARM_TYPES = {
  alarmId: 'uuid',
  alarmType: 'text',
  alarmMetadata: 'jsonb',
  ...GROUPED_NOTICE_TYPES,
};

export const groupedAlarm = ({ event, notice }: Alarm, seals: RowSeals) => ({
  alarmId: event.id,
  alarmType: event.eventType,
  alarmMetadata: event.metadata,
  ...groupedNotice(notice, seals),
});

/** Inside a transaction: what is told beside the event of its effect. */
export async function insertAlarms(
  session: Session,
  alarms: readonly Alarm[],
  seals: RowSeals,
): Promise<void> {
  if (alarms.length === 0) return;
  await insertAuditEvents(
    session,
    alarms.map(({ event }) => event),
  );
  await oweNotices(
    session,
    alarms.map(({ notice }) => notice),
    seals,
  );
}

export function createAuditTrail(database: Database, seals: RowSeals): AuditTrail {
  const queue = createBatcher<AuditEvent, true>({
    orderKey: (event) => event.id,
    run: async (events) => {
      await insertAuditEvents(database, events);
      return events.map(() => true);
    },
  });
  const write = async (events: readonly AuditEvent[], alarms: readonly Alarm[]): Promise<void> => {
    const told = [...events, ...alarms.map(({ event }) => event)];
    const notices = alarms.map(({ notice }) => notice);
    await database.query(INSERT_ALARMED, [JSON.stringify(told), sentNotices(notices, seals)]);
  };
  return {
    append: async (event, alarms = []) => {
      if (alarms.length > 0) await write([event], alarms);
      else await queue.submit(event);
    },
    raise: async (alarms) => {
      if (alarms.length > 0) await write([], alarms);
    },
  };
}
