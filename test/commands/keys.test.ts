/** `writ keys` and the way back in: what the commands do, and what docs/keys.md has of them, step by step. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { aFolder, onPostgres, runHere } from '../support/command-line.ts';
import { createClient, printedKey, until } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { type StartedServer, startServer } from '../support/processes.ts';
import { queryDatabase } from '../support/refused-start.ts';
import { commandsOf } from './procedures.ts';

const execute = promisify(execFile);
type Environment = Readonly<Record<string, string>>;

/** As a shell runs it. `writ` runs in this process, which costs a tenth. */
async function inShell(command: string, env: Environment): Promise<string> {
  if (command.startsWith('writ ')) {
    const words = command.split(' ').slice(1);
    const args = words.map((word) => word.replace(/^"\$(\w+)"$/, (_, name: string) => env[name] ?? ''));
    const { code, stdout, stderr } = await runHere(args, env);
    assert.equal(code, 0, stderr);
    return stdout;
  }
  const { stdout } = await execute('sh', ['-euc', command], { env: { PATH: process.env['PATH'], ...env } });
  return stdout;
}

const keyIn = (text: string): string => /ak_live_[0-9a-f]{64}/.exec(text)?.[0] ?? assert.fail(text);
const idOf = (key: string): string => key.slice('ak_live_'.length, 'ak_live_'.length + 16);

async function aServer(t: TestContext) {
  const env = await onPostgres(t);
  const server = await startServer(t, { ...env, PORT: '0' });
  const made = await runHere(['key', 'create', '--role', 'agent', '--name', 'worker', '--json'], env);
  const key = (JSON.parse(made.stdout) as { api_key: string }).api_key;
  const statusOf = (apiKey: string, at: StartedServer = server) => statusWith(at.url, apiKey);
  const client = { WRIT_KEY: printedKey(server.stdout()), WRIT_URL: server.url };
  return { env, client, key, statusOf };
}

async function statusWith(url: string, key: string): Promise<number | undefined> {
  const client = createClient(url, key);
  const answer = await client.send('GET', '/v1/me');
  client.close();
  return answer?.status;
}

test('to rotate an agent’s API key, by the steps of the text', { skip }, async (t) => {
  const { env, client, key, statusOf } = await aServer(t);
  const [look = '', rotate = '', showNew = '', showOld = '', lookAgain = '', ...others] = commandsOf(
    "To rotate an agent's API key",
  );
  assert.deepEqual(others, []);
  const run = (command: string, more: Environment = {}) =>
    inShell(command, { ...client, AGENT: 'worker', OLD_KEY_ID: idOf(key), ...more });
  assert.equal(await statusOf(key), 200);
  assert.match(await run(look), new RegExp(`^${idOf(key)} +active +\\d{4}-\\d\\d-\\d\\d .* never$`, 'm'));
  const said = await run(rotate);
  const fresh = keyIn(said.replaceAll(key, ''));
  assert.match(said, new RegExp(`^${idOf(key)} +\\d{4}-\\d\\d-\\d\\dT`, 'm'));
  for (const one of [key, fresh]) assert.equal(await statusOf(one), 200);
  const shown = () => run(showNew, { NEW_KEY_ID: idOf(fresh) });
  await until('its use is on record', async () => /^last used +\d{4}-/m.test(await shown()));
  assert.match(await shown(), /^from +127\.0\.0\.1$/m);
  assert.match(await run(showOld), /^expires +\d{4}-/m);
  // A day passes.
  const databaseUrl = env['DATABASE_URL'] ?? '';
  await queryDatabase(databaseUrl, `update api_keys set expires_at = now() where key_id = '${idOf(key)}'`);
  assert.match(await run(lookAgain), new RegExp(`^${idOf(key)} +expired `, 'm'));
  assert.deepEqual([await statusOf(key), await statusOf(fresh)], [401, 200]);
});

test('to get back in without any administrator’s key, by the steps of the text', { skip }, async (t) => {
  const { env, client, statusOf } = await aServer(t);
  const [make = '', use = '', list = '', end = '', trail = '', ...others] = commandsOf(
    "To get back in without any administrator's key",
  );
  assert.deepEqual(others, []);
  const databaseUrl = env['DATABASE_URL'] ?? '';
  // Nobody has a key of an administrator that lives.
  await queryDatabase(
    databaseUrl,
    `update api_keys set revoked_at = now(), seal = null from agents
     where agents.id = api_keys.agent_id and agents.role = 'admin'`,
  );
  assert.equal(await statusOf(client.WRIT_KEY), 401);
  const taken = await runHere(['key', 'create', '--role', 'admin', '--name', 'Admin'], env);
  assert.deepEqual([taken.code, taken.stdout], [1, '']);
  assert.match(taken.stderr, /has this name, or one that looks like it.* Choose another --name/);
  const key = keyIn(await inShell(make, { ...env, NEW_ADMIN: 'back in' }));
  const run = (command: string) =>
    inShell(command, { WRIT_URL: client.WRIT_URL, WRIT_KEY: key, LOST_ADMIN: 'admin' });
  assert.equal((JSON.parse(await run(use)) as { role: string }).role, 'admin');
  const activeAdmins = async () =>
    (JSON.parse(await run(list)) as { items: { name: string; role: string; active: boolean }[] }).items
      .filter(({ role, active }) => role === 'admin' && active)
      .map(({ name }) => name);
  assert.deepEqual(await activeAdmins(), ['admin', 'back in']);
  await run(end);
  assert.deepEqual(await activeAdmins(), ['back in']);
  const [event] = (JSON.parse(await run(trail)) as { events: Record<string, unknown>[] }).events;
  assert.deepEqual([event?.['actor_id'], event?.['request_id']], ['system', 'command-line']);
  // No administrator is left at all.
  await queryDatabase(databaseUrl, `update agents set revoked_at = now(), seal = null where role = 'admin'`);
  assert.equal(await statusOf(key), 401);
  const again = await inShell(make, { ...env, NEW_ADMIN: 'admin' });
  assert.equal(await statusOf(keyIn(again)), 200);
});

test('on an embedded database the way back in needs the server stopped, and says so', async (t) => {
  const env = { DATA_DIR: await aFolder(t), PORT: '0' };
  const server = await startServer(t, env);
  const args = ['key', 'create', '--role', 'admin', '--name', 'back in', '--json'];
  const early = await runHere(args, env);
  assert.deepEqual([early.code, early.stdout], [2, '']);
  assert.match(early.stderr, /\bstop\b|in use|already/i);
  assert.equal(await server.stop(), 0);
  const made = await runHere(args, env);
  assert.equal(made.code, 0, made.stderr);
});

test('a table fits 80 columns whatever the address, --json is what the server says, and wrong usage asks nobody', {
  skip,
}, async (t) => {
  const { env, client, key } = await aServer(t);
  await queryDatabase(
    env['DATABASE_URL'] ?? '',
    `update api_keys set last_used_at = now(), last_used_ip = '2001:db8:1234:5678:9abc:def0:1234:5678',
     expires_at = expires_at where key_id = '${idOf(key)}'`,
  );
  const keys = (...args: string[]) => runHere(['keys', ...args], client);
  const rotated = await keys('rotate', '--agent', 'worker', '--overlap', '7d', '--name', 'new', '--json');
  const answer = JSON.parse(rotated.stdout) as { api_key: string; older_keys: { expires_at: string }[] };
  const leftMs = Date.parse(answer.older_keys[0]?.expires_at ?? '') - Date.now();
  assert.ok(Math.abs(leftMs - 7 * 86_400_000) < 60_000);
  const listed = (await keys('list', '--agent', 'worker')).stdout.trimEnd().split('\n');
  assert.match(listed[0] ?? '', /^KEY ID +STATUS +CREATED +LAST USED +FROM +EXPIRES$/);
  assert.equal(listed.length, 3);
  for (const line of listed) assert.ok(line.length <= 80, line);
  assert.match(listed[1] ?? '', / 2001:db8:123\.\.\. /);
  const json = JSON.parse((await keys('list', '--agent', 'worker', '--json')).stdout) as {
    items: { last_used_ip: string }[];
  };
  assert.equal(json.items[0]?.last_used_ip, '2001:db8:1234:5678:9abc:def0:1234:5678');
  assert.match((await keys('rotate', '--agent', 'worker', '--overlap', '0')).stdout, / ended$/m);
  for (const [args, sentence] of [
    [['rotate', '--agent', 'worker', '--overlap', '31d'], /--overlap must be a time up to 30d/],
    [['rotate', '--agent', 'worker', '--overlap', 'soon'], /--overlap must be/],
    [['list'], /--agent/],
    [['show', '--agent', 'worker'], /key-id/],
  ] as const) {
    const { code, stdout, stderr } = await keys(...args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, sentence);
  }
  const unknown = await keys('show', '--agent', 'nobody', idOf(key));
  assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /refuses \(404\)/);
});
