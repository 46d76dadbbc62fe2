/** Reading the audit trail. Filters are put together from a closed list, so that each has the index that fits. */

import { CANARY_EVENTS } from '../../domain/secrets/canary.ts';
import { WritError } from '../../errors.ts';
import type {
  AuditEventsHad,
  AuditFilter,
  AuditHorizon,
  AuditReader,
  RecordedAuditEvent,
} from '../../use-cases/audit/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { BEAT } from '../engine/database-health.ts';
import { BEGIN_EPOCH, PRESENT_EPOCH } from '../engine/history.ts';

/** JSON carries microseconds as text only; a position that lost them would skip or repeat events. */
const CREATED_AT = `to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const COLUMNS = `
  id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, ip_address, request_id,
  ${CREATED_AT} as created_at`;

/**
 * An event of a transaction that was still running at a horizon was written later than this before it: Writ's
 * transactions end within seconds, by time-outs. Transactions of others, which may take days, hold nothing back: a
 * horizon names the running ones and not only the oldest of them.
 */
const LONGEST_TRANSACTION = `interval '1 hour'`;

const MICROSECONDS = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`;

/**
 * A write, and therefore a commit that is on disk when this is answered: its transaction has a later number than all of
 * which the snapshot says that they are over, so none of these is given again after a crash. No row where the epoch has
 * not begun.
 */
const HORIZON: Statement = {
  name: 'audit_horizon',
  effect: 'write',
  text: `
    with beat as (${BEAT})
    select pg_current_snapshot()::text as snapshot, epoch.id as "epochId", epoch.epoch::text as epoch,
      to_char(clock_timestamp() at time zone 'UTC', ${MICROSECONDS}) as at
    from ${PRESENT_EPOCH}`,
};

/**
 * An epoch that was left and is entered again (a database that was moved away and back) is not had as a whole: its events
 * come again rather than not at all.
 */
const HAD: Statement = {
  name: 'audit_events_had',
  effect: 'read',
  text: `
    select own.epoch::text as epoch,
      array(
        select epoch::text from audit_epochs group by epoch having max(position) <= own.position
        union all select '-infinity'
      ) as whole,
      to_char(
        least($2::timestamptz, (select min(began_at) from audit_epochs where position > own.position))
          at time zone 'UTC', ${MICROSECONDS}
      ) as since
    from audit_epochs own where own.id = $1::uuid`,
};

const SAME_SERVER: Statement = {
  name: 'audit_same_server',
  effect: 'read',
  text: 'select pg_postmaster_start_time() = $1::timestamptz as same',
};

export function createAuditReader(database: Database): AuditReader {
  return {
    list: ({ filter, limit, offset, before }) => {
      const query = conditionsOf(filter);
      if (before !== undefined) {
        query.add(
          'b',
          (value) =>
            `(created_at, id) < (${value(before.createdAt)}::timestamptz, ${value(before.id)}::uuid)`,
        );
      }
      return run<RecordedAuditEvent>(
        database,
        'list_audit_events',
        query,
        (value) => `
          select ${COLUMNS} from audit_events ${query.where()}
          order by audit_events.created_at desc, id desc limit ${value(limit)} offset ${value(offset)}`,
      );
    },
    count: async (filter, limit) => {
      const query = conditionsOf(filter);
      const [row] = await run<{ count: number }>(
        database,
        'count_audit_events',
        query,
        (value) =>
          `select count(*)::int as count from (select from audit_events ${query.where()} limit ${value(limit)}) as counted`,
      );
      return row?.count ?? 0;
    },
    horizon: async () => {
      for (let attempt = 0; attempt < 2; attempt += 1) {
        const [row] = await database.query<AuditHorizon & { epoch: string }>(HORIZON, []);
        if (row !== undefined) return row;
        await database.query(BEGIN_EPOCH, []);
      }
      throw new Error('the database begins no epoch');
    },
    hadBy: async ({ epochId, at, snapshot }) => {
      const [row] = await database.query<Omit<AuditEventsHad, 'snapshot'>>(HAD, [epochId, at]);
      return row && { ...row, snapshot };
    },
    settled: async ({ filter, had, to, after, limit }) => {
      const query = conditionsOf(filter);
      query.add(
        'x',
        (value) =>
          `(epoch <> ${value(to.epoch)}::timestamptz or pg_visible_in_snapshot(xact, ${value(to.snapshot)}::pg_snapshot))`,
      );
      if (had !== undefined) {
        query.add(
          'f',
          (value) =>
            `(epoch <> all (${value(had.whole)}::timestamptz[]) or (epoch = ${value(had.epoch)}::timestamptz
              and not pg_visible_in_snapshot(xact, ${value(had.snapshot)}::pg_snapshot)))
            and created_at > ${value(had.since)}::timestamptz - ${LONGEST_TRANSACTION}`,
        );
      }
      if (after !== undefined) {
        query.add(
          'p',
          (value) => `(created_at, id) > (${value(after.createdAt)}::timestamptz, ${value(after.id)}::uuid)`,
        );
      }
      const events = await run<RecordedAuditEvent>(
        database,
        'export_audit_events',
        query,
        (value) => `
          select ${COLUMNS} from audit_events ${query.where()}
          order by audit_events.created_at, id limit ${value(limit)}`,
      );
      // Asked afterwards: a server that was left is not come back to.
      const [server] = await database.query<{ same: boolean }>(SAME_SERVER, [to.epoch]);
      if (server?.same === true) return events;
      throw new WritError('UNAVAILABLE', 'Another database server answers; export again.', {
        retryAfterSeconds: 1,
      });
    },
  };
}

const ABOUT_CANARIES = CANARY_EVENTS.map((type) => `'${type}'`).join(', ');

type AddValue = (value: unknown) => string;

interface Conditions {
  readonly values: unknown[];
  readonly value: AddValue;
  /** `tag` is one letter of its own: which conditions a text has is part of its name. */
  add(tag: string, condition: (value: AddValue) => string): void;
  where(): string;
  tags(): string;
}

/** Values travel as parameters; the texts are ours. */
function conditionsOf(filter: AuditFilter): Conditions {
  const values: unknown[] = [];
  const texts: string[] = [];
  let tags = '';
  const value: AddValue = (given) => `$${values.push(given)}`;
  const conditions: Conditions = {
    values,
    value,
    add: (tag, condition) => {
      tags += tag;
      texts.push(condition(value));
    },
    where: () => (texts.length === 0 ? '' : `where ${texts.join(' and ')}`),
    tags: () => tags,
  };
  const equal = [
    ['e', 'event_type', filter.eventType],
    ['a', 'actor_id', filter.actorId],
    ['t', 'resource_type', filter.resourceType],
    ['r', 'resource_id', filter.resourceId],
  ] as const;
  for (const [tag, column, wanted] of equal) {
    if (wanted !== undefined) conditions.add(tag, (add) => `${column} = ${add(wanted)}`);
  }
  if (!filter.ofCanaries) conditions.add('c', () => `event_type not in (${ABOUT_CANARIES})`);
  const { since, until } = filter;
  if (since !== undefined) {
    conditions.add('s', (add) => `created_at >= ${add(since)}::timestamptz`);
  }
  if (until !== undefined) {
    conditions.add('u', (add) => `created_at < ${add(until)}::timestamptz`);
  }
  return conditions;
}

/** Prepared once for each set of conditions, of which there are few. */
function run<Row extends object>(
  database: Database,
  name: string,
  query: Conditions,
  text: (value: AddValue) => string,
): Promise<Row[]> {
  const statement = { name: `${name}_${query.tags()}`, text: text(query.value), effect: 'read' } as const;
  return database.query<Row>(statement, query.values);
}
