/** What `/ready` answers: one real write, at most once a second however often it is asked. */

import { proveWritable } from '../storage/engine/database-health.ts';
import { readMigrationState } from '../storage/engine/migrations.ts';
import type { AppContext } from './app-context.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

const FRESH_MS = 1000;
const MAX_DRIFT_MS = 30_000;

/** The returned function resolves to undefined when the work can be done, else to the reason. */
export function createReadiness(
  app: AppContext,
  parts: { readonly signingKeys: SigningKeysPart },
): () => Promise<string | undefined> {
  let last: { at: number; answer: Promise<string | undefined> } | undefined;
  return () => {
    if (last === undefined || app.monotonicMs() - last.at >= FRESH_MS) {
      last = { at: app.monotonicMs(), answer: evaluate(app, parts.signingKeys) };
    }
    return last.answer;
  };
}

async function evaluate(
  { database, clock }: AppContext,
  { keyRing }: SigningKeysPart,
): Promise<string | undefined> {
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
