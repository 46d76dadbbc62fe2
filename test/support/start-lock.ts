/** Guarantees that starts on one database are kept waiting for their turn until the test lets them go on. */
import type { TestContext } from 'node:test';
import pg from 'pg';

/** Of the advisory lock under which processes start one after the other. */
const START_LOCK_KEY = 0x57524954;

export interface HeldStarts {
  /** How many have come as far as their turn. */
  waiting(): Promise<number>;
  proceed(): Promise<void>;
}

export async function holdStarts(t: Pick<TestContext, 'after'>, databaseUrl: string): Promise<HeldStarts> {
  const holder = new pg.Client({ connectionString: databaseUrl });
  holder.on('error', () => undefined);
  await holder.connect();
  t.after(() => holder.end());
  await holder.query('select pg_advisory_lock($1)', [START_LOCK_KEY]);
  return {
    waiting: async () => {
      const { rows } = await holder.query<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity
         where datname = current_database() and wait_event = 'advisory'`,
      );
      return rows[0]?.n ?? 0;
    },
    proceed: async () => {
      await holder.query('select pg_advisory_unlock($1)', [START_LOCK_KEY]);
    },
  };
}
