/**
 * Which history of the database a connection is to. A history is what one run of one server writes: after a failover,
 * after a restore, and after a mere restart, the server that answers has another start, so that numbers which it gives
 * again (transactions, versions of rows) are told from those that were given before.
 *
 * System identifier and timeline tell less: a copy of a data folder has both, and a server that was promoted may still
 * show the timeline before.
 */

import type { QueryResult } from 'pg';
import type { Statement } from './database.ts';

/**
 * SQL: the start of the server in microseconds, as short a text as there is: it goes to and fro with every read. Once for
 * a statement, and not for each of its rows.
 */
export const SERVER_START =
  '(select to_hex((extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint))';

/** SQL: another text for each. A dump that is restored beside its original has the same server and another database. */
const OWN_HISTORY = `concat_ws(' ', pg_postmaster_start_time(),
  (select oid from pg_database where datname = current_database()))`;

/** Of a new connection, in the round trip that it is made in. */
export const HISTORY = `select ${OWN_HISTORY} as history`;

/**
 * Begins an epoch of the audit trail (decision 0015) unless the newest one is of this history.
 * Closes the race of several processes that find the same: each would give it the next position, and whoever comes second
 * adds nothing. A function of the owner does it, since a role that could write epochs could end all exports.
 */
export const BEGIN_EPOCH = {
  name: 'begin_audit_epoch',
  effect: 'write',
  text: 'select begin_audit_epoch()',
} as const satisfies Statement;

/** SQL: the newest epoch, if it is the one of this history. */
export const PRESENT_EPOCH = `
  (select * from audit_epochs order by position desc limit 1) as epoch where epoch.history = ${OWN_HISTORY}`;

/** Of the last of several statements. */
export function historyIn(results: QueryResult | QueryResult[]): string {
  const last = [results].flat().at(-1);
  const [row] = (last?.rows ?? []) as { history: string }[];
  if (row === undefined) throw new Error('the database tells no history');
  return row.history;
}
