/** The commands that work on the database itself: what they do to it, and when they leave it alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aFolder, onPostgres, runHere, runProcess } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { TEST_MASTER_KEY } from '../support/issuing.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';

test('a command does not stumble over variables that it does not read', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const { code, stderr } = await runProcess(t, ['settings'], { DATABASE_URL: url, PORT: 'eighty' });
  assert.equal(code, 0, stderr);
});

test('a database that cannot be reached exits 1 without the driver’s words or the password', async (t) => {
  const port = await freePort();
  const { code, stdout, stderr } = await runProcess(t, ['migrate'], {
    DATABASE_URL: `postgres://writ:hunter2@127.0.0.1:${port}/writ`,
    MASTER_KEY: TEST_MASTER_KEY,
  });
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /database/i);
  assert.doesNotMatch(stderr, /hunter2|ECONNREFUSED.*127|\bat .*\(/);
});

test('writ migrate tells how many migrations it applied, and none the second time', { skip }, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const first = await runHere(['migrate', '--json'], env);
  assert.equal(first.code, 0, first.stderr);
  assert.ok((JSON.parse(first.stdout) as { applied: number }).applied >= 1);
  assert.equal((await runHere(['migrate', '--json'], env)).stdout, '{"applied":0}\n');
  assert.match((await runHere(['migrate'], env)).stdout, /up to date/);
});

test('settings are shown and changed, for people and as JSON', { skip }, async (t) => {
  const env = await onPostgres(t);
  assert.match((await runHere(['settings'], env)).stdout, /Nothing is stored/);
  const set = await runHere(['settings', 'set', 'issuer_url', 'https://writ.example', '--json'], env);
  assert.deepEqual(JSON.parse(set.stdout), { issuer_url: 'https://writ.example' });
  assert.match((await runHere(['settings', 'set', 'token_audience', 'tools'], env)).stdout, /tools/);
  assert.equal(
    (await runHere(['settings'], env)).stdout.trim().split('\n').sort().join(' '),
    'issuer_url=https://writ.example token_audience=tools',
  );
  assert.deepEqual(JSON.parse((await runHere(['settings', '--json'], env)).stdout), {
    issuer_url: 'https://writ.example',
    token_audience: 'tools',
  });
});

test('commands on an embedded folder that a server holds exit 2 and say to stop it', async (t) => {
  const DATA_DIR = await aFolder(t);
  const server = await startServer(t, { DATA_DIR, PORT: '0' });
  const commands = [
    ['migrate'],
    ['settings'],
    ['doctor'],
    ['key', 'create', '--role', 'admin', '--name', 'x'],
    ['serve'],
  ];
  for (const args of commands) {
    const { code, stdout, stderr } = await runProcess(t, args, { DATA_DIR, PORT: '0' });
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, new RegExp(`in use by process ${server.child.pid}\\b.*Stop it`));
  }
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  assert.equal(await server.stop(), 0);
  const later = ['key', 'create', '--role', 'agent', '--name', 'later', '--json'];
  const made = await runProcess(t, later, { DATA_DIR });
  assert.equal(made.code, 0, made.stderr);
  const looked = await runProcess(t, ['doctor', '--json'], { DATA_DIR });
  assert.deepEqual([looked.code, looked.stdout], [0, '{"rows":[],"tokens":[]}\n'], looked.stderr);
});
