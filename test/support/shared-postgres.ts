/**
 * Guarantees the one Postgres of a test run, with a migrated template on it: the server of `TEST_DATABASE_URL`, or
 * a throw-away cluster. After `remove()`, no database of the run is left.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { startCluster } from './cluster.ts';

export interface SharedPostgres {
  /** What test files need to know; read by `postgres.ts`. */
  readonly env: Readonly<Record<string, string>>;
  /** Creates the database that others are copied from. */
  makeTemplate(): Promise<void>;
  remove(): Promise<void>;
}

/** Throws with the reason where no server can be started or reached. */
export async function provideSharedPostgres(): Promise<SharedPostgres> {
  const given = process.env['TEST_DATABASE_URL'] ?? '';
  return given === '' ? ownCluster() : givenServer(given);
}

async function ownCluster(): Promise<SharedPostgres> {
  const cluster = await startCluster();
  return {
    env: names(cluster.url, 'writ_test_', 'writ_template'),
    makeTemplate: () => makeTemplate(cluster.url, 'writ_template'),
    remove: cluster.remove,
  };
}

async function givenServer(url: string): Promise<SharedPostgres> {
  const prefix = `writ_test_${randomBytes(5).toString('hex')}_`;
  await query(url, 'select 1');
  return {
    env: names(url, prefix, `${prefix}template`),
    makeTemplate: () => makeTemplate(url, `${prefix}template`),
    async remove() {
      const ours = await query(
        url,
        `select datname from pg_database where starts_with(datname, '${prefix}')`,
      );
      for (const row of ours) await query(url, `drop database if exists ${row['datname']} with (force)`);
    },
  };
}

function names(url: string, prefix: string, template: string): Record<string, string> {
  return { WRIT_TEST_CLUSTER: url, WRIT_TEST_PREFIX: prefix, WRIT_TEST_TEMPLATE: template };
}

async function makeTemplate(adminUrl: string, name: string): Promise<void> {
  await query(adminUrl, `create database ${name} template template0`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const { withDatabase } = await import('../../src/commands/configured-database.ts');
  await withDatabase({ DATABASE_URL: url.href }, [], async () => {}).catch((cause: unknown) => {
    throw new Error('the migrations failed on a new database', { cause });
  });
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
