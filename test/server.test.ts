/** The server as a process: its address, its first key, and what stops it from listening. */
import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { aFolder, onPostgres } from './support/command-line.ts';
import { printedKey, until } from './support/issuing.ts';
import { clientOfNextStart } from './support/next-start.ts';
import { postgresSkip as skip } from './support/postgres.ts';
import { startNode, startServer } from './support/processes.ts';
import { CLI, SERVER } from './support/programs.ts';

test('writ serve is the server: it names its address and ends with 0 on SIGTERM and SIGINT', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const server = await startNode(t, [CLI, 'serve'], { ...env, PORT: '0' });
    await until('the address', () => /listening on http:\/\/127\.0\.0\.1:\d+/.test(server.stdout()));
    server.child.kill(signal);
    assert.equal(await server.ended, 0);
  }
});

test('server.js started through a link is the server as well', async (t) => {
  const link = join(await aFolder(t), 'server.js');
  await symlink(SERVER, link);
  const started = await startNode(t, [link], { PORT: 'none' });
  assert.equal(await started.ended, 2, started.stderr());
  assert.match(started.stderr(), /PORT/);
});

/** Somebody else listens there until the test ends. */
async function takenPort(t: TestContext): Promise<number> {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.after(() => taken.close());
  const address = taken.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

test('a port in use exits 1 and is named', { skip }, async (t) => {
  const env = await onPostgres(t);
  const port = await takenPort(t);
  const server = await startNode(t, [SERVER], { ...env, PORT: String(port) });
  assert.equal(await server.ended, 1);
  assert.match(
    server.stderr(),
    new RegExp(`cannot listen on 127\\.0\\.0\\.1 port ${port} \\(EADDRINUSE\\)\\. Another process .* PORT`),
  );
});

test('the port of the metrics in use exits 1 and is named with its own setting', { skip }, async (t) => {
  const env = await onPostgres(t);
  const port = await takenPort(t);
  const server = await startNode(t, [SERVER], { ...env, PORT: '0', METRICS_PORT: String(port) });
  assert.equal(await server.ended, 1);
  assert.match(
    server.stderr(),
    new RegExp(
      `cannot listen on 127\\.0\\.0\\.1 port ${port} \\(EADDRINUSE\\)\\. Another process .* METRICS_PORT`,
    ),
  );
  assert.doesNotMatch(server.stdout(), /listening/);
});

test('the metrics have an address of their own, which ends with the server', { skip }, async (t) => {
  const server = await startServer(t, { ...(await onPostgres(t)), PORT: '0', METRICS_PORT: '0' });
  const [, url = ''] = /Metrics are served on (\S+)/.exec(server.stdout()) ?? [];
  assert.match(await (await fetch(url)).text(), /^writ_build_info\{version="[^"]+",node="v[^"]+"\} 1$/m);
  assert.equal((await fetch(`${server.url}/metrics`)).status, 404);
  assert.equal(await server.stop(), 0);
  await assert.rejects(fetch(url));
});

test('a first start that cannot listen prints the administrator’s key all the same, and the next serves it', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const port = await takenPort(t);
  const refused = await startNode(t, [SERVER], { ...env, PORT: String(port) });
  assert.equal(await refused.ended, 1);
  assert.doesNotMatch(refused.stdout(), /listening/);
  const client = await clientOfNextStart(t, env, printedKey(refused.stdout()));
  assert.equal((await client.send('GET', '/v1/agents'))?.status, 200);
});
