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
import { useTestKek } from '../support/test-seals.ts';

type Closing = Pick<TestContext, 'after'>;

export interface Backend {
  readonly name: string;
  readonly kind: Database['kind'];
  readonly skip: string | false;
  /** An empty database, without a table. */
  openEmpty(t: Closing): Promise<Database>;
  /** One with every migration and the master key of the tests, and nothing else. */
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
    async openMigrated() {
      embedded ??= openEmbeddedOnce();
      const database = await embedded;
      await asMigrated(database);
      await useTestKek(database);
      return database;
    },
  },
  {
    name: 'Postgres',
    kind: 'postgres',
    skip: postgresSkip,
    openEmpty: async (t) => openAt(t, await createEmptyTestDatabase(t)),
    openMigrated: async (t) => {
      const database = await openAt(t, await createTestDatabase(t));
      await useTestKek(database);
      return database;
    },
  },
];

async function openAt(t: Closing, { url }: TestDatabase): Promise<Database> {
  const database = await openPatiently(url, 8);
  t.after(() => database.close());
  return database;
}

/** Everything that migrations make, and what they say of themselves. */
const SHAPE = `
  select md5(string_agg(line, ' ' order by line)) as shape from (
    select concat_ws(' ', 'relation', relname, relkind, relnatts, relchecks, reloptions) as line
      from pg_class where relnamespace = 'public'::regnamespace
    union all select concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull)
      from pg_attribute join pg_class on pg_class.oid = attrelid
      where relnamespace = 'public'::regnamespace and attnum > 0
    union all select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
      from pg_constraint where connamespace = 'public'::regnamespace
    union all select concat_ws(' ', 'trigger', pg_get_triggerdef(oid), tgenabled) from pg_trigger where not tgisinternal
    union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
    union all select to_jsonb(schema_migrations)::text from schema_migrations) as lines`;
const TABLES = `
  select oid::regclass::text as name from pg_class
  where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname <> 'schema_migrations'`;

/** Of the embedded database as the migrations made it, where all that they stored is that they ran. */
let untouched: string | undefined;

/** Without a row, which takes a tenth of what migrating takes; where a test has changed more than rows, made anew. */
async function asMigrated(database: Database): Promise<void> {
  if (untouched !== undefined && (await shapeOf(database)) === untouched) return withoutRows(database);
  await emptied(database);
  await database.exclusively((migrate) => migrate());
  const counts = (await tableNames(database)).map((name) => `(select count(*) from ${name})`);
  const [stored] = await rows<{ n: number }>(database, `select (${counts.join(' + ')})::int as n`);
  untouched = stored?.n === 0 ? await shapeOf(database) : undefined;
}

async function shapeOf(database: Database): Promise<string | undefined> {
  const [made] = await rows<{ at: string | null }>(
    database,
    "select to_regclass('public.schema_migrations')::text as at",
  );
  return made?.at === null ? undefined : (await rows<{ shape: string }>(database, SHAPE))[0]?.shape;
}

async function tableNames(database: Database): Promise<string[]> {
  return (await rows<{ name: string }>(database, TABLES)).map(({ name }) => name);
}

async function withoutRows(database: Database): Promise<void> {
  const tables = await tableNames(database);
  await database.transaction(async ({ query }) => {
    const run = (text: string) => query({ name: nextName(), text, effect: 'write' }, []);
    // The trail refuses to be emptied, by a trigger.
    await run('set local session_replication_role = replica');
    await run(`truncate ${tables.join(', ')} restart identity cascade`);
  });
}

let statements = 0;

function nextName(): string {
  statements += 1;
  return `test_${statements}`;
}

/** One statement of a test, outside the stores. */
export function rows<Row extends object = Record<string, unknown>>(
  database: Database,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  return database.query<Row>({ name: nextName(), text, effect: 'write' }, values);
}
