/**
 * The notices that are owed to the webhook: each is one process's at a time, outlasts the process that had it, and is
 * given up after a bounded number of tries, visibly.
 */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { createWebhookOutbox } from '../../../src/storage/notices/webhook-outbox.ts';
import { OUTBOX, type Owed, SECRET, startReceiver, verified } from '../../platform/webhook-receiver.ts';
import { printedKey, until } from '../../support/issuing.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { type StartedServer, startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { resealRows, TEST_SEALS, useTestKek } from '../../support/test-seals.ts';
import { rows } from '../opened.ts';

const skip = postgresSkip;

suite('an owed notice', { skip }, () => {
  test('a notice is leased by one of two processes, until the lease is over', async (t) => {
    const { url } = await createTestDatabase(t);
    const open = async () => {
      const database = await openPatiently(url, 8);
      t.after(() => database.close());
      return database;
    };
    const [one, other] = [await open(), await open()];
    await useTestKek(one);
    const run = (text: string, values: readonly unknown[] = []) =>
      one.query<{ id: string }>({ name: `of_the_test_${text.length}`, effect: 'write', text }, values);
    const ids = Array.from({ length: 40 }, () => uuidv7());
    for (const id of ids) {
      await run(`insert into webhook_outbox (id, payload) values ($1, '{}')`, [id]);
    }
    await resealRows((text, values) => rows(one, text, values), 'webhook_outbox');
    const outboxes = [createWebhookOutbox(one, TEST_SEALS), createWebhookOutbox(other, TEST_SEALS)];
    const lease = (limit: number) =>
      Promise.all(
        outboxes.flatMap((outbox) => [1, 2, 3, 4].map(() => outbox.lease({ limit, seconds: 600 }))),
      );
    const leased: string[] = [];
    await until('that all are leased', async () => {
      const batches = await lease(3);
      for (const batch of batches) assert.ok(batch.length <= 3, `${batch.length} at once`);
      assert.deepEqual(
        batches.flat().filter((notice) => notice.attempts !== 1),
        [],
      );
      leased.push(...batches.flat().map((notice) => notice.id));
      return leased.length >= ids.length;
    });
    assert.deepEqual(leased.toSorted(), ids.toSorted());
    assert.deepEqual((await lease(100)).flat(), []);
    // Whoever held it is gone.
    await run(`update webhook_outbox set next_attempt_at = clock_timestamp() where id = $1`, [ids[0]]);
    assert.deepEqual(
      (await lease(100)).flat().map(({ id, attempts }) => [id, attempts]),
      [[ids[0], 2]],
    );
  });

  test('what is delivered or given up is leased no more, and a late failure does not undo a delivery', async (t) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const run = (name: string, text: string, values: readonly unknown[] = []) =>
      database.query<Owed>({ name, effect: 'write', text }, values);
    const [taken = '', hopeless = ''] = [uuidv7(), uuidv7()];
    for (const id of [taken, hopeless]) {
      await run('owe', `insert into webhook_outbox (id, payload) values ($1, '{}')`, [id]);
    }
    await resealRows((text, values) => rows(database, text, values), 'webhook_outbox');
    const outbox = createWebhookOutbox(database, TEST_SEALS);
    const lease = () => outbox.lease({ limit: 10, seconds: 600 });
    assert.equal((await lease()).length, 2);
    await outbox.delivered(taken);
    await outbox.failed(taken, { why: 'late', retryAfterSeconds: 0 });
    await outbox.failed(hopeless, { why: 'status 500', retryAfterSeconds: undefined });
    await run('due', 'update webhook_outbox set next_attempt_at = clock_timestamp()');
    assert.deepEqual(await lease(), []);
    const states = (await run('look', OUTBOX)).map((row) => [row.delivered, row.given_up, row.last_failure]);
    assert.deepEqual(states, [
      [true, false, null],
      [false, true, 'status 500'],
    ]);
  });

  test('one that failed is leased again after its pause, and not before', async (t) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const id = uuidv7();
    const run = (name: string, text: string) =>
      database.query<{ pause: number }>({ name, effect: 'write', text }, [id]);
    await run('owe', `insert into webhook_outbox (id, payload) values ($1, '{}')`);
    await resealRows((text, values) => rows(database, text, values), 'webhook_outbox');
    const outbox = createWebhookOutbox(database, TEST_SEALS);
    const lease = () => outbox.lease({ limit: 10, seconds: 600 });
    await lease();
    await outbox.failed(id, { why: 'status 500', retryAfterSeconds: 28_800 });
    assert.deepEqual(await lease(), []);
    const pause = `
      select extract(epoch from next_attempt_at - clock_timestamp())::float8 as pause from webhook_outbox
      where id = $1`;
    const [left] = await run('pause', pause);
    assert.ok(left !== undefined && left.pause > 20_000 && left.pause <= 28_800, `${left?.pause} seconds`);
    await outbox.failed(id, { why: 'status 500', retryAfterSeconds: 0 });
    assert.deepEqual(
      (await lease()).map((notice) => notice.attempts),
      [2],
    );
  });
});

suite('a process and its webhook', { skip, concurrency: true }, () => {
  interface Running {
    readonly server: StartedServer;
    readonly ask: (method: string, path: string, body?: object, key?: string) => Promise<Response>;
  }

  const start = async (
    t: TestContext,
    databaseUrl: string,
    webhookUrl: string,
    adminKey = '',
  ): Promise<Running> => {
    const server = await startServer(t, {
      PORT: '0',
      DATABASE_URL: databaseUrl,
      MASTER_KEY: TEST_MASTER_KEY,
      ACCEPT_UNSAFE_DURABILITY: '1',
      APPROVAL_WEBHOOK_URL: webhookUrl,
      APPROVAL_WEBHOOK_SECRET: SECRET,
    });
    const own = adminKey || printedKey(server.stdout());
    return {
      server,
      ask: (method, path, body, key = own) =>
        fetch(`${server.url}${path}`, {
          method,
          headers: {
            'x-api-key': key,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }),
    };
  };

  const openOne = async ({ ask }: Running): Promise<{ id: string; agentKey: string }> => {
    const made = await ask('POST', '/v1/agents', {
      name: uuidv7().replace(/-/g, '_'),
      allowed_scopes: ['secrets:*:*'],
    });
    const { api_key: agentKey } = (await made.json()) as { api_key: string };
    const asked = { scopes: ['secrets:read:prod/*'], require_approval: true };
    const opened = await ask('POST', '/v1/tokens', asked, agentKey);
    assert.equal(opened.status, 202);
    return { id: ((await opened.json()) as { approval_id: string }).approval_id, agentKey };
  };

  const onDatabase = async (t: TestContext) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const run = (name: string, text: string) => database.query<Owed>({ name, effect: 'write', text }, []);
    return { url, run, owed: () => run('look', OUTBOX) };
  };

  test('no request waits for a receiver that hangs, and a stop ends well beside one', async (t) => {
    const receiver = await startReceiver(t, 'nothing');
    const { url } = await onDatabase(t);
    const writ = await start(t, url, receiver.url);
    const first = await openOne(writ);
    await until('a try that hangs', () => receiver.arrived.length === 1);
    const second = await openOne(writ);
    for (const { id, agentKey } of [first, second]) {
      assert.equal((await writ.ask('POST', `/v1/approvals/${id}/approve`, {})).status, 200);
      const polled = await writ.ask('GET', `/v1/approvals/agent/${id}`, undefined, agentKey);
      assert.match(((await polled.json()) as { token: string }).token, /^ast_tok_/);
    }
    assert.equal(await writ.server.stop(), 0, writ.server.stderr());
  });

  test('after kill -9 between lease and delivery the next process delivers it, under the same id', async (t) => {
    const receiver = await startReceiver(t, 'nothing');
    const { url, run, owed } = await onDatabase(t);
    const writ = await start(t, url, receiver.url);
    const adminKey = printedKey(writ.server.stdout());
    const { id } = await openOne(writ);
    await until('a try under way', () => receiver.arrived.length === 1);
    await writ.server.kill();
    const [leased] = await owed();
    assert.deepEqual([leased?.approval_id, leased?.attempts, leased?.delivered], [id, 1, false]);
    receiver.answer = 204;
    await run('expire_lease', 'update webhook_outbox set next_attempt_at = clock_timestamp()');
    const next = await start(t, url, receiver.url, adminKey);
    await until('that it is delivered', async () => (await owed())[0]?.delivered);
    const ids = receiver.arrived.map((arrived) => verified(arrived) && arrived.headers['webhook-id']);
    assert.ok(ids.length >= 2, `${ids.length} tries`);
    assert.deepEqual(new Set(ids), new Set([leased?.id]));
    assert.equal(await next.server.stop(), 0);
  });

  test('after the last try it is given up, in the table and as an error in the log, and is not sent again', async (t) => {
    const receiver = await startReceiver(t, 500);
    const { url, run, owed } = await onDatabase(t);
    const writ = await start(t, url, receiver.url);
    await openOne(writ);
    await until('a first failure', async () => (await owed())[0]?.last_failure);
    await run('last_try', 'update webhook_outbox set attempts = 8, next_attempt_at = clock_timestamp()');
    await until('that it is given up', async () => (await owed())[0]?.given_up);
    const [notice] = await owed();
    assert.deepEqual([notice?.attempts, notice?.last_failure, notice?.delivered], [9, 'status 500', false]);
    await until('a line of the log', () => writ.server.stdout().includes('given up'));
    const line =
      writ.server
        .stdout()
        .split('\n')
        .find((text) => text.includes('given up')) ?? '';
    const said = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual([said['level'], said['notice'], said['why']], ['error', notice?.id, 'status 500']);
    // One that comes after it is sent, and it is not.
    const tries = receiver.arrived.length;
    await run('due', 'update webhook_outbox set next_attempt_at = clock_timestamp()');
    receiver.answer = 204;
    await openOne(writ);
    await until('the next one', async () => (await owed())[1]?.delivered);
    assert.equal((await owed())[0]?.attempts, 9);
    const later = receiver.arrived.slice(tries).map((arrived) => arrived.headers['webhook-id']);
    assert.ok(later.length > 0 && !later.includes(notice?.id), 'only the next one is sent');
  });
});
