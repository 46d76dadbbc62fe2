/**
 * Which history of the database a connection is to. A history is what one run of one server writes: after a failover,
 * after a restore, and after a mere restart, the server that answers has another start, so that numbers which it gives
 * again (transactions, versions of rows) are told from those that were given before.
 *
 * System identifier and timeline tell less: a copy of a data folder has both, and a server that was promoted may still
 * show the timeline before.
 */

import type { QueryResult } from 'pg';

/** SQL: the start of the server, to the microsecond. Once for a statement, and not for each of its rows. */
export const SERVER_START = '(select pg_postmaster_start_time()::text)';

/** Of a new connection, in the round trip that it is made in. */
export const HISTORY = `
  select concat_ws(' ', pg_postmaster_start_time(),
    (select oid from pg_database where datname = current_database())) as history`;

/** Of the last of several statements. */
export function historyIn(results: QueryResult | QueryResult[]): string {
  const last = [results].flat().at(-1);
  const [row] = (last?.rows ?? []) as { history: string }[];
  if (row === undefined) throw new Error('the database tells no history');
  return row.history;
}
