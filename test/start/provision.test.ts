/** What a start demands before it serves: the right master key, and the issuer and audience that are stored. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runHere } from '../support/command-line.ts';
import { createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import {
  queryDatabase,
  refusedProcess,
  refusedStart,
  START_ENV,
  startedOnce,
} from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

test('another master key is refused in clear words, and the database stays usable with the right one', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const right = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  await startedOnce(right);
  const wrong = 'ab'.repeat(32);
  const refused = await refusedProcess(t, { ...right, MASTER_KEY: wrong });
  assert.equal(refused.code, 2);
  assert.match(
    refused.said,
    /master key does not match this database: it needs [0-9a-f]{16}, and given is [0-9a-f]{16}\. Set/,
  );
  assert.ok(!refused.said.includes(wrong));
  assert.equal((await fetch(`${(await startServer(t, { ...START_ENV, ...right })).url}/ready`)).status, 200);
});

test('without its check value a database still refuses another master key, and takes none for its own', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const right = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  await startedOnce(right);
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-master-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'master.key');
  const ROWS = `
    select (select count(*) from master_keys)::int as checks, (select count(*) from signing_keys)::int as keys,
      (select count(*) from agents)::int as agents, (select count(*) from audit_events)::int as events,
      (select count(*) from settings)::int as settings`;
  for (const remove of [
    'delete from master_keys',
    'delete from master_keys; delete from signing_keys',
    'delete from master_keys; delete from settings; delete from api_keys; delete from agents',
    // As a version before seals left it.
    'delete from master_keys; update settings set seal = null; update agents set seal = null; update api_keys set seal = null; update signing_keys set seal = null',
  ]) {
    await queryDatabase(url, remove);
    const before = await queryDatabase(url, ROWS);
    const refused = await refusedStart({ ...right, MASTER_KEY: 'ab'.repeat(32) });
    assert.equal(refused.code, 2, remove);
    assert.match(
      refused.said,
      /master key does not match this database: it needs [0-9a-f]{16}, and given is [0-9a-f]{16}\. Set/,
    );
    const missing = await refusedStart({ DATABASE_URL: url, MASTER_KEY_FILE: file });
    assert.match(missing.said, /master\.key is missing/, remove);
    assert.ok(!existsSync(file), remove);
    const set = await runHere(['settings', 'set', 'token_audience', 'other'], {
      ...right,
      MASTER_KEY: 'ab'.repeat(32),
    });
    assert.match(set.stderr, /master key does not match this database/, remove);
    assert.deepEqual(await queryDatabase(url, ROWS), before, remove);
    const unsealed = remove.includes('seal = null');
    if (unsealed) assert.match((await refusedStart(right)).said, /is not what Writ wrote/);
    else await startedOnce(right);
    assert.equal((await queryDatabase(url, 'select 1 from master_keys')).length, 1, remove);
  }
});

test('a database that is not there is refused at once, by its SQLSTATE, and not waited for', {
  skip,
}, async (t) => {
  const absent = new URL((await createTestDatabase(t)).url);
  absent.pathname = '/absent';
  const { code, said } = await refusedProcess(t, { DATABASE_URL: absent.href, MASTER_KEY: TEST_MASTER_KEY });
  assert.equal(code, 1);
  assert.equal(said, 'The database does not answer; try again shortly. (SQLSTATE 3D000)\n');
});

test('a missing master key file is refused once the database holds what it wrapped, and is not made anew', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-master-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const env = { DATABASE_URL: url, MASTER_KEY_FILE: join(folder, 'master.key') };
  await startedOnce(env);
  await rm(env.MASTER_KEY_FILE);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const refused = await refusedStart(env);
    assert.equal(refused.code, 2);
    assert.match(refused.said, /master\.key is missing/);
  }
});

test('an issuer or audience that differs is refused until `writ settings set` changes it for all', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const first = { ISSUER_URL: 'https://one.example', TOKEN_AUDIENCE: 'one' };
  await startedOnce({ ...env, ...first });
  await startedOnce(env);

  for (const [variable, setting, value] of [
    ['ISSUER_URL', 'issuer_url', 'https://two.example'],
    ['TOKEN_AUDIENCE', 'token_audience', 'two'],
  ] as const) {
    const refused = await refusedStart({ ...env, [variable]: value });
    assert.equal(refused.code, 2);
    assert.match(refused.said, new RegExp(`writ settings set ${setting} ${value}`));
    const set = await runHere(['settings', 'set', setting, value], env);
    assert.equal(set.code, 0, set.stderr);
  }
  await startedOnce({
    ...env,
    ISSUER_URL: 'https://two.example',
    TOKEN_AUDIENCE: 'two',
  });
  assert.equal((await refusedStart({ ...env, ...first })).code, 2);
});

test('nobody is told to follow a stored setting that Writ did not write', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const given = { ISSUER_URL: 'https://one.example', TOKEN_AUDIENCE: 'one' };
  await startedOnce({ ...env, ...given });
  await queryDatabase(url, `update settings set value = 'https://evil.example' where name = 'issuer_url'`);
  await queryDatabase(url, `insert into settings (name, value) values (E'other\x1b[2J', 'x')`);
  const { code, said } = await refusedStart({ ...env, ...given, TOKEN_AUDIENCE: 'two' });
  assert.equal(code, 2);
  assert.deepEqual([...said.matchAll(/^ {2}- (.*)$/gm)].map(([, fault]) => fault).sort(), [
    'TOKEN_AUDIENCE is two, but the database stores one. Set it to the stored value, or change that for all replicas with: writ settings set token_audience two',
    'The stored "other\\u001b[2J" is not what Writ wrote. Look at it with: writ settings show. No setting has this name: delete the row from settings.',
    'The stored issuer_url is not what Writ wrote. Look at it with: writ settings show. Then set it with: writ settings set issuer_url VALUE',
  ]);
  await queryDatabase(url, `delete from settings where name like 'other%'`);
  assert.equal((await runHere(['settings', 'set', 'issuer_url', given.ISSUER_URL], env)).code, 0);
  await startedOnce({ ...env, ...given });
});

test('whatever differs from what is stored is told at once: issuer, audience and master key', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const stored = { ISSUER_URL: 'https://one.example', TOKEN_AUDIENCE: 'one' };
  await startedOnce({ ...env, ...stored });
  const others = { ISSUER_URL: 'https://two.example', TOKEN_AUDIENCE: 'two' };
  const aboutSettings = [
    /^ISSUER_URL is https:\/\/two\.example, but the database stores https:\/\/one\.example\./,
    /^TOKEN_AUDIENCE is two, but the database stores one\./,
  ];
  const faultsOf = async (given: Record<string, string>): Promise<string[]> => {
    const { code, said } = await refusedStart({ ...env, ...given });
    assert.equal(code, 2, said);
    return [...said.matchAll(/^ {2}- (.*)$/gm)].map(([, fault = '']) => fault);
  };
  const assertTold = (faults: readonly string[], wanted: readonly RegExp[]): void => {
    assert.equal(faults.length, wanted.length, faults.join('\n'));
    for (const [index, form] of wanted.entries()) assert.match(faults[index] ?? '', form);
  };
  assertTold(await faultsOf(others), aboutSettings);
  const wrong = { MASTER_KEY: 'ab'.repeat(32) };
  assertTold(await faultsOf({ ...others, ...wrong }), [
    /master key does not match this database: it needs [0-9a-f]{16}, and given is [0-9a-f]{16}\. Set/,
    ...aboutSettings,
  ]);
  await startedOnce({ ...env, ...stored });
});
