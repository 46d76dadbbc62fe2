/**
 * A server that is killed under load gave out no value that its books do not tell of, and forgets no token and no version: what
 * clients saw <= what is recorded <= what was allowed.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '../../../src/storage/engine/database.ts';
import { openDatabase } from '../../../src/storage/engine/open-database.ts';
import { ANSWERS_BEFORE_KILL, onlyInFullRun } from '../../support/effort.ts';
import { printedKey, until } from '../../support/issuing.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { rows } from '../opened.ts';
import {
  type Ask,
  type Asked,
  anAgentWith,
  aSecretOf,
  aTokenOf,
  type Door,
  openDoor,
  type Reply,
  SITE_ENV,
  type TokenOfTest,
  toPut,
  toRead,
} from './secret-books.ts';

const WORKERS = 48;
const TOKENS_PER_LIMIT = 4;
const NEVER_USED_UP = 100_000;
const SCOPES = ['secrets:read:*'];
const AGENT_SCOPES = [...SCOPES, 'secrets:write:*'];

interface Stock {
  readonly agentKey: string;
  readonly path: string;
  readonly limited: readonly TokenOfTest[];
  readonly unlimited: TokenOfTest;
}

function strict(door: Door): Ask {
  return async (asked) => (await door.ask(asked)) ?? assert.fail('the connection broke');
}

async function stockUp(door: Door, adminKey: string, limits: readonly number[]): Promise<Stock> {
  const site = { ask: strict(door), adminKey };
  const agent = await anAgentWith(site, AGENT_SCOPES);
  const { path } = await aSecretOf(site);
  const limited: TokenOfTest[] = [];
  for (const maxUses of [...limits, NEVER_USED_UP]) {
    for (let made = 0; made < TOKENS_PER_LIMIT; made += 1) {
      limited.push(await aTokenOf(site, agent.key, { scopes: SCOPES, maxUses }));
    }
  }
  const unlimited = await aTokenOf(site, agent.key, { scopes: SCOPES });
  return { agentKey: agent.key, path, limited, unlimited };
}

interface Seen {
  /** The requests that got the value, by the id of the token. */
  readonly reads: Map<string, string[]>;
  readonly issued: string[];
  /** What was acknowledged last of every path. */
  readonly written: Map<string, { readonly version: number; readonly value: string }>;
  readonly refused: Reply[];
  broken: number;
  answered: number;
  inFlight: number;
}

/** Of eight requests of a worker five are reads with limited tokens. */
function startLoad(door: Door, { agentKey, path, limited, unlimited }: Stock) {
  const seen: Seen = {
    reads: new Map(),
    issued: [],
    written: new Map(),
    refused: [],
    broken: 0,
    answered: 0,
    inFlight: 0,
  };
  let stopping = false;
  const ask = async (asked: Asked): Promise<Reply | undefined> => {
    seen.inFlight += 1;
    const reply = await door.ask(asked);
    seen.inFlight -= 1;
    if (reply === undefined) {
      seen.broken += 1;
      await delay(10); // A refused connection fails in no time.
      return undefined;
    }
    seen.answered += 1;
    if (reply.status >= 200 && reply.status < 300) return reply;
    seen.refused.push(reply);
    return undefined;
  };
  const read = async (token: TokenOfTest): Promise<void> => {
    const reply = await ask(toRead(path, token.text));
    if (reply !== undefined) seen.reads.set(token.id, [...(seen.reads.get(token.id) ?? []), reply.requestId]);
  };
  const issue = async (): Promise<void> => {
    const json = { scopes: SCOPES, max_uses: 5 };
    const reply = await ask({ method: 'POST', path: '/v1/tokens', by: agentKey, json });
    if (reply !== undefined) seen.issued.push(String(reply.body['token_id']));
  };
  const write = async (worker: number, turn: number): Promise<void> => {
    const own = `written-${worker}/KEY`;
    const value = `turn ${turn}`;
    const reply = await ask(toPut(own, value, agentKey));
    if (reply !== undefined) seen.written.set(own, { version: Number(reply.body['version']), value });
  };
  const work = async (worker: number): Promise<void> => {
    for (let turn = worker; !stopping; turn += 1) {
      const kind = turn % 8;
      if (kind === 0) await write(worker, turn);
      else if (kind === 3) await issue();
      else if (kind === 6) await read(unlimited);
      else await read(limited[(turn * 7 + worker) % limited.length] ?? unlimited);
    }
  };
  const all = Array.from({ length: WORKERS }, (_, worker) => work(worker));
  const stop = async (): Promise<void> => {
    stopping = true;
    await Promise.all(all);
  };
  return { seen, stop };
}

/** What clients saw of every token against what the database holds of it. Resolves with the uses recorded. */
async function assertBooks(database: Database, { limited, unlimited }: Stock, seen: Seen) {
  const tokens = await rows<{ id: string; uses: number; max_uses: number | null }>(
    database,
    'select id, uses, max_uses from scoped_tokens',
  );
  const events = await rows<{ event_type: string; token_id: string; request_id: string }>(
    database,
    `select event_type, coalesce(metadata ->> 'token_id', resource_id) as token_id, request_id from audit_events
     where event_type in ('secret.read', 'token.issued')`,
  );
  const eventsOf = (type: string): Map<string, string[]> => {
    const byToken = new Map<string, string[]>();
    for (const { event_type, token_id, request_id } of events) {
      if (event_type === type) byToken.set(token_id, [...(byToken.get(token_id) ?? []), request_id]);
    }
    return byToken;
  };
  const reads = eventsOf('secret.read');
  const uses = new Map(tokens.map((token) => [token.id, token.uses]));
  for (const { id, maxUses } of [...limited, unlimited]) {
    const successes = seen.reads.get(id) ?? [];
    const recorded = reads.get(id) ?? [];
    assert.equal(new Set(recorded).size, recorded.length, 'a request has one event');
    assert.deepEqual(
      successes.filter((request) => !recorded.includes(request)),
      [],
      'every value seen has its event',
    );
    const used = uses.get(id) ?? -1;
    if (maxUses === undefined) assert.equal(used, 0);
    else {
      assert.ok(successes.length <= used && used <= maxUses, `${successes.length} <= ${used} <= ${maxUses}`);
      assert.equal(recorded.length, used, 'every use has its event');
    }
  }
  const issuedEvents = eventsOf('token.issued');
  assert.deepEqual(
    seen.issued.filter((id) => !uses.has(id)),
    [],
    'acknowledged tokens that are not there',
  );
  const wrong = tokens.filter(({ id }) => issuedEvents.get(id)?.length !== 1);
  assert.deepEqual(wrong, [], 'tokens without exactly one event');
  assert.equal(issuedEvents.size, tokens.length, 'events without a token');
  return uses;
}

function countsOf(refused: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of refused) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

interface Setup {
  readonly env: Readonly<Record<string, string>>;
  readonly open: () => Promise<Database>;
  readonly requests: number;
  /** Some tokens are used up long before the kill, some about then. */
  readonly limits: readonly number[];
}

async function killAndCheck(t: TestContext, { env, open, requests, limits }: Setup): Promise<void> {
  const first = await startServer(t, env);
  const adminKey = printedKey(first.stdout());
  const door = openDoor(first.url);
  t.after(() => door.close());
  const stock = await stockUp(door, adminKey, limits);

  const { seen, stop } = startLoad(door, stock);
  await until(
    `${requests} answers, one of every kind, and 20 requests in flight`,
    () => seen.answered >= requests && seen.issued.length > 0 && seen.written.size > 0 && seen.inFlight >= 20,
    600_000,
  );
  const { answered, inFlight, broken } = seen;
  assert.ok(answered >= requests && inFlight >= 20 && broken === 0);
  await first.kill();
  await until('broken connections', () => seen.broken >= 20);
  await stop();
  // A quiet machine refuses nothing else; on a busy one, the time that Writ gives its database may run out.
  const { TOKEN_EXHAUSTED: exhausted = 0, UNAVAILABLE: late = 0, ...others } = countsOf(seen.refused);
  assert.deepEqual(others, {});
  assert.ok(exhausted > 0, 'some tokens were used up');
  assert.ok(late < requests / 10, `${late} were refused`);

  const database = await open();
  const uses = await assertBooks(database, stock, seen).finally(() => database.close());

  const next = await startServer(t, env);
  assert.equal((await fetch(`${next.url}/ready`)).status, 200);
  const reopened = openDoor(next.url);
  t.after(() => reopened.close());
  const ask = strict(reopened);
  assert.equal((await ask(toRead(stock.path, stock.unlimited.text))).status, 200);
  assert.ok((await aTokenOf({ ask }, stock.agentKey, { scopes: SCOPES })).id);
  const history = [...seen.written].map(async ([path, { version, value }]) => {
    const { body } = await ask(toRead(path, stock.agentKey, version));
    assert.deepEqual([body['version'], body['value']], [version, value], 'an acknowledged version is there');
  });
  await Promise.all(history);
  // What the killed process left of every token is there to the last use, and not one more.
  const exhaust = async ({ id, text, maxUses = 0 }: TokenOfTest): Promise<void> => {
    let given = 0;
    let reply = await ask(toRead(stock.path, text));
    for (; reply.status === 200; reply = await ask(toRead(stock.path, text))) given += 1;
    assert.deepEqual([reply.status, reply.code], [401, 'TOKEN_EXHAUSTED']);
    assert.equal((uses.get(id) ?? -1) + given, maxUses);
  };
  await Promise.all(stock.limited.filter(({ maxUses }) => maxUses !== NEVER_USED_UP).map(exhaust));
}

test('kill -9 under load: values seen <= uses recorded <= limit, on Postgres', {
  skip: postgresSkip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  await killAndCheck(t, {
    env: { ...SITE_ENV, DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY },
    open: () => openPatiently(url, 2),
    requests: ANSWERS_BEFORE_KILL,
    limits: [1, 20, 30, 45, 60].map((limit) => Math.ceil((limit * ANSWERS_BEFORE_KILL) / 2_000)),
  });
});

test('kill -9 under load: values seen <= uses recorded <= limit, on the embedded database', {
  skip: onlyInFullRun,
}, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'writ-test-killed-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  await killAndCheck(t, {
    env: { ...SITE_ENV, DATA_DIR: dataDir },
    open: () => openDatabase({ databaseUrl: undefined, dataDir, poolMax: 2 }),
    requests: 400,
    limits: [1, 6, 9, 12],
  });
});
