/** The command line and the life of the server process: what is printed where, and with which exit code it ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { SETTINGS, type Setting } from '../src/settings-table.ts';
import { runHere, runProcess } from './support/command-line.ts';
import { freePort } from './support/free-port.ts';
import { A_PLAN, createClient, printedKey, TEST_MASTER_KEY, until } from './support/issuing.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip } from './support/postgres.ts';
import { startNode, startServer } from './support/processes.ts';
import { CLI, SERVER } from './support/programs.ts';

/** Of the advisory lock under which processes start one after the other. */
const START_LOCK_KEY = 0x57524954;
const skip = postgresSkip;

async function onPostgres(t: TestContext): Promise<Record<string, string>> {
  const { url } = await createTestDatabase(t);
  return { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
}

async function aFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-cli-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const COMMANDS = ['serve', 'migrate', 'key', 'approvals', 'settings', 'health'];

test('--help lists every command on standard output and exits 0', async (t) => {
  const asked = [['--help'], ['-h'], ['help']].map((args) => runHere(args));
  for (const shown of [...asked, runProcess(t, ['--help'])]) {
    const { code, stdout, stderr } = await shown;
    assert.equal(code, 0);
    assert.equal(stderr, '');
    for (const command of COMMANDS) assert.match(stdout, new RegExp(`^ {2}${command} `, 'm'));
  }
});

test('without a command the overview is shown and the exit code is 64', async () => {
  const { code, stdout } = await runHere([]);
  assert.equal(code, 64);
  assert.match(stdout, /^Usage: writ/);
});

test('--version prints the version of the package', async () => {
  const { code, stdout } = await runHere(['--version']);
  assert.equal(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

for (const command of COMMANDS) {
  test(`writ ${command} --help shows its usage, needs no configuration and exits 0`, async () => {
    const { code, stdout, stderr } = await runHere([command, '--help'], { PORT: 'no port' });
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^Usage: writ ${command}`));
  });
}

const WRONG_USAGE: readonly (readonly string[])[] = [
  ['no-such-command'],
  ['constructor'],
  ['serve', 'now'],
  ['migrate', '--force'],
  ['migrate', 'now'],
  ['health', '--url', 'x'],
  ['key'],
  ['key', 'make'],
  ['key', 'create'],
  ['key', 'create', '--role', 'root', '--name', 'x'],
  ['key', 'create', '--role', 'admin'],
  ['key', 'create', 'extra', '--role', 'admin', '--name', 'x'],
  ['key', 'create', '--role', 'admin', '--name', 'x', '--ttl', '1'],
  ['key', 'revoke'],
  ['key', 'revoke', 'one', 'two'],
  ['key', 'revoke', '0123456789abcdef', '--role', 'admin'],
  ['key', 'revoke', '0123456789abcdef', '--scope', 'secrets:read:*'],
  ['settings', 'get'],
  ['settings', 'set', 'issuer_url'],
  ['settings', 'set', 'port', '3000'],
  ['settings', 'set', 'issuer_url', 'not a url'],
  ['settings', 'set', 'issuer_url', ''],
  ['settings', 'set', 'token_audience', ''],
  ['settings', 'set', 'token_audience', 'with space'],
  ['settings', 'set', 'token_audience', 'one', 'two'],
  ['key', 'create', '--role', 'admin', '--name', '--json'],
  ['key', 'create', '--role', 'admin', '--name', ''],
  ['health', '--version'],
  ['helth'],
];
/** What is wrong, and the command whose help says what is right. */
const ONE_SENTENCE = /^(writ(?: \w+)*): [^\n]+; see \1 --help\n$/;

test('wrong usage exits 64, says what is wrong on standard error, and changes nothing', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const taken: string[] = [];
  for (const args of WRONG_USAGE) {
    const { code, stdout, stderr } = await runHere(args, env);
    const refused = code === 64 && stdout === '' && ONE_SENTENCE.test(stderr);
    if (!refused) taken.push(`writ ${args.join(' ')} (${code}): ${stdout}${stderr}`);
  }
  assert.deepEqual(taken, []);
  assert.equal((await runHere(['settings', '--json'], env)).stdout, '{}\n');
  const process = await runProcess(t, ['helth'], env);
  assert.deepEqual([process.code, process.stdout], [64, '']);
  assert.match(process.stderr, /unknown command 'helth' \(Did you mean health\?\)/);
});

test('each option that is wrong is named, and so is what is allowed', async () => {
  for (const [args, sentence] of [
    [['key', 'create', '--role', 'root', '--name', 'x'], /--role.*'root'.*admin, approver, agent/],
    [['key', 'create', '--role', 'admin'], /'--name <name>' not specified/],
    [['key', 'create', '--role', 'admin', '--name', '--json'], /'--name <name>' argument missing/],
    [['migrate', '--force'], /unknown option '--force'/],
    [['key'], /expected "create" or "revoke"/],
    [['settings', 'set', 'port', '1'], /'port'.*issuer_url, token_audience/],
    [['settings', 'set', 'issuer_url', 'x'], /issuer_url must be an http:/],
  ] as const) {
    assert.match((await runHere(args)).stderr, sentence);
  }
});

test('the help of serve tells each setting with its meaning and default', async () => {
  const words = (text: string) => text.replace(/\s+/g, ' ');
  const help = words((await runHere(['serve', '--help'])).stdout);
  for (const [variable, setting] of Object.entries<Setting>(SETTINGS)) {
    const standard = setting.default === undefined ? '' : ` (default: ${setting.default})`;
    const meaning = setting.help.replaceAll('`', '').slice(0, -1);
    assert.ok(help.includes(` ${variable} ${meaning}${standard}`), variable);
  }
});

test('a health check loads neither the database’s driver nor the embedded database', async (t) => {
  const folder = await aFolder(t);
  const driversLoadedBy = async (command: string): Promise<string[]> => {
    const NODE_V8_COVERAGE = join(folder, command);
    const DATABASE_URL = `postgres://writ@127.0.0.1:${await freePort()}/writ`;
    await runProcess(t, [command], { DATABASE_URL, PORT: '1', NODE_V8_COVERAGE });
    const [report = ''] = await readdir(NODE_V8_COVERAGE);
    const scripts = await readFile(join(NODE_V8_COVERAGE, report), 'utf8');
    return ['pg', '@electric-sql/pglite', 'drizzle-orm'].filter((name) =>
      scripts.includes(`/node_modules/${name}/`),
    );
  };
  assert.deepEqual(await driversLoadedBy('health'), []);
  assert.deepEqual(await driversLoadedBy('migrate'), ['pg', 'drizzle-orm'], 'they would be found');
});

test('configuration faults exit 2, all at once, without the values of secrets', async () => {
  const env = {
    PORT: 'eighty',
    LOG_LEVEL: 'loud',
    MASTER_KEY: 'a secret that is no key',
    DATABASE_URL: 'mysql://root:hunter2@db/x',
  };
  const { code, stdout, stderr } = await runHere(['serve'], env);
  assert.deepEqual([code, stdout], [2, '']);
  for (const variable of Object.keys(env)) assert.match(stderr, new RegExp(`^ {2}- ${variable} `, 'm'));
  assert.doesNotMatch(stderr, /a secret|hunter2/);
});

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

test('a created key works at once on a running server, and no longer once it is revoked', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  for (const role of ['admin', 'agent', 'approver']) {
    const made = await runHere(['key', 'create', '--role', role, '--name', `${role} one`, '--json'], env);
    assert.equal(made.code, 0, made.stderr);
    const { api_key: key, key_id: keyId, ...facts } = JSON.parse(made.stdout) as Record<string, string>;
    assert.match(String(key), new RegExp(`^ak_live_${keyId}[0-9a-f]{48}$`));
    assert.equal(facts['role'], role);
    assert.equal(facts['name'], `${role} one`);
    const client = createClient(server.url, key);
    t.after(() => client.close());
    assert.equal((await client.send('GET', '/v1/me'))?.status, 200);
    assert.equal((await client.issue())?.status, role === 'approver' ? 403 : 200);
    const revoked = await runHere(['key', 'revoke', String(keyId), '--json'], env);
    assert.deepEqual(JSON.parse(revoked.stdout), { key_id: keyId, revoked: true });
    assert.equal((await client.send('GET', '/v1/me'))?.status, 401);
    if (role !== 'approver') assert.equal((await client.issue())?.status, 401);
    assert.equal((await runHere(['key', 'revoke', String(keyId)], env)).code, 0, 'again is fine');
  }
});

test('key create prints the key once for people, and takes scopes for agents only', { skip }, async (t) => {
  const env = await onPostgres(t);
  const scopes = ['--scope', 'secrets:read:prod/*', '--scope', 'secrets:write:prod/*'];
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'scoped', ...scopes], env);
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout.match(/ak_live_[0-9a-f]{64}/g)?.length, 1);
  assert.equal(made.stderr, '');
  const failures = [
    [['--role', 'admin', '--name', 'x', ...scopes], /allowed_scopes/],
    [['--role', 'agent', '--name', 'x', '--scope', 'everything'], /scope/],
    [['--role', 'agent', '--name', 'scoped'], /name/],
    [['--role', 'agent', '--name', 'x'.repeat(65)], /name/],
  ] as const;
  for (const [args, what] of failures) {
    const failed = await runHere(['key', 'create', ...args], env);
    assert.deepEqual([failed.code, failed.stdout], [1, ''], failed.stderr);
    assert.match(failed.stderr, what);
  }
});

test('revoking a key that does not exist exits 1 and says so', { skip }, async (t) => {
  const { code, stdout, stderr } = await runHere(['key', 'revoke', '0'.repeat(16)], await onPostgres(t));
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /no key/);
});

test('what the command line does is in the audit trail, as the system’s', { skip }, async (t) => {
  const env = await onPostgres(t);
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'x', '--json'], env);
  await runHere(['key', 'revoke', (JSON.parse(made.stdout) as { key_id: string }).key_id], env);
  const client = new pg.Client({ connectionString: env['DATABASE_URL'] });
  await client.connect();
  const { rows } = await client.query(
    'select event_type, actor_id, actor_type from audit_events order by xact',
  );
  await client.end();
  assert.deepEqual(rows, [
    { event_type: 'agent.created', actor_id: 'system', actor_type: 'system' },
    { event_type: 'key.revoked', actor_id: 'system', actor_type: 'system' },
  ]);
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

test('health is 0 for a server that is ready, 1 for none', { skip }, async (t) => {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  const { port } = new URL(server.url);
  const ready = await runProcess(t, ['health', '--json'], { PORT: port });
  assert.equal(ready.code, 0);
  assert.deepEqual(JSON.parse(ready.stdout), { ready: true, url: `http://127.0.0.1:${port}/ready` });
  await server.stop();
  const gone = await runProcess(t, ['health'], { PORT: port });
  assert.equal(gone.code, 1);
  assert.match(gone.stdout, /not ready/);
  const wrong = await runHere(['health'], { PORT: 'x' });
  assert.equal(wrong.code, 2);
});

test('commands on an embedded folder that a server holds exit 2 and say to stop it', async (t) => {
  const DATA_DIR = await aFolder(t);
  const server = await startServer(t, { DATA_DIR, PORT: '0' });
  const commands = [
    ['migrate'],
    ['settings'],
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
});

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
  assert.match(server.stderr(), new RegExp(`cannot listen on 127\\.0\\.0\\.1 port ${port} \\(EADDRINUSE\\)`));
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

/** Of a start that prints no key: there is an administrator. */
async function clientOfNextStart(t: TestContext, env: Record<string, string>, key: string) {
  const server = await startServer(t, { ...env, PORT: '0' });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  const client = createClient(server.url, key);
  t.after(() => client.close());
  return client;
}

test('SIGTERM while it starts ends it with 0 before it listens, and the next start serves', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  // Whoever starts waits for whoever else starts.
  const other = new pg.Client({ connectionString: url });
  await other.connect();
  t.after(() => other.end());
  await other.query('select pg_advisory_lock($1)', [START_LOCK_KEY]);
  const started = await startNode(t, [SERVER], { ...env, PORT: '0' });
  await until('it waits for its turn', async () => {
    const { rows } = await other.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`,
    );
    return rows.length === 1;
  });
  started.child.kill('SIGTERM');
  await other.query('select pg_advisory_unlock($1)', [START_LOCK_KEY]);
  assert.equal(await started.ended, 0, started.stderr());
  assert.doesNotMatch(started.stdout(), /listening/);
  const client = await clientOfNextStart(t, env, printedKey(started.stdout()));
  assert.equal((await client.send('GET', '/v1/agents'))?.status, 200);
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
  const { url } = await createEmptyTestDatabase(t);
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
  const { url } = await createEmptyTestDatabase(t);
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
  const { url } = await createEmptyTestDatabase(t);
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
  const { url } = await createEmptyTestDatabase(t);
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
