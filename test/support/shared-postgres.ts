/**
 * Guarantees the one Postgres of a test run, with the templates of databases on it: the server of `TEST_DATABASE_URL`, or
 * a throw-away cluster. After `remove()`, no database of the run is left.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { startCluster } from './cluster.ts';
import { openPatiently } from './patient-database.ts';
import { configOf } from './test-config.ts';

export interface SharedPostgres {
  /** What test files need to know; read by `postgres.ts`. */
  readonly env: Readonly<Record<string, string>>;
  /** Creates the databases that others are copied from. */
  makeTemplates(): Promise<void>;
  remove(): Promise<void>;
}

/** Throws with the reason where no server can be started or reached. */
export async function provideSharedPostgres(): Promise<SharedPostgres> {
  const given = process.env['TEST_DATABASE_URL'] ?? '';
  return given === '' ? ownCluster() : givenServer(given);
}

async function ownCluster(): Promise<SharedPostgres> {
  // A full run reaches it as production does, and meets the workers that tidy up.
  const isFull = process.env['WRIT_TEST_EFFORT'] === 'full';
  const cluster = await startCluster({ settings: isFull ? {} : { autovacuum: 'off' } });
  const url = isFull ? cluster.url : (cluster.socketUrl ?? cluster.url);
  return {
    env: names(url, 'writ_test_', 'writ_'),
    makeTemplates: () => makeTemplates(url, 'writ_'),
    remove: cluster.remove,
  };
}

async function givenServer(url: string): Promise<SharedPostgres> {
  const prefix = `writ_test_${randomBytes(5).toString('hex')}_`;
  await query(url, 'select 1');
  return {
    env: names(url, prefix, prefix),
    makeTemplates: () => makeTemplates(url, prefix),
    async remove() {
      const ours = await query(
        url,
        `select datname from pg_database where starts_with(datname, '${prefix}')`,
      );
      for (const row of ours) await query(url, `drop database if exists ${row['datname']} with (force)`);
    },
  };
}

/** Of the administrator in every database that is copied from the provisioned one. */
const ADMIN_KEY = generateApiKey().text;

function names(url: string, prefix: string, templates: string): Record<string, string> {
  return {
    WRIT_TEST_CLUSTER: url,
    WRIT_TEST_PREFIX: prefix,
    WRIT_TEST_TEMPLATE: `${templates}template`,
    WRIT_TEST_PROVISIONED: `${templates}provisioned`,
    WRIT_TEST_ADMIN_KEY: ADMIN_KEY,
  };
}

/** One that is migrated, and one on which an app has started for the first time. */
async function makeTemplates(adminUrl: string, prefix: string): Promise<void> {
  await makeTemplate(adminUrl, { name: `${prefix}template`, from: 'template0' }, async (url) => {
    const { withDatabase } = await import('../../src/commands/configured-database.ts');
    await withDatabase({ DATABASE_URL: url }, [], async () => {}).catch((cause: unknown) => {
      throw new Error('the migrations failed on a new database', { cause });
    });
  });
  const provisioned = { name: `${prefix}provisioned`, from: `${prefix}template` };
  await makeTemplate(adminUrl, provisioned, async (url) => {
    const { provision } = await import('../../src/start/provision.ts');
    const config = configOf({ DATABASE_URL: url, BOOTSTRAP_ADMIN_KEY: ADMIN_KEY });
    const database = await openPatiently(url, 2);
    await provision({ database, config, newId: uuidv7 }).finally(() => database.close());
  });
}

async function makeTemplate(
  adminUrl: string,
  { name, from }: { name: string; from: string },
  fill: (url: string) => Promise<void>,
): Promise<void> {
  await query(adminUrl, `create database ${name} template ${from}`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  await fill(url.href);
  // Any session on it, a worker of autovacuum included, would hold up the tests that copy it.
  await query(adminUrl, `alter database ${name} with allow_connections false`);
}

async function query(url: string, statement: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 60_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(statement)).rows as pg.QueryResultRow[];
  } finally {
    await client.end();
  }
}
