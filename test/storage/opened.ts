/** The two databases that every storage guarantee is tested on, each empty and then migrated. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Database } from '../../src/storage/engine/database.ts';
import { openDatabase } from '../../src/storage/engine/open-database.ts';
import { openPatiently } from '../support/patient-database.ts';
import {
  createEmptyTestDatabase,
  createTestDatabase,
  postgresSkip,
  type TestDatabase,
} from '../support/postgres.ts';

type Closing = Pick<TestContext, 'after'>;

export interface Backend {
  readonly name: string;
  readonly kind: Database['kind'];
  readonly skip: string | false;
  /** An empty database, without a table. */
  openEmpty(t: Closing): Promise<Database>;
  /** One with every migration and nothing else. */
  openMigrated(t: Closing): Promise<Database>;
}

let embedded: Promise<Database> | undefined;

/** Making one takes seconds, emptying it does not: a process has one, and each test of its own starts from nothing. */
async function openEmbeddedOnce(): Promise<Database> {
  const dataDir = await mkdtemp(join(tmpdir(), 'writ-test-embedded-'));
  const database = await openDatabase({ databaseUrl: undefined, dataDir, poolMax: 2 });
  // Of every file that runs in this process: none of them is the last by its own account.
  process.once('exit', () => rmSync(dataDir, { recursive: true, force: true }));
  return database;
}

/** Without a table, and without a word of the migrations that made those. */
export async function emptied(database: Database): Promise<void> {
  await rows(database, 'drop schema public cascade');
  await rows(database, 'create schema public');
}

export const BACKENDS: readonly Backend[] = [
  {
    name: 'PGlite',
    kind: 'embedded',
    skip: false,
    openEmpty: async () => {
      embedded ??= openEmbeddedOnce();
      const database = await embedded;
      await emptied(database);
      return database;
    },
    async openMigrated(t) {
      const database = await this.openEmpty(t);
      await database.exclusively((migrate) => migrate());
      return database;
    },
  },
  {
    name: 'Postgres',
    kind: 'postgres',
    skip: postgresSkip,
    openEmpty: async (t) => openAt(t, await createEmptyTestDatabase(t)),
    openMigrated: async (t) => openAt(t, await createTestDatabase(t)),
  },
];

async function openAt(t: Closing, { url }: TestDatabase): Promise<Database> {
  const database = await openPatiently(url, 8);
  t.after(() => database.close());
  return database;
}

let statements = 0;

/** One statement of a test, outside the stores. */
export function rows<Row extends object = Record<string, unknown>>(
  database: Database,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  statements += 1;
  return database.query<Row>({ name: `test_${statements}`, text, effect: 'write' }, values);
}
