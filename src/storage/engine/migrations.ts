/** Where the migrations lie and which of them a database still lacks. */

import { fileURLToPath } from 'node:url';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import type { Database } from './database.ts';

/** For drizzle's migrator. The folder is beside `src` and beside `dist`, so one relative path serves both. */
export const MIGRATIONS = {
  migrationsFolder: fileURLToPath(new URL('../../../migrations', import.meta.url)),
  migrationsSchema: 'public',
  migrationsTable: 'schema_migrations',
} as const;

const APPLIED = {
  name: 'applied_migrations',
  text: 'select hash from public.schema_migrations',
  effect: 'read',
} as const;
const EXISTS = {
  name: 'migrations_table',
  text: "select to_regclass('public.schema_migrations') is not null as present",
  effect: 'read',
} as const;

export interface MigrationState {
  /** In this build, not in the database. */
  readonly pending: number;
  /** In the database, not in this build: a newer Writ has been here. */
  readonly unknown: number;
}

export async function readMigrationState(database: Database): Promise<MigrationState> {
  const known = new Set(readMigrationFiles(MIGRATIONS).map((migration) => migration.hash));
  const [table] = await database.query<{ present: boolean }>(EXISTS, []);
  if (table?.present !== true) return { pending: known.size, unknown: 0 };
  const applied = new Set((await database.query<{ hash: string }>(APPLIED, [])).map((row) => row.hash));
  return { pending: count(known, applied), unknown: count(applied, known) };
}

function count(of: ReadonlySet<string>, without: ReadonlySet<string>): number {
  return [...of].filter((hash) => !without.has(hash)).length;
}
