/** Opens the configured database for one command and closes it again, with migrations applied or as it is. */

import { type Config, loadConfig } from '../config.ts';
import { newId } from '../platform/ids.ts';
import type { ConfigVariable } from '../settings-table.ts';
import { openSeals } from '../start/open-seals.ts';
import { migrateIfPending } from '../start/provision.ts';
import { StartError } from '../start/start-error.ts';
import type { Database, DatabaseTimeouts } from '../storage/engine/database.ts';
import { holdsEmbeddedDatabase } from '../storage/engine/embedded-folder.ts';
import { readMigrationState } from '../storage/engine/migrations.ts';
import { openDatabase } from '../storage/engine/open-database.ts';
import type { RowSeals } from '../use-cases/ports.ts';

/** What a command needs beside that seals rows or judges them. */
export { MASTER_KEY_VARIABLES } from '../config.ts';

/** What a command needs that owes notices. Whatever process has the webhook sends them. */
export const WEBHOOK_VARIABLES = ['APPROVAL_WEBHOOK_URL', 'APPROVAL_WEBHOOK_SECRET'] as const;

const DATABASE_VARIABLES: readonly ConfigVariable[] = ['DATABASE_URL', 'DATABASE_POOL_MAX', 'DATA_DIR'];

/** Rejects with `StartError` for another master key than the database's. */
export async function openCommandSeals(database: Database, config: Config): Promise<RowSeals> {
  return (await openCommandKeys(database, config)).seals;
}

/** The same, with what wraps keys. */
export function openCommandKeys(database: Database, config: Config): ReturnType<typeof openSeals> {
  return database.exclusively(() => openSeals({ database, config, newId }));
}

interface Opened {
  readonly database: Database;
  readonly config: Config;
}

/** `applied` is how many migrations this call ran. `makes`: an embedded database is made where there is none. */
export function withDatabase<T>(
  env: NodeJS.ProcessEnv,
  variables: readonly ConfigVariable[],
  work: (open: Opened & { readonly applied: number }) => Promise<T>,
  { makes = false }: { readonly makes?: boolean } = {},
): Promise<T> {
  return open(env, { variables, makes }, async (opened) => {
    const { database } = opened;
    const applied = await database.exclusively((migrate) => migrateIfPending(database, migrate));
    return work({ ...opened, applied });
  });
}

/** For a look at all rows of a table: a statement of it takes longer than one of a request. */
const PATIENT = {
  connectMs: 5000,
  statementMs: 300_000,
  lockMs: 2000,
  idleInTransactionMs: 5000,
  silenceMs: 310_000,
} as const satisfies DatabaseTimeouts;

/** Neither migrates nor seals: rejects with `StartError` where a start would do either. */
export function withDatabaseAsItIs<T>(
  env: NodeJS.ProcessEnv,
  variables: readonly ConfigVariable[],
  work: (open: Opened) => Promise<T>,
): Promise<T> {
  return open(env, { variables, timeouts: PATIENT }, async (opened) => {
    const { pending, unknown } = await readMigrationState(opened.database);
    if (pending > 0 || unknown > 0)
      throw new StartError([
        'The database is of another version of Writ. Run that one, or `writ migrate` first.',
      ]);
    return work(opened);
  });
}

async function open<T>(
  env: NodeJS.ProcessEnv,
  options: {
    readonly variables: readonly ConfigVariable[];
    readonly timeouts?: DatabaseTimeouts;
    readonly makes?: boolean;
  },
  work: (opened: Opened) => Promise<T>,
): Promise<T> {
  const loaded = loadConfig(env, [...DATABASE_VARIABLES, ...options.variables]);
  if (!loaded.ok) throw new StartError(loaded.faults);
  const { config } = loaded;
  const { timeouts, makes = false } = options;
  const { databaseUrl, dataDir } = config;
  // Where a variable is forgotten, a command would work on a new database, and say that all is well.
  if (databaseUrl === undefined && !makes && !holdsEmbeddedDatabase(dataDir)) {
    throw new StartError([
      `There is no database in ${dataDir}. Set DATABASE_URL or DATA_DIR as for the server; a new database is made by: writ serve`,
    ]);
  }
  const database = await openDatabase({
    ...config,
    poolMax: config.databasePoolMax,
    ...(timeouts === undefined ? {} : { timeouts }),
  });
  try {
    return await work({ database, config });
  } finally {
    await database.close();
  }
}
