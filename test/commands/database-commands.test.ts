/** The commands that work on the database itself: what they do to it, and when they leave it alone. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { aFolder, onPostgres, runHere, runProcess } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase, startedOnce } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

test('a command does not stumble over variables that it does not read', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const { code, stderr } = await runProcess(t, ['settings'], {
    DATABASE_URL: url,
    MASTER_KEY: TEST_MASTER_KEY,
    PORT: 'eighty',
  });
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

const CHANGES = `
  select actor_id, actor_type, resource_type, resource_id, metadata from audit_events
  where event_type = 'settings.changed' order by created_at`;

test('a changed setting is on record with what it was before, and one that cannot be is not changed', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const url = env['DATABASE_URL'] ?? '';
  const set = (value: string) => runHere(['settings', 'set', 'issuer_url', value], env);
  assert.equal((await set('https://one.example')).code, 0);
  assert.equal((await set('https://two.example')).code, 0);
  await queryDatabase(url, `update settings set value = 'https://evil.example'`);
  assert.equal((await set('https://two.example')).code, 0);
  const changed = (before: string | null, after: string) => ({
    actor_id: 'system',
    actor_type: 'system',
    resource_type: 'settings',
    resource_id: 'issuer_url',
    metadata: { name: 'issuer_url', before, after },
  });
  const expected = [
    changed(null, 'https://one.example'),
    changed('https://one.example', 'https://two.example'),
    changed('https://evil.example', 'https://two.example'),
  ];
  assert.deepEqual(await queryDatabase(url, CHANGES), expected);
  await queryDatabase(
    url,
    `alter table audit_events add constraint none_more check (event_type <> 'settings.changed') not valid`,
  );
  assert.equal((await set('https://three.example')).code, 1);
  assert.deepEqual(await queryDatabase(url, 'select value from settings'), [
    { value: 'https://two.example' },
  ]);
});

test('a setting that Writ did not write is marked, and without the master key none is shown', {
  skip,
}, async (t) => {
  const env = await onPostgres(t);
  const url = env['DATABASE_URL'] ?? '';
  await startedOnce({ ...env, ISSUER_URL: 'https://one.example' });
  const show = (more: Record<string, string> = {}, ...flags: string[]) =>
    runHere(['settings', 'show', ...flags], { ...env, ...more });
  const well = await show();
  assert.deepEqual([well.code, well.stderr], [0, '']);
  assert.match(well.stdout, /^issuer_url=https:\/\/one\.example$/m);
  await queryDatabase(
    url,
    `update settings set value = E'https://evil.example\x1b[2J\ntoken_audience=b' where name = 'issuer_url'`,
  );
  const marked = await show();
  assert.deepEqual([marked.code, marked.stderr], [1, '']);
  assert.deepEqual(marked.stdout.trim().split('\n').sort(), [
    'No process starts with a row that is marked. Set it with: writ settings set NAME VALUE',
    'issuer_url=https://evil.example\uFFFD[2J token_audience=b (not what Writ wrote: its seal does not fit)',
    'token_audience=writ',
  ]);
  const json = await show({}, '--json');
  assert.deepEqual(
    [json.code, JSON.parse(json.stdout)],
    [
      1,
      {
        issuer_url: {
          value: 'https://evil.example\x1b[2J\ntoken_audience=b',
          why: 'its seal does not fit',
        },
        token_audience: 'writ',
      },
    ],
  );
  const master = join(await aFolder(t), 'master.key');
  const { MASTER_KEY: _, ...without } = env;
  for (const [given, said] of [
    [without, /MASTER_KEY must be set, or MASTER_KEY_FILE/],
    [{ ...without, MASTER_KEY_FILE: master }, /master\.key is missing/],
    [{ ...env, MASTER_KEY: 'ab'.repeat(32) }, /master key does not match this database/],
  ] as const) {
    const unproven = await runHere(['settings'], given);
    assert.deepEqual([unproven.code, unproven.stdout], [2, '']);
    assert.match(unproven.stderr, said);
  }
  assert.ok(!existsSync(master));
  assert.equal((await runHere(['settings', 'set', 'issuer_url', 'https://one.example'], env)).code, 0);
  assert.equal((await show()).code, 0);
});

test('where there is no database, only a server and a migration make one', async (t) => {
  const env = { DATA_DIR: join(await aFolder(t), 'data'), PORT: '0' };
  for (const args of [
    ['settings'],
    ['doctor'],
    ['key', 'create', '--role', 'admin', '--name', 'x'],
    ['signing-key', 'list'],
    ['signing-key', 'rotate', '--compromised'],
    ['kek', 'status'],
    ['kek', 'rotate', '--compromised'],
    ['emergency', 'stop', '--all', '--reason', 'r'],
  ]) {
    const { code, stdout, stderr } = await runHere(args, env);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /There is no database in .*Set DATABASE_URL or DATA_DIR as for the server/);
    assert.ok(!existsSync(env.DATA_DIR), args.join(' '));
  }
  assert.equal((await runHere(['migrate'], env)).code, 0);
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
