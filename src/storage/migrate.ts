/** Brings a database up to this build's migrations, one process at a time. */

import { openDatabase } from './database.ts';
import { readMigrationState } from './migrations.ts';

/** Migrates the Postgres database behind a URL: what `writ migrate` and the test template do. */
export async function migrateDatabase(options: { databaseUrl: string }): Promise<void> {
  const database = await openDatabase({ databaseUrl: options.databaseUrl, dataDir: '', poolMax: 2 });
  try {
    await database.exclusively(async (migrate) => {
      if ((await readMigrationState(database)).pending > 0) await migrate();
    });
  } finally {
    await database.close();
  }
}
