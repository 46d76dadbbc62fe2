/** The two databases that every storage guarantee is tested on, each empty and then migrated. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext } from 'node:test';
import type { Database } from '../../src/storage/engine/database.ts';
import { openDatabase } from '../../src/storage/engine/open-database.ts';
import { openPatiently } from '../support/patient-database.ts';
import { createEmptyTestDatabase, postgresSkip } from '../support/postgres.ts';

type Closing = Pick<TestContext, 'after'>;

export interface Backend {
  readonly name: string;
  readonly kind: Database['kind'];
  readonly skip: string | false;
  /** An empty database, without a table. */
  openEmpty(t: Closing): Promise<Database>;
}

let embedded: Promise<Database> | undefined;

/** Making one takes seconds, emptying it does not: a file has one, and each test of its own starts from nothing. */
async function openEmbeddedOnce(): Promise<Database> {
  const dataDir = await mkdtemp(join(tmpdir(), 'writ-test-embedded-'));
  const database = await openDatabase({ databaseUrl: undefined, dataDir, poolMax: 2 });
  closeEmbedded = async () => {
    await database.close();
    await rm(dataDir, { recursive: true, force: true });
  };
  return database;
}

let closeEmbedded: (() => Promise<void>) | undefined;
after(() => closeEmbedded?.());

async function emptied(database: Database): Promise<void> {
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
  },
  {
    name: 'Postgres',
    kind: 'postgres',
    skip: postgresSkip,
    openEmpty: async (t) => {
      const { url } = await createEmptyTestDatabase(t);
      const database = await openPatiently(url, 8);
      t.after(() => database.close());
      return database;
    },
  },
];

export async function openMigrated(backend: Backend, t: Closing): Promise<Database> {
  const database = await backend.openEmpty(t);
  await database.exclusively((migrate) => migrate());
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
