/**
 * The audit trail's months. The one that runs and the next two have a partition of their own, so the default one stays
 * empty and a month can be detached as a whole. Each partition carries its own statement triggers.
 */

import type { Database, Session, Statement } from '../engine/database.ts';
import { sqlStateOf } from '../engine/storage-errors.ts';
import { narrowAuditRights } from './audit-rights.ts';

const MONTHS_AHEAD = 2;
const PARTITIONS_LOCK_KEY = 0x5041_5254; // "PART"

const LOCK: Statement = {
  name: 'try_partitions_lock',
  effect: 'write',
  text: `select pg_try_advisory_xact_lock($1) as held`,
};

/**
 * Months without a partition of which no event lies in the default one: where one does, no partition can be made any
 * more. `first` and `next` are days, `name` is made of them: nothing of it comes from outside.
 */
const MISSING: Statement = {
  name: 'missing_audit_partitions',
  effect: 'read',
  text: `
    select 'audit_events_' || to_char(month, 'YYYY_MM') as name, to_char(month, 'YYYY-MM-DD') as first,
      to_char(month + interval '1 month', 'YYYY-MM-DD') as next
    from generate_series(
      date_trunc('month', clock_timestamp() at time zone 'UTC'),
      date_trunc('month', clock_timestamp() at time zone 'UTC') + make_interval(months => $1::int),
      interval '1 month'
    ) as month
    where to_regclass('audit_events_' || to_char(month, 'YYYY_MM')) is null
      and not exists (
        select from audit_events
        where created_at >= month at time zone 'UTC' and created_at < (month + interval '1 month') at time zone 'UTC'
      )
    order by month`,
};

interface Month {
  readonly name: string;
  readonly first: string;
  readonly next: string;
}

/** An event came between, another process was first, or somebody reads the trail for long: the next run sees to it. */
const FOR_THE_NEXT_RUN: ReadonlySet<string | undefined> = new Set(['23514', '42P07', '55P03', '57014']);

/**
 * Makes what is missing, one process at a time; nothing where another does. `'not_allowed'`: the role may not, and the
 * owner has to run `writ migrate`. A month that has begun while its rows lay in the default partition stays there.
 */
export async function keepAuditPartitions(database: Database): Promise<'kept' | 'not_allowed'> {
  if ((await findMissing(database)).length === 0) return 'kept';
  try {
    await database.transaction(async (session) => {
      const [lock] = await session.query<{ held: boolean }>(LOCK, [PARTITIONS_LOCK_KEY]);
      if (lock?.held !== true) return;
      // Looked for again under the lock: whoever held it before has made all of them.
      for (const month of await findMissing(session)) await addPartition(session, month);
      // Default privileges may have given away the new months.
      await narrowAuditRights(session);
    });
  } catch (error) {
    const sqlState = sqlStateOf(error);
    if (sqlState === '42501') return 'not_allowed';
    if (!FOR_THE_NEXT_RUN.has(sqlState)) throw error;
  }
  return 'kept';
}

const findMissing = (session: Session): Promise<Month[]> => session.query<Month>(MISSING, [MONTHS_AHEAD]);

async function addPartition(session: Session, { name, first, next }: Month): Promise<void> {
  const run = (what: string, text: string) =>
    session.query({ name: `${what}_${name}`, text, effect: 'write' }, []);
  await run(
    'make',
    `create table ${name} partition of audit_events for values from ('${first} 00:00:00+00') to ('${next} 00:00:00+00')`,
  );
  await run(
    'guard_truncate',
    `create trigger audit_events_no_truncate before truncate on ${name}
      for each statement execute function audit_events_refuse_change()`,
  );
  await run(
    'guard_change',
    `create trigger audit_events_no_statement_change before update or delete on ${name}
      for each statement execute function audit_events_refuse_change()`,
  );
}
