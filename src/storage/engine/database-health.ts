/** Whether the database can be worked with, proven by a real write; and what time it is there. */

import type { Database, Statement } from './database.ts';

/** One row, one write: `settings` alone would not show a read-only server or a full disk. */
export const BEAT = `
    insert into heartbeat (at) values (clock_timestamp()) on conflict (one_row) do update set at = excluded.at`;

const PROVE_WRITABLE: Statement = { name: 'heartbeat', effect: 'write', text: BEAT };

const TIME: Statement = {
  name: 'database_time',
  effect: 'read',
  text: 'select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms',
};

/** Rejects when the database does not take writes. */
export async function proveWritable(database: Database): Promise<void> {
  await database.query(PROVE_WRITABLE, []);
}

/** Milliseconds since the epoch by the database clock. */
export async function readDatabaseTime(database: Database): Promise<number> {
  const [row] = await database.query<{ now_ms: number }>(TIME, []);
  if (row === undefined) throw new Error('the database told no time');
  return row.now_ms;
}
