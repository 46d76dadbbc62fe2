/** What `/ready` answers: one real write, at most once a second however often it is asked. */

import type { KeyRing } from '../keys/signing/key-ring.ts';
import type { DatabaseClock } from '../platform/database-clock.ts';
import type { Database } from '../storage/engine/database.ts';
import { proveWritable } from '../storage/engine/database-health.ts';
import { readMigrationState } from '../storage/engine/migrations.ts';

const FRESH_MS = 1000;
const MAX_DRIFT_MS = 30_000;

/** The returned function resolves to undefined when the work can be done, else to the reason. */
export function createReadiness(deps: {
  database: Database;
  clock: DatabaseClock;
  keyRing: KeyRing;
  monotonicMs: () => number;
}): () => Promise<string | undefined> {
  let last: { at: number; answer: Promise<string | undefined> } | undefined;
  return () => {
    if (last === undefined || deps.monotonicMs() - last.at >= FRESH_MS) {
      last = { at: deps.monotonicMs(), answer: evaluate(deps) };
    }
    return last.answer;
  };
}

async function evaluate({
  database,
  clock,
  keyRing,
}: Parameters<typeof createReadiness>[0]): Promise<string | undefined> {
  try {
    await proveWritable(database);
    if ((await readMigrationState(database)).pending > 0) return 'migrations are pending';
    keyRing.active();
  } catch {
    return 'the database does not take writes, or keys are not usable';
  }
  return Math.abs(clock.driftMs()) > MAX_DRIFT_MS
    ? 'the clocks of process and database drifted apart'
    : undefined;
}
