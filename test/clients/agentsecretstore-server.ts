/**
 * Guarantees what the published `@agentsecretstore` packages are tested against: a listening server on an empty
 * database, and a way past the packages to see what they did there.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext } from 'node:test';
import { printedKey, until } from '../support/issuing.ts';
import { createTestDatabase, postgresSkip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import type { Overrides } from '../support/test-config.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

export interface Backend {
  readonly name: string;
  /** Why it cannot be used here. */
  readonly skip: string | false;
  readonly env: (t: Pick<TestContext, 'after'>) => Promise<Overrides>;
}

export const embedded: Backend = { name: 'the embedded database', skip: false, env: async () => ({}) };
export const postgres: Backend = {
  name: 'Postgres',
  skip: postgresSkip,
  env: async (t) => ({ DATABASE_URL: (await createTestDatabase(t)).url, MASTER_KEY: TEST_MASTER_KEY }),
};

/** The one that is quicker to start, where there is a choice. */
export const available: Backend = postgresSkip === false ? postgres : embedded;

export interface Said<Body> {
  readonly status: number;
  readonly body: Body;
}

export interface Vault {
  readonly url: string;
  readonly adminKey: string;
  /** One request as the administrator, or with another key or token. */
  ask<Body = unknown>(method: string, path: string, body?: unknown, bearer?: string): Promise<Said<Body>>;
  /** A secret, written by the administrator. */
  put(path: string, secret: { value: string; [member: string]: unknown }): Promise<void>;
  /** What is stored, read by the administrator; undefined where there is nothing. */
  valueOf(path: string): Promise<string | undefined>;
  createAgent(spec?: Record<string, unknown>): Promise<{ id: string; name: string; key: string }>;
  /** The scoped tokens of an agent, newest first. */
  tokensOf(agentKey: string): Promise<TokenItem[]>;
}

export interface TokenItem {
  readonly token_id: string;
  readonly status: string;
  readonly scopes: readonly string[];
  readonly ttl_seconds: number;
  readonly max_uses: number | null;
  readonly uses_remaining: number | null;
  readonly allowed_ips: readonly string[] | null;
}

/** Started before the tests of the suite that calls this, and ended after them. */
export function startVault(backend: Backend, env: Overrides = {}): Vault {
  const closers: (() => unknown)[] = [];
  let url = '';
  let adminKey = '';
  let agents = 0;
  before(async () => {
    const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
    const server = await startServer(closing, { ...(await backend.env(closing)), PORT: '0', ...env });
    url = server.url;
    adminKey = printedKey(server.stdout());
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  const askOnce: Vault['ask'] = async <Body>(
    method: string,
    path: string,
    body?: unknown,
    bearer = adminKey,
  ) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as Body };
  };
  // What is asked beside a client has no part in what a busy machine does to it.
  const ask: Vault['ask'] = async <Body>(...asked: Parameters<Vault['ask']>) => {
    let said = await askOnce<Body>(...asked);
    await until('an answer of the database', async () => {
      if (said.status !== 503) return true;
      said = await askOnce<Body>(...asked);
      return said.status !== 503;
    });
    return said;
  };
  const askWell = async <Body>(...asked: Parameters<typeof ask>): Promise<Body> => {
    const { status, body } = await ask<Body>(...asked);
    assert.ok(status < 300, JSON.stringify(body));
    return body;
  };
  return {
    get url() {
      return url;
    },
    get adminKey() {
      return adminKey;
    },
    ask,
    put: async (path, secret) => {
      await askWell('PUT', `/v1/secrets/${path}`, secret);
    },
    valueOf: async (path) => {
      const { status, body } = await ask<{ value: string }>('GET', `/v1/secrets/${path}`);
      return status === 404 ? undefined : body.value;
    },
    createAgent: async (spec = {}) => {
      agents += 1;
      const asked = { name: `agent-${agents}`, allowed_scopes: ['secrets:*:*'], ...spec };
      const { id, name, api_key } = await askWell<{ id: string; name: string; api_key: string }>(
        'POST',
        '/v1/agents',
        asked,
      );
      return { id, name, key: api_key };
    },
    tokensOf: async (agentKey) =>
      (await askWell<{ items: TokenItem[] }>('GET', '/v1/tokens', undefined, agentKey)).items,
  };
}
