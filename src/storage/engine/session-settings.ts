/**
 * What every session of Writ sets for itself as it connects, in the one round trip that a new connection costs: what is
 * set on the role or on the database, before or after the start, does not win over it. Any role may set on itself what
 * is set here, and PostgreSQL lets nobody prevent it.
 */

import type { DatabaseTimeouts } from './database.ts';

/** What a statement means and may do, and how its answer is written: names, writes, what a lock shows, times, numbers. */
export const MEANING: readonly string[] = [
  'set search_path = public',
  "set default_transaction_isolation = 'read committed'",
  'set default_transaction_read_only = off',
  "set timezone = 'UTC'",
  "set datestyle = 'ISO'",
  'set extra_float_digits = 1',
];

/**
 * A statement is planned when its tables may be all but empty; a plan that reads them whole would outlive their growth.
 * What that setting makes of the estimates would have every statement compiled, for hundreds of milliseconds in which it
 * holds its locks, to save microseconds.
 */
export function sessionSettings(timeouts: DatabaseTimeouts): readonly string[] {
  return [
    `set statement_timeout = ${timeouts.statementMs}`,
    `set lock_timeout = ${timeouts.lockMs}`,
    `set idle_in_transaction_session_timeout = ${timeouts.idleInTransactionMs}`,
    ...MEANING,
    'set enable_seqscan = off',
    'set jit = off',
  ];
}

/**
 * An acknowledged write is on disk, and on the synchronous standbys if there are any. Who asked for more than that keeps
 * it; `off`, `local` and `remote_write` would acknowledge what a crash or a failover takes back.
 */
export const PIN_DURABILITY = `
  select set_config('synchronous_commit',
    case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end, false)`;
