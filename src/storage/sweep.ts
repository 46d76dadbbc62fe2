/**
 * Removes what has served its time (contract section 9): bounded batches, one process at a time, never a row that
 * somebody holds.
 */

import type { Database, Session, Statement } from './engine/database.ts';
import { REPEATABLE_FOR } from './engine/liveness-sql.ts';

const SWEEP_LOCK_KEY = 0x5357_4550; // "SWEP"
const BATCH = 1000;
/** In one run; what is left is for the next. */
const MAX_BATCHES = 20;

/**
 * Ends with the transaction, so a process that dies holds up nobody. The moments are read once, so that indexes serve,
 * and as text, because a `Date` would cut off their microseconds.
 */
const LOCK: Statement = {
  name: 'try_sweep_lock',
  effect: 'write',
  text: `
    select pg_try_advisory_xact_lock($1) as held,
      (clock_timestamp() - ${REPEATABLE_FOR})::text as "repeatedSince",
      (clock_timestamp() - make_interval(days => $2::int))::text as "retainedSince"`,
};

interface Moments {
  readonly repeatedSince: string;
  readonly retainedSince: string;
}

const IDEMPOTENCY_KEYS: Statement = {
  name: 'sweep_idempotency_keys',
  effect: 'write',
  text: `
    delete from idempotency_keys where (agent_id, path, key) in (
      select agent_id, path, key from idempotency_keys
      where created_at <= $1::timestamptz
      order by agent_id, path, key limit ${BATCH} for update skip locked
    )
    returning 1`,
};

const SCOPED_TOKENS: Statement = {
  name: 'sweep_scoped_tokens',
  effect: 'write',
  text: `
    delete from scoped_tokens where id in (
      select id from scoped_tokens
      where expires_at <= $1::timestamptz
      limit ${BATCH} for update skip locked
    )
    returning 1`,
};

/** A row that is still somebody's ancestor stays: the liveness of what was delegated is derived from it. */
const INTENT_TOKENS: Statement = {
  name: 'sweep_intent_tokens',
  effect: 'write',
  text: `
    delete from intent_tokens where jti in (
      select jti from intent_tokens dead
      where expires_at <= $1::timestamptz
        and not exists (
          select from intent_tokens heir
          where heir.root_jti <> heir.jti and heir.root_jti = dead.root_jti and heir.ancestors @> array[dead.jti]
        )
      limit ${BATCH} for update skip locked
    )
    returning 1`,
};

/** With their votes. An approval is closed when it was denied or claimed, or when its time is over. */
const APPROVALS: Statement = {
  name: 'sweep_approvals',
  effect: 'write',
  text: `
    delete from approvals where id in (
      select id from approvals
      where greatest(
          denied_at, claimed_at, coalesce(effective_at + make_interval(secs => window_seconds), expires_at)
        ) <= $1::timestamptz
      limit ${BATCH} for update skip locked
    )
    returning 1`,
};

const NOTICES: Statement = {
  name: 'sweep_webhook_outbox',
  effect: 'write',
  text: `
    delete from webhook_outbox where id in (
      select id from webhook_outbox
      where coalesce(delivered_at, given_up_at) <= $1::timestamptz
      limit ${BATCH} for update skip locked
    )
    returning 1`,
};

const SWEEPS: readonly { readonly statement: Statement; readonly until: keyof Moments }[] = [
  { statement: IDEMPOTENCY_KEYS, until: 'repeatedSince' },
  { statement: SCOPED_TOKENS, until: 'retainedSince' },
  { statement: INTENT_TOKENS, until: 'retainedSince' },
  { statement: APPROVALS, until: 'retainedSince' },
  { statement: NOTICES, until: 'retainedSince' },
];

/** How many rows went; none where another process is sweeping. */
export async function sweep(
  database: Database,
  { retentionDays }: { retentionDays: number },
): Promise<number> {
  let removed = 0;
  for (const { statement, until } of SWEEPS) {
    for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
      const count = await sweepBatch(database, retentionDays, (session, moments) =>
        session.query(statement, [moments[until]]),
      );
      removed += count;
      if (count < BATCH) break;
    }
  }
  return removed;
}

/** One short transaction for each batch: nobody waits for a long one. */
function sweepBatch(
  database: Database,
  retentionDays: number,
  remove: (session: Session, moments: Moments) => Promise<readonly object[]>,
): Promise<number> {
  return database.transaction(async (session) => {
    const [lock] = await session.query<Moments & { held: boolean }>(LOCK, [SWEEP_LOCK_KEY, retentionDays]);
    return lock?.held === true ? (await remove(session, lock)).length : 0;
  });
}
