/** Races that a test puts in order by holding locks: sessions that wait as long as it takes, and who waits. */
import type { TestContext } from 'node:test';
import pg from 'pg';
import type { Database } from '../../src/storage/engine/database.ts';
import { openDatabase } from '../../src/storage/engine/open-database.ts';
import { openPatiently } from '../support/patient-database.ts';
import { adminQuery, createTestDatabase } from '../support/postgres.ts';

export interface HeldLocks {
  /** Of one session without the time-outs of every day: whoever waits for each other is found out by the database. */
  openPatient(): Promise<Database>;
  /** As the server opens it. */
  open(): Promise<Database>;
  /** The session that holds what others wait for. */
  readonly holder: pg.Client;
  /** How many sessions wait for a lock. */
  waiting(): Promise<number>;
}

export async function heldLocks(t: TestContext): Promise<HeldLocks> {
  const { url } = await createTestDatabase(t);
  const closing = async (opening: Promise<Database>) => {
    const database = await opening;
    t.after(() => database.close());
    return database;
  };
  const holder = new pg.Client({ connectionString: url });
  await holder.connect();
  t.after(() => holder.end());
  return {
    holder,
    open: () => closing(openDatabase({ databaseUrl: url, dataDir: '', poolMax: 2 })),
    openPatient: () => closing(openPatiently(url, 1)),
    waiting: async () => {
      const found = await adminQuery<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'`,
        [new URL(url).pathname.slice(1)],
      );
      return found[0]?.n ?? 0;
    },
  };
}
