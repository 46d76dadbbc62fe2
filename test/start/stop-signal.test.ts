/** SIGTERM and SIGINT: what is in flight is answered, nothing silent holds up the end, and a second signal ends at once. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { onPostgres } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { A_PLAN, createClient, printedKey, until, untilHeldUp } from '../support/issuing.ts';
import { clientOfNextStart } from '../support/next-start.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startNode, startServer } from '../support/processes.ts';
import { SERVER } from '../support/programs.ts';
import { startedOnce } from '../support/refused-start.ts';
import { holdStarts } from '../support/start-lock.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

/** A server that has started and waits for its turn with the database, until `proceed`. */
async function startWaiting(t: TestContext, env: Record<string, string>, url: string) {
  const { waiting, proceed } = await holdStarts(t, url);
  const started = await startNode(t, [SERVER], { ...env, PORT: '0' });
  await untilHeldUp('it waits for its turn', [started.ended], async () => (await waiting()) === 1);
  return { started, proceed };
}

test('SIGTERM while it starts ends it with 0 before it listens, and the next start serves', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const { started, proceed } = await startWaiting(t, env, url);
  started.child.kill('SIGTERM');
  await proceed();
  assert.equal(await started.ended, 0, started.stderr());
  assert.doesNotMatch(started.stdout(), /listening/);
  const client = await clientOfNextStart(t, env, printedKey(started.stdout()));
  assert.equal((await client.send('GET', '/v1/agents'))?.status, 200);
});

test('a start that finds a fault after SIGTERM reports it and ends with 2', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  await startedOnce(env);
  const { started, proceed } = await startWaiting(t, { ...env, MASTER_KEY: '77'.repeat(32) }, url);
  started.child.kill('SIGTERM');
  await proceed();
  assert.equal(await started.ended, 2, started.stderr());
  assert.match(started.stderr(), /master key/);
});

test('SIGTERM while it waits for its database ends it with 0', async (t) => {
  const started = await startNode(t, [SERVER], {
    DATABASE_URL: `postgres://writ@127.0.0.1:${await freePort()}/writ`,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: '0',
  });
  await until('the log tells that it waits', () => /does not answer yet/.test(started.stdout()));
  assert.equal(await started.stop(), 0, started.stderr());
  assert.doesNotMatch(started.stdout(), /listening|ak_live_/);
});

/** A request whose head the server has read and whose body has come by half; `finish` sends the rest. */
async function halfARequest(url: string, key: string) {
  const body = JSON.stringify({ plan: A_PLAN });
  const half = request(`${url}/token/issue`, {
    method: 'POST',
    headers: {
      'x-api-key': key,
      'content-type': 'application/json',
      'content-length': body.length,
      expect: '100-continue',
    },
  });
  const status = new Promise<number | undefined>((resolve) => {
    half.on('response', (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    half.on('error', () => resolve(undefined));
  });
  await once(half, 'continue');
  half.write(body.slice(0, 10));
  return {
    status,
    finish: () => half.end(body.slice(10)),
  };
}

/** Less than the 72 s for which a connection is kept alive: a drain that waits for it is cut off, and ends with 1. */
const DRAINS = { SHUTDOWN_TIMEOUT_MS: '60000', REQUEST_TIMEOUT_MS: '60000' };

test('SIGTERM: what is in flight is answered, new connections are refused, and it ends with 0', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const server = await startServer(t, {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: '0',
    ...DRAINS,
  });
  const key = printedKey(server.stdout());
  const client = createClient(server.url, key);
  t.after(() => client.close());
  assert.equal((await client.issue())?.status, 200, 'a connection that stays open and idle');
  const half = await halfARequest(server.url, key);
  server.child.kill('SIGTERM');
  await until('new connections are refused', () =>
    fetch(`${server.url}/health`).then(
      () => false,
      () => true,
    ),
  );
  assert.equal(server.child.exitCode, null);
  half.finish();
  assert.equal(await half.status, 200);
  assert.equal(await server.ended, 0, 'before the drain is cut off');
});

test('SIGTERM under load: every request that was taken is answered, and kept-alive clients do not hold it up', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const server = await startServer(t, {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: '0',
    RATE_LIMIT_MAX: '0',
    ...DRAINS,
  });
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  await client.issue();
  const inFlight = Array.from({ length: 20 }, () => client.issue());
  await Promise.race(inFlight);
  server.child.kill('SIGTERM');
  const statuses = (await Promise.all(inFlight)).map((answer) => answer?.status);
  assert.ok(
    statuses.every((status) => status === 200 || status === undefined || status === 503),
    String(statuses),
  );
  assert.equal(await server.ended, 0, 'before the drain is cut off');
});

test('SIGTERM: a connection over which nothing was ever sent does not hold up the end', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, {
    ...env,
    PORT: '0',
    // Longer than the test waits, so that neither ends the connection or the process.
    SHUTDOWN_TIMEOUT_MS: '600000',
    REQUEST_TIMEOUT_MS: '600000',
  });
  const silent = connect(Number(new URL(server.url).port), '127.0.0.1');
  silent.on('error', () => undefined);
  t.after(() => silent.destroy());
  await once(silent, 'connect');
  // Connections are taken in their turn: once this one is answered, the other is the server's.
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
  server.child.kill('SIGTERM');
  await until('the process ends', () => server.child.exitCode !== null, 60_000);
  assert.equal(await server.ended, 0);
});

test('a second signal ends the process at once', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const server = await startServer(t, {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: '0',
    // The longest that there are, so that neither ends the process while the test waits for it.
    SHUTDOWN_TIMEOUT_MS: '600000',
    REQUEST_TIMEOUT_MS: '600000',
  });
  const half = await halfARequest(server.url, printedKey(server.stdout()));
  server.child.kill('SIGTERM');
  await until('new connections are refused', () =>
    fetch(`${server.url}/health`).then(
      () => false,
      () => true,
    ),
  );
  assert.equal(server.child.exitCode, null);
  server.child.kill('SIGTERM');
  await until('the process ends', () => server.child.exitCode !== null, 60_000);
  assert.equal(await server.ended, 1);
  assert.equal(await half.status, undefined);
});

test('a drain that takes longer than SHUTDOWN_TIMEOUT_MS is cut off', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const server = await startServer(t, {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: '0',
    SHUTDOWN_TIMEOUT_MS: '300',
    REQUEST_TIMEOUT_MS: '60000',
  });
  await halfARequest(server.url, printedKey(server.stdout()));
  server.child.kill('SIGTERM');
  // The default of SHUTDOWN_TIMEOUT_MS is 10 s.
  await until('the process ends', () => server.child.exitCode !== null, 9_000);
  assert.equal(await server.ended, 1);
});
