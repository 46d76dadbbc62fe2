/** Opens the configured database for one command and closes it again, migrations applied. */

import { type Config, loadConfig } from '../config.ts';
import type { ConfigVariable } from '../settings-table.ts';
import { migrateIfPending } from '../start/provision.ts';
import { StartError } from '../start/start-error.ts';
import type { Database } from '../storage/engine/database.ts';
import { openDatabase } from '../storage/engine/open-database.ts';

const DATABASE_VARIABLES: readonly ConfigVariable[] = ['DATABASE_URL', 'DATABASE_POOL_MAX', 'DATA_DIR'];

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
