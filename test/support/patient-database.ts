/**
 * Guarantees the database of a test the time that a busy machine takes: what a server refuses after 250 ms or 2 s is
 * for tests that are about it, and no other may fail because something else was running.
 */
import type { Database, DatabaseTimeouts } from '../../src/storage/engine/database.ts';
import { openDatabase } from '../../src/storage/engine/open-database.ts';

/** For what never comes: less than a test file may take. */
const PATIENCE_MS = 120_000;

/** `shorter`: what a test is about. */
export function openPatiently(
  databaseUrl: string,
  poolMax: number,
  shorter: Partial<DatabaseTimeouts> = {},
): Promise<Database> {
  const timeouts = {
    connectMs: PATIENCE_MS,
    statementMs: PATIENCE_MS,
    lockMs: PATIENCE_MS,
    idleInTransactionMs: PATIENCE_MS,
    silenceMs: 2 * PATIENCE_MS,
    ...shorter,
  };
  return openDatabase({ databaseUrl, dataDir: '', poolMax, timeouts });
}
