/** Reading the audit trail. Filters are put together from a closed list, so that each has the index that fits. */

import type {
  AuditFilter,
  AuditHorizon,
  AuditReader,
  RecordedAuditEvent,
} from '../../use-cases/audit/ports.ts';
import type { Database, Statement } from '../engine/database.ts';

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

const HORIZON: Statement = {
  name: 'audit_horizon',
  effect: 'read',
  text: `
    select pg_current_snapshot()::text as snapshot,
      to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
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
      const [row] = await database.query<{ snapshot: string; at: string }>(HORIZON, []);
      if (row === undefined) throw new Error('the database gives no snapshot');
      return row satisfies AuditHorizon;
    },
    settled: ({ filter, from, to, after, limit }) => {
      const query = conditionsOf(filter);
      query.add('x', (value) => `pg_visible_in_snapshot(xact, ${value(to.snapshot)}::pg_snapshot)`);
      if (from !== undefined) {
        query.add(
          'f',
          (value) =>
            `not pg_visible_in_snapshot(xact, ${value(from.snapshot)}::pg_snapshot) and created_at > ${value(from.at)}::timestamptz - ${LONGEST_TRANSACTION}`,
        );
      }
      if (after !== undefined) {
        query.add(
          'p',
          (value) => `(created_at, id) > (${value(after.createdAt)}::timestamptz, ${value(after.id)}::uuid)`,
        );
      }
      return run<RecordedAuditEvent>(
        database,
        'export_audit_events',
        query,
        (value) => `
          select ${COLUMNS} from audit_events ${query.where()}
          order by audit_events.created_at, id limit ${value(limit)}`,
      );
    },
  };
}

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
