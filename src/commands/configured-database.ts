/** Opens the configured database for one command and closes it again, migrations applied. */

import { type Config, loadConfig } from '../config.ts';
import { newId } from '../platform/ids.ts';
import type { ConfigVariable } from '../settings-table.ts';
import { openSeals } from '../start/open-seals.ts';
import { migrateIfPending } from '../start/provision.ts';
import { StartError } from '../start/start-error.ts';
import type { Database } from '../storage/engine/database.ts';
import { openDatabase } from '../storage/engine/open-database.ts';
import type { RowSeals } from '../use-cases/ports.ts';

const DATABASE_VARIABLES: readonly ConfigVariable[] = ['DATABASE_URL', 'DATABASE_POOL_MAX', 'DATA_DIR'];

/** What a command needs beside that seals rows or judges them. */
export const MASTER_KEY_VARIABLES = ['MASTER_KEY', 'MASTER_KEY_FILE'] as const satisfies ConfigVariable[];

/** Rejects with `StartError` for another master key than the database's. */
export async function openCommandSeals(database: Database, config: Config): Promise<RowSeals> {
  return (await database.exclusively(() => openSeals({ database, config, newId }))).seals;
}

/** `applied` is how many migrations this call ran. */
export async function withDatabase<T>(
  env: NodeJS.ProcessEnv,
  variables: readonly ConfigVariable[],
  work: (open: { database: Database; config: Config; applied: number }) => Promise<T>,
): Promise<T> {
  const loaded = loadConfig(env, [...DATABASE_VARIABLES, ...variables]);
  if (!loaded.ok) throw new StartError(loaded.faults);
  const { config } = loaded;
  const database = await openDatabase({ ...config, poolMax: config.databasePoolMax });
  try {
    const applied = await database.exclusively((migrate) => migrateIfPending(database, migrate));
    return await work({ database, config, applied });
  } finally {
    await database.close();
  }
}
