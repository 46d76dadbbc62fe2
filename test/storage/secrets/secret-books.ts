/**
 * One or more server processes on one database, clients that ask them about secrets, and the books that the database
 * keeps of it: what was answered has to be found there, neither more nor less.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { type Answer, createClient, errorCodeOf } from '../../support/issuing.ts';
import { createTestDatabase } from '../../support/postgres.ts';
import { type StartedServer, startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

export interface Asked {
  readonly method: string;
  /** With its slash. */
  readonly path: string;
  /** An API key or a scoped token. */
  readonly by: string;
  readonly json?: unknown;
  readonly ifMatch?: number;
}

export interface Reply {
  readonly status: number;
  /** Of an error in either envelope, else empty. */
  readonly code: string;
  readonly requestId: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** One process as its clients see it. Undefined when the connection broke before the answer was whole. */
export interface Door {
  ask(asked: Asked): Promise<Reply | undefined>;
  close(): void;
}

export function openDoor(url: string): Door {
  const client = createClient(url, undefined);
  return {
    close: client.close,
    ask: async ({ method, path, by, json, ifMatch }) => {
      const headers = {
        authorization: `Bearer ${by}`,
        ...(ifMatch === undefined ? {} : { 'if-match': String(ifMatch) }),
      };
      const answer = await client.send(method, path, json, headers);
      return answer && replyOf(answer);
    },
  };
}

function replyOf(answer: Answer): Reply {
  const { status, headers, text } = answer;
  const body = (text === '' ? {} : JSON.parse(text)) as Reply['body'];
  return { status, code: errorCodeOf(answer), requestId: String(headers['x-request-id']), body, text };
}

/** For what never gets better. */
const ASK_AGAIN_MS = 120_000;

/** Asks one process; a connection that breaks fails the test. */
export type Ask = (asked: Asked, process?: number) => Promise<Reply>;

export interface Site {
  readonly adminKey: string;
  readonly databaseUrl: string;
  readonly servers: readonly StartedServer[];
  /**
   * Asks again when the time that Writ gives its database ran out, which it does on a busy machine: nothing was done
   * then. Fails the test where it never ends.
   */
  readonly ask: Ask;
  /** Whatever comes is the answer. */
  readonly askOnce: Ask;
  /** `count` requests at once, turn by turn to every process. */
  race(count: number, requestOf: (index: number) => Asked, by?: Ask): Promise<Reply[]>;
  sql<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

/** For tests only: no limit on requests. */
export const SITE_ENV = {
  PORT: '0',
  LOG_LEVEL: 'silent',
  RATE_LIMIT_MAX: '0',
  AUTH_FAILURE_MAX: '0',
  ACCEPT_UNSAFE_DURABILITY: '1',
};

export async function openSite(t: TestContext, { processes = 2 } = {}): Promise<Site> {
  const { url: databaseUrl } = await createTestDatabase(t);
  const adminKey = generateApiKey().text;
  const env = {
    ...SITE_ENV,
    DATABASE_URL: databaseUrl,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: adminKey,
    ISSUER_URL: 'https://writ.example',
  };
  const servers: StartedServer[] = [];
  for (let started = 0; started < processes; started += 1) servers.push(await startServer(t, env));
  const doors = servers.map(({ url }) => openDoor(url));
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  t.after(() => {
    for (const door of doors) door.close();
    return database.end();
  });
  const askOnce: Ask = async (asked, process = 0) => {
    const door = doors[process % doors.length];
    assert.ok(door !== undefined, `${asked.method} ${asked.path} was asked of process ${process}`);
    const reply = await door.ask(asked);
    assert.ok(reply !== undefined, `the connection broke: ${asked.method} ${asked.path}`);
    return reply;
  };
  const ask: Ask = async (asked, process) => {
    const deadline = Date.now() + ASK_AGAIN_MS;
    for (;;) {
      const reply = await askOnce(asked, process);
      if (!isLate(reply)) return reply;
      assert.ok(Date.now() < deadline, `${asked.method} ${asked.path}: still ${reply.text}`);
    }
  };
  return {
    adminKey,
    databaseUrl,
    servers,
    ask,
    askOnce,
    race: (count, requestOf, by = ask) =>
      Promise.all(Array.from({ length: count }, (_, index) => by(requestOf(index), index))),
    sql: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await database.query<Row>(text, [...values])).rows,
  };
}

/** Asks for what has to be given. */
export async function granted(ask: Ask, asked: Asked): Promise<Reply['body']> {
  const reply = await ask(asked);
  assert.ok(reply.status >= 200 && reply.status < 300, `${asked.method} ${asked.path}: ${reply.text}`);
  return reply.body;
}

let named = 0;

/** A name that no other test has. */
export function aName(what: string): string {
  named += 1;
  return `${what}-${named}`;
}

export interface AgentOfTest {
  readonly id: string;
  readonly key: string;
  readonly keyId: string;
}

export async function anAgentWith(
  { ask, adminKey }: Pick<Site, 'ask' | 'adminKey'>,
  scopes: readonly string[],
): Promise<AgentOfTest> {
  const json = { name: aName('agent'), allowed_scopes: scopes };
  const body = await granted(ask, { method: 'POST', path: '/v1/agents', by: adminKey, json });
  return { id: String(body['id']), key: String(body['api_key']), keyId: String(body['key_id']) };
}

export interface TokenOfTest {
  readonly text: string;
  readonly id: string;
  readonly maxUses: number | undefined;
}

export async function aTokenOf(
  { ask }: Pick<Site, 'ask'>,
  agentKey: string,
  { scopes, maxUses }: { scopes: readonly string[]; maxUses?: number | undefined },
): Promise<TokenOfTest> {
  const json = { scopes, ...(maxUses === undefined ? {} : { max_uses: maxUses }) };
  const body = await granted(ask, { method: 'POST', path: '/v1/tokens', by: agentKey, json });
  return { text: String(body['token']), id: String(body['token_id']), maxUses };
}

/** A secret that an administrator made at a path of its own. */
export async function aSecretOf(
  { ask, adminKey }: Pick<Site, 'ask' | 'adminKey'>,
  { path = `${aName('ns')}/KEY`, value = 'the value' } = {},
): Promise<{ path: string; id: string; value: string }> {
  const body = await granted(ask, { ...toPut(path, value), by: adminKey });
  return { path, value, id: String(body['id']) };
}

export const toRead = (path: string, by: string, version?: number): Asked => ({
  method: 'GET',
  path: `/v1/secrets/${path}${version === undefined ? '' : `?version=${version}`}`,
  by,
});

export const toPut = (path: string, value: string, by = ''): Asked => ({
  method: 'PUT',
  path: `/v1/secrets/${path}`,
  by,
  json: { value },
});

/** `503 BUSY` is documented for what keeps changing, and for what another request holds too long. */
export const isBusy = ({ status, code }: Reply): boolean => status === 503 && code === 'BUSY';

/** The answer to a write that has happened. */
export const isDone = ({ status }: Reply): boolean => status >= 200 && status < 300;

/** The database took too long over a statement, or another request over a row. */
const isLate = (reply: Reply): boolean =>
  (reply.status === 503 && reply.code === 'UNAVAILABLE') ||
  (isBusy(reply) && reply.text.includes('Another request holds'));

/** How many of each answer: `{ '200 ': 7, '401 TOKEN_EXHAUSTED': 57 }`. */
export function tally(replies: readonly Reply[]): Record<string, number> {
  const counted: Record<string, number> = {};
  for (const { status, code } of replies) {
    const name = `${status} ${code}`.trim();
    counted[name] = (counted[name] ?? 0) + 1;
  }
  return counted;
}

/** What the database holds of a token: its uses, and the requests of which it has an event. */
export async function bookOf({ sql }: Pick<Site, 'sql'>, tokenId: string) {
  const [row] = await sql<{ uses: number; max_uses: number | null }>(
    'select uses, max_uses from scoped_tokens where id = $1',
    [tokenId],
  );
  const events = await sql<{ event_type: string; request_id: string }>(
    `select event_type, request_id from audit_events
     where metadata ->> 'token_id' = $1 and event_type like 'secret.%'`,
    [tokenId],
  );
  assert.ok(row !== undefined, 'the token has its row');
  return {
    uses: row.uses,
    maxUses: row.max_uses,
    reads: events.filter(({ event_type }) => event_type === 'secret.read').length,
    requestIds: events.map(({ request_id }) => request_id).sort(),
  };
}

/** Every namespace's count is the number of its secrets, and no row is left for an empty one. */
export async function assertNamespacesCounted({ sql }: Pick<Site, 'sql'>): Promise<void> {
  const wrong = await sql(
    `select namespace, known.secret_count, held.count from namespaces known
     full join (select namespace, count(*)::int from secrets group by namespace) as held using (namespace)
     where known.secret_count is distinct from held.count`,
  );
  assert.deepEqual(wrong, []);
}
