/**
 * What `/ready` answers: one real write, and whether the server still keeps what it acknowledges; at most once a second
 * however often it is asked.
 */

import type { Database } from '../storage/engine/database.ts';
import { proveWritable } from '../storage/engine/database-health.ts';
import { readMigrationState } from '../storage/engine/migrations.ts';
import { readServerFacts } from '../storage/engine/server-facts.ts';
import type { AppContext } from './app-context.ts';
import type { MasterKeysPart } from './compose-master-keys.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

const FRESH_MS = 1000;
/** Whoever asks is told within a second. */
const PATIENCE_MS = 900;
const MAX_DRIFT_MS = 30_000;

/** The returned function resolves to undefined when the work can be done, else to the reason. */
export function createReadiness(
  app: AppContext,
  parts: { readonly signingKeys: SigningKeysPart; readonly masterKeys: MasterKeysPart },
): () => Promise<string | undefined> {
  let last: { at: number; answer: Promise<string | undefined> } | undefined;
  app.database.memories.add('readiness', () => {
    last = undefined;
  });
  return () => {
    if (last === undefined || app.monotonicMs() - last.at >= FRESH_MS) {
      last = { at: app.monotonicMs(), answer: inTime(evaluate(app, parts)) };
    }
    return last.answer;
  };
}

async function inTime(answer: Promise<string | undefined>): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, 'the database does not answer in time');
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

async function evaluate(
  { config, database, clock }: AppContext,
  { signingKeys: { keyRing }, masterKeys }: Parameters<typeof createReadiness>[1],
): Promise<string | undefined> {
  try {
    await proveWritable(database);
    const unsafe = config.acceptUnsafeDurability ? [] : await unsafeSettingsOf(database);
    if (unsafe.length > 0) {
      return `PostgreSQL runs with ${unsafe.join(', ')} off, so it can lose acknowledged writes`;
    }
    if ((await readMigrationState(database)).pending > 0) return 'migrations are pending';
    keyRing.active();
    if (masterKeys.missing().length > 0)
      return 'the database is written under a master key that is not given';
  } catch {
    return 'the database does not take writes, or keys are not usable';
  }
  return Math.abs(clock.driftMs()) > MAX_DRIFT_MS
    ? 'the clocks of process and database drifted apart'
    : undefined;
}

/** The embedded database has no fsync to turn off. */
async function unsafeSettingsOf(database: Database): Promise<readonly string[]> {
  return database.kind === 'embedded' ? [] : (await readServerFacts(database)).unsafeSettings;
}
