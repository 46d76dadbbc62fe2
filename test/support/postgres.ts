/**
 * Guarantees each test a Postgres database of its own, migrated or empty, on the server that `npm test` provides.
 * A database is dropped once its test and everything the test closes are done, so that no pool loses its server.
 */
import { after, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

const TEMPLATE_BUSY = '55006';
const TEMPLATE_ATTEMPTS = 600;

/** `false`, or why tests on Postgres cannot run: for `test(name, { skip: postgresSkip }, …)`. */
export const postgresSkip: string | false =
  process.env['WRIT_TEST_CLUSTER'] === undefined
    ? (process.env['WRIT_TEST_NO_POSTGRES'] ?? 'run through npm test')
    : false;

export interface TestDatabase {
  readonly url: string;
}

const finished = new Set<string>();
let created = 0;

/** A database with all migrations applied. */
export function createTestDatabase(t: Pick<TestContext, 'after'>): Promise<TestDatabase> {
  return createDatabase(t, required('WRIT_TEST_TEMPLATE'));
}

export interface ProvisionedDatabase extends TestDatabase {
  readonly adminKey: string;
}

/** A database on which an app with the configuration of tests has started before. */
export async function createProvisionedDatabase(t: Pick<TestContext, 'after'>): Promise<ProvisionedDatabase> {
  const { url } = await createDatabase(t, required('WRIT_TEST_PROVISIONED'));
  return { url, adminKey: required('WRIT_TEST_ADMIN_KEY') };
}

/** A database with nothing in it. */
export function createEmptyTestDatabase(t: Pick<TestContext, 'after'>): Promise<TestDatabase> {
  return createDatabase(t, 'template0');
}

let admin: pg.Pool | undefined;

/** Runs one statement as the administrator, outside every test database. */
export async function adminQuery<Row extends pg.QueryResultRow = pg.QueryResultRow>(
  statement: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  admin ??= openAdmin();
  return (await admin.query<Row>(statement, [...values])).rows;
}

/** For as long as the process lives: a connection of its own for each statement is most of what it costs. */
function openAdmin(): pg.Pool {
  const pool = new pg.Pool({
    connectionString: required('WRIT_TEST_CLUSTER'),
    max: 1,
    idleTimeoutMillis: 0,
    allowExitOnIdle: true,
  });
  pool.on('error', () => undefined);
  return pool;
}

async function createDatabase(t: Pick<TestContext, 'after'>, template: string): Promise<TestDatabase> {
  await dropFinished('idle only');
  created += 1;
  const name = `${required('WRIT_TEST_PREFIX')}${process.pid}_${created}`;
  for (let attempt = 1; ; attempt++) {
    try {
      // Half of what copying through the log costs, which is for a server that other work shares.
      await adminQuery(`create database ${name} template ${template} strategy file_copy`);
      break;
    } catch (error) {
      // A session on the template, even one that is just leaving, holds up every copy of it.
      const isBusy = error instanceof pg.DatabaseError && error.code === TEMPLATE_BUSY;
      if (!isBusy || attempt === TEMPLATE_ATTEMPTS) throw error;
      await delay(50 + Math.random() * 100);
    }
  }
  // Hooks run in the order of their registration: the pools that the test opens later are still open here.
  t.after(() => {
    finished.add(name);
  });
  const url = new URL(required('WRIT_TEST_CLUSTER'));
  url.pathname = `/${name}`;
  return { url: url.href };
}

/** Drops what is over and has no session left; at the end of the file, what still has one as well. */
async function dropFinished(how: 'idle only' | 'all'): Promise<void> {
  if (finished.size === 0) return;
  const sessions = await adminQuery<{ datname: string | null }>(
    'select distinct datname from pg_stat_activity',
  );
  const inUse = new Set(how === 'all' ? [] : sessions.map((session) => session.datname));
  for (const name of [...finished].filter((candidate) => !inUse.has(candidate))) {
    finished.delete(name);
    await adminQuery(`drop database if exists ${name} with (force)`);
  }
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: ${postgresSkip || 'run through npm test'}`);
  return value;
}

if (postgresSkip === false) after(() => dropFinished('all'));
