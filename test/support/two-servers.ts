/** Two server processes on one database of their own, for races that no single process can lose. */
import type { TestContext } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { type Answer, type Client, createClient, insist } from './issuing.ts';
import { createTestDatabase } from './postgres.ts';
import { startServer } from './processes.ts';
import { TEST_MASTER_KEY } from './test-master-key.ts';

/** Asks the server at `index`, modulo two. */
export type AskBoth = (
  index: number,
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;

export interface TwoServers {
  readonly adminKey: string;
  readonly database: pg.Client;
  /** What a command needs that works on the database of both. */
  readonly env: Readonly<Record<string, string>>;
  /** Who asks with this key; undefined: without any. */
  speaker(key: string | undefined): AskBoth;
}

export async function startTwoServers(
  t: TestContext,
  settings: Readonly<Record<string, string>> = {},
): Promise<TwoServers> {
  const { url: databaseUrl } = await createTestDatabase(t);
  const adminKey = generateApiKey().text;
  const env = {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: adminKey,
    ISSUER_URL: 'https://writ.example',
    PORT: '0',
    RATE_LIMIT_MAX: '0',
    LOG_LEVEL: 'warn',
    ACCEPT_UNSAFE_DURABILITY: '1',
    ...settings,
  };
  const servers = [await startServer(t, env), await startServer(t, env)];
  const database = new pg.Client({ connectionString: databaseUrl });
  database.on('error', () => undefined);
  await database.connect();
  const clients: Client[] = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await database.end();
  });
  return {
    adminKey,
    database,
    env: { DATABASE_URL: databaseUrl, MASTER_KEY: TEST_MASTER_KEY },
    speaker: (key) => {
      const both = servers.map(({ url }) => createClient(url, key));
      clients.push(...both);
      return (index, method, path, body, headers) =>
        insist(async () => both[index % 2]?.send(method, path, body, headers));
    },
  };
}
