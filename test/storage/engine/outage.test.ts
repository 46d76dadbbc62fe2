/** The database goes away and comes back under requests: refusals say so, the process stays, the books balance. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { openDatabase } from '../../../src/storage/engine/open-database.ts';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { OUTAGES } from '../../support/effort.ts';
import { type Answer, createClient, errorCodeOf, insist, startLoad, until } from '../../support/issuing.ts';
import { movableLine } from '../../support/movable-line.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { assertBooksBalance } from '../intent-tokens/token-books.ts';

const ADMIN_KEY = generateApiKey().text;
const ENV = {
  PORT: '0',
  LOG_LEVEL: 'silent',
  RATE_LIMIT_MAX: '0',
  MASTER_KEY: TEST_MASTER_KEY,
  BOOTSTRAP_ADMIN_KEY: ADMIN_KEY,
};

let cluster: Cluster;
before(async () => {
  if (postgresSkip === false) cluster = await startCluster();
});
after(() => cluster?.remove());

for (const mode of ['fast', 'immediate'] as const) {
  test(`a database stopped (${mode}) under requests is 503 until it is back, without a restart`, {
    skip: postgresSkip,
  }, async (t) => {
    const server = await startServer(t, { ...ENV, DATABASE_URL: cluster.url });
    const status = async (path: string) => (await fetch(`${server.url}${path}`)).status;
    assert.equal(await status('/ready'), 200);
    const load = startLoad(server.url, ADMIN_KEY, 8);
    try {
      for (let outage = 0; outage < OUTAGES; outage += 1) {
        const before = load.acknowledged.size;
        await until('tokens before the outage', () => load.acknowledged.size >= before + 50);
        const refusedBefore = load.refused.length;
        await cluster.stop(mode);
        await until('refusals', () => load.refused.length >= refusedBefore + 20);
        await until('/ready says no', async () => (await status('/ready')) === 503);
        assert.equal(await status('/health'), 200);
        const during = load.acknowledged.size;
        await cluster.start();
        await until('/ready says yes again', async () => (await status('/ready')) === 200);
        await until('tokens after the outage', () => load.acknowledged.size >= during + 50);
      }
    } finally {
      await load.stop();
    }
    assert.equal(server.child.exitCode, null);
    assert.equal(load.broken(), 0, 'every request was answered');
    for (const answer of load.refused) {
      assert.equal(answer.status, 503, answer.text);
      assert.match(String(answer.headers['retry-after']), /^[1-9]\d*$/);
      assert.match(errorCodeOf(answer), /^(UNAVAILABLE|OUTCOME_UNKNOWN)$/);
    }
    await assertBooksBalance(cluster.url, load.acknowledged);
    assert.equal(await server.stop(), 0);
  });
}

test('connections cut while idle do not end the process, and the next request is served', {
  skip: postgresSkip,
}, async (t) => {
  const server = await startServer(t, { ...ENV, DATABASE_URL: cluster.url });
  const client = createClient(server.url, ADMIN_KEY);
  t.after(() => client.close());
  assert.equal((await insist(() => client.issue())).status, 200);
  const admin = new pg.Client({ connectionString: cluster.url });
  admin.on('error', () => undefined);
  await admin.connect();
  t.after(() => admin.end());
  const cut = await admin.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like 'writ%'`,
  );
  assert.ok((cut.rowCount ?? 0) > 0);
  await until('a token again', async () => (await client.issue())?.status === 200);
  assert.equal(server.child.exitCode, null);
});

test('all that is remembered is dropped where a connection was lost, and where another run of the server answers', {
  skip: postgresSkip,
}, async (t) => {
  const database = await openDatabase({ databaseUrl: cluster.url, dataDir: '', poolMax: 1 });
  t.after(() => database.close());
  const dropped: string[] = [];
  database.memories.add('what the test remembers', (why) => void dropped.push(why));
  const ask = (text = 'select 1') => database.query({ name: `test ${text}`, text, effect: 'read' }, []);
  await ask();
  await assert.rejects(ask('select 1 / 0'));
  assert.deepEqual(dropped, [], 'a refused statement is no loss');
  await assert.rejects(ask('select pg_terminate_backend(pg_backend_pid())'));
  assert.deepEqual(dropped.splice(0), ['a connection was lost']);
  await ask();
  assert.deepEqual(dropped, [], 'the same server answers');
  const before = database.memories.generation();
  await cluster.stop();
  await cluster.start();
  await until('the database answers', () =>
    ask().then(
      () => true,
      () => false,
    ),
  );
  assert.equal(dropped.at(-1), 'another history');
  assert.ok(database.memories.generation() > before);
});

test('a database that falls silent with its connections open is 503 in time, and served again when it speaks', {
  skip: postgresSkip,
}, async (t) => {
  const line = await movableLine(t, cluster.port);
  const url = new URL(cluster.url);
  url.port = String(line.port);
  const server = await startServer(t, { ...ENV, DATABASE_URL: url.href });
  const client = createClient(server.url, ADMIN_KEY);
  t.after(() => client.close());
  assert.equal((await insist(() => client.issue())).status, 200);
  const asks: readonly (() => Promise<Answer | undefined>)[] = [
    () => client.issue(),
    () => client.send('GET', '/v1/me'),
    () => client.send('GET', '/v1/audit'),
    () => client.send('PUT', '/v1/secrets/a/b', { value: 'v' }),
    () => client.send('POST', '/v1/tokens', { scopes: ['secrets:read:a/*'] }),
    () => client.send('GET', '/ready'),
  ];
  /** A query that waits for an answer as long as one of Writ may. */
  const patient = new pg.Client({ connectionString: url.href, query_timeout: 4000 });
  patient.on('error', () => undefined);
  await patient.connect();
  line.silence();
  let isTooLate = false;
  const waiting = patient.query('select 1').catch(() => {
    isTooLate = true;
  });
  // More than there are connections, so that some wait for one.
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => asks)
      .flat()
      .map((ask) => ask()),
  );
  assert.deepEqual([...new Set(answers.map((answer) => answer?.status))], [503]);
  for (const answer of answers) {
    assert.match(answer?.text ?? '', /UNAVAILABLE|OUTCOME_UNKNOWN|BUSY|not_ready/);
  }
  for (const ask of asks) assert.equal((await ask())?.status, 503);
  assert.equal(isTooLate, false, 'all of it before one query is given up');
  await waiting;
  line.lead(cluster.port);
  await until('a token again', async () => (await client.issue())?.status === 200);
  for (const ask of asks) await until('each is served again', async () => ((await ask())?.status ?? 0) < 300);
  void patient.end().catch(() => undefined);
});
