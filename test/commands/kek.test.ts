/**
 * `writ kek rotate` puts all that is under the master key before under the new one, beside a server that serves, and
 * proves it; what Writ did not write it leaves and names. `writ kek status` shows what is under which key.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { SEALED_TABLES, type SealedTable } from '../../src/storage/engine/sealed-rows.ts';
import { primaryKeyList } from '../../src/storage/unfit-rows.ts';
import { openTestApp, type TestApp } from '../support/app.ts';
import { aFolder, runHere } from '../support/command-line.ts';
import { A_PLAN, until } from '../support/issuing.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { refusedStart, START_ENV, startedOnce } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { TEST_KEK, takeGuardAway } from '../support/test-seals.ts';
import { aFilledApp, afterTheGrace, PATH } from './filled-app.ts';

const NEW_MASTER_KEY = '7b'.repeat(32);
const THIRD_MASTER_KEY = '8c'.repeat(32);
const NEW_KEK = createKeyEncryption(Buffer.from(NEW_MASTER_KEY, 'hex'));
const BOTH = { MASTER_KEY: NEW_MASTER_KEY, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
const TABLES = Object.keys(SEALED_TABLES) as SealedTable[];
/** Of every table that names a key, in their order. */
const NAMING = [...TABLES, 'secret_versions', 'emergency_stops'].toSorted();

interface Rotated {
  readonly kek_id: string;
  readonly retired: readonly string[];
  readonly rewrapped: Readonly<Record<string, number>>;
  readonly left: readonly { table: string; primary_key: readonly string[]; why: string }[];
}

async function rotate(app: TestApp, env: Record<string, string>, ...options: readonly string[]) {
  const { code, stdout, stderr } = await afterTheGrace(
    app,
    runHere(['kek', 'rotate', '--json', ...options], { ...env, DATABASE_URL: app.databaseUrl }),
  );
  return { code, stderr, done: (stdout === '' ? undefined : JSON.parse(stdout)) as Rotated };
}

/** Of everything that names a key: how many rows name which. */
async function namesOf({ sql }: TestApp): Promise<Readonly<Record<string, number>>> {
  const seals = TABLES.map(
    (table) =>
      `select encode(substring(seal from 1 for 8), 'hex') as name from ${table} where seal is not null`,
  );
  const rows = await sql<{ name: string; n: number }>(
    `select name, count(*)::int as n from (${seals.join(' union all ')}
       union all select kek_id from secret_versions
       union all select kek_id from emergency_stops
       union all select kek_id from signing_keys where kek_id is not null
       union all select left(request_digest, 16) from approvals where seal is not null) as named group by name`,
  );
  return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
}

test('all is put under the new key beside a server, which goes on; the old one is then needed no more', {
  skip,
}, async (t) => {
  const { app, ask, admin, agent, stopped, approval, aToken } = await aFilledApp(t, {
    MASTER_KEY_PREVIOUS: NEW_MASTER_KEY,
  });
  const { token } = await aToken({ max_uses: 50 });
  const read = (by: TestApp, credential = token) =>
    by.call({ method: 'GET', url: `/v1/${PATH}`, headers: { authorization: `Bearer ${credential}` } });
  assert.equal((await read(app)).status, 200);
  assert.deepEqual(Object.keys(await namesOf(app)), [TEST_KEK.kekId]);

  const { code, done, stderr } = await rotate(app, BOTH);
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    { ...done, rewrapped: 0 },
    {
      kek_id: NEW_KEK.kekId,
      retired: [TEST_KEK.kekId],
      rewrapped: 0,
      left: [],
    },
  );
  for (const table of NAMING) assert.ok((done.rewrapped[table] ?? 0) > 0, table);
  assert.match(stderr, /is the active key, in the place of/);
  assert.match(stderr, /re-wrapping \[#{24}\] (\d+) of \1 rows, \d+ a second/);
  assert.deepEqual(Object.keys(await namesOf(app)), [NEW_KEK.kekId]);
  const events = await app.sql<{ event_type: string; metadata: object }>(
    `select event_type, metadata from audit_events where event_type like 'kek.%' order by created_at`,
  );
  assert.deepEqual(events, [
    { event_type: 'kek.activated', metadata: { before: TEST_KEK.kekId } },
    {
      event_type: 'kek.rotated',
      metadata: { retired: [TEST_KEK.kekId], rows: done.rewrapped, left: 0, compromised: false },
    },
  ]);

  // The server that was there all the time: with what it remembers, and after it has followed.
  assert.equal((await read(app)).status, 200);
  await until('the server writes under the new key', async () => {
    const json = { scopes: ['secrets:*:*'] };
    return (await app.call({ method: 'POST', url: '/v1/tokens', key: agent.key, json })).status === 201;
  });
  assert.equal((await read(app)).status, 200);
  await ask('PUT', `/v1/${PATH}`, { key: agent.key }, { value: 'w' });
  const resumed = await ask('POST', '/v1/emergency/resume', admin, { agent: stopped, reason: 'r' });
  assert.deepEqual(resumed, { changed: true, stops: [] });
  const claimed = await ask<{ token: string }>('GET', `/v1/approvals/agent/${approval}`, { key: agent.key });
  assert.equal((await read(app, claimed.token)).status, 200);
  assert.deepEqual(Object.keys(await namesOf(app)), [NEW_KEK.kekId]);

  for (const settings of [{ MASTER_KEY: NEW_MASTER_KEY }, BOTH]) {
    const next = await openTestApp(t, app.databaseUrl, settings, {}, app.adminKey);
    assert.equal((await read(next)).status, 200);
    const issued = { method: 'POST', url: '/token/issue', key: agent.key, json: { plan: A_PLAN } };
    assert.equal((await next.call(issued)).status, 200);
  }
  const refused = await refusedStart({ DATABASE_URL: app.databaseUrl, MASTER_KEY: TEST_MASTER_KEY });
  assert.equal(refused.code, 2);
  assert.ok(
    refused.said.includes(`it needs ${NEW_KEK.kekId}, and given is ${TEST_KEK.kekId}. Set MASTER_KEY`),
  );

  const again = await rotate(app, BOTH);
  assert.deepEqual([again.code, again.done.retired, again.done.rewrapped], [0, [], {}]);
  const [count] = await app.sql<{ n: number }>(
    `select count(*)::int as n from audit_events where event_type like 'kek.%'`,
  );
  assert.equal(count?.n, 2, 'nothing was done, and nothing is on record');
  const back = await rotate(app, { MASTER_KEY: TEST_MASTER_KEY, MASTER_KEY_PREVIOUS: NEW_MASTER_KEY });
  assert.equal(back.code, 2);
  assert.match(back.stderr, /which this database has retired/);
});

test('what Writ did not write is left as it is, is named, and grants no more than before', {
  skip,
}, async (t) => {
  const { app, agent, aToken } = await aFilledApp(t, { MASTER_KEY_PREVIOUS: NEW_MASTER_KEY });
  await aToken();
  await takeGuardAway(app.sql);
  const before = new Map<string, string>();
  const contentOf = async (table: string, id: string, key: string): Promise<string> => {
    // The server notes when a key was used, a while after it was.
    const place = table === 'api_keys' ? '' : 'ctid::text, xmin::text,';
    const rows = await app.sql(
      `select ${place} to_jsonb(t) - '{last_used_at,last_used_ip}'::text[] as kept from ${table} t
       where ${key} = $1::text[]`,
      [`{${id}}`],
    );
    return JSON.stringify(rows);
  };
  const forged: { table: string; id: string; key: string }[] = [];
  const forge = async (table: SealedTable, change: string): Promise<void> => {
    const key = primaryKeyList(table, 't');
    const [row] = await app.sql<{ id: string[] }>(
      `update ${table} t set ${change} where ctid = (select ctid from ${table} where seal is not null limit 1)
       returning ${key} as id`,
    );
    assert.ok(row !== undefined, table);
    const id = row.id.map((part) => JSON.stringify(part)).join(',');
    forged.push({ table, id, key });
    before.set(`${table} ${id}`, await contentOf(table, id, key));
  };
  const ofOther = (kekId: string) => `seal = decode('${kekId}' || repeat('ab', 32), 'hex')`;
  await forge('agents', `allowed_scopes = '{"secrets:*:*"}'`);
  await forge('api_keys', `expires_at = now() + interval '1 year'`);
  await forge('scoped_tokens', ofOther(TEST_KEK.kekId));
  await forge('secrets', `seal = substring(seal from 9)`);
  await forge('approvals', `request_digest = '${TEST_KEK.kekId}' || repeat('ab', 32)`);
  await forge('approval_votes', ofOther('ffffffffffffffff'));
  await forge('webhook_outbox', `payload = '{"type":"approval.granted"}'`);
  const [version] = await app.sql<{ id: string }>(
    `update secret_versions set wrapped_key = set_byte(wrapped_key, 20, get_byte(wrapped_key, 20) # 1)
     returning secret_id::text as id`,
  );
  const { code, done } = await rotate(app, BOTH);
  assert.equal(code, 1);
  assert.deepEqual(done.retired, [TEST_KEK.kekId]);
  const named = done.left.map(({ table, primary_key: [id] }) => `${table} ${id}`).toSorted();
  const expected = [...forged.map(({ table, id }) => `${table} ${JSON.parse(`[${id}]`)[0]}`)];
  assert.deepEqual(named, [...expected, `secret_versions ${version?.id}`].toSorted());
  for (const { table, id, key } of forged) {
    assert.equal(await contentOf(table, id, key), before.get(`${table} ${id}`), table);
  }
  const read = await app.call({ method: 'GET', url: `/v1/${PATH}`, key: agent.key });
  assert.equal(read.status, 500);
  // What the operator closes, as docs/operating.md says, grants nothing any more and is left no more.
  await app.sql('update approvals set denied_at = now() where seal is not null');
  await app.sql('update webhook_outbox set given_up_at = now() where seal is not null');
  const closed = await rotate(app, BOTH);
  const still = named.filter((name) => !/^(approvals|webhook_outbox) /.test(name));
  assert.deepEqual(
    closed.done.left.map(({ table, primary_key: [id] }) => `${table} ${id}`).toSorted(),
    still.filter((name) => !name.startsWith('approval_votes ')),
  );
  const [sealed] = await app.sql('select from approvals where seal is not null');
  assert.equal(sealed, undefined);
});

test('after a leak every value is encrypted anew, under a data key that nobody had', { skip }, async (t) => {
  const { app, ask, admin } = await aFilledApp(t, { MASTER_KEY_PREVIOUS: NEW_MASTER_KEY });
  await ask('PUT', `/v1/${PATH}`, admin, { value: 'second' });
  const contents = () =>
    app.sql<{
      version: number;
      kek_id: string;
      made_under: string;
      nonce: Buffer;
      ciphertext: Buffer;
      wrapped_key: Buffer;
    }>(
      'select version, kek_id, made_under, nonce, ciphertext, wrapped_key from secret_versions order by version',
    );
  const before = await contents();
  const first = await rotate(app, BOTH);
  assert.equal(first.code, 0, first.stderr);
  const rewrapped = await contents();
  for (const [index, row] of rewrapped.entries()) {
    assert.deepEqual(
      [row.nonce, row.ciphertext, row.made_under],
      [before[index]?.nonce, before[index]?.ciphertext, TEST_KEK.kekId],
    );
  }
  // The leak becomes known later: what was only re-wrapped is encrypted anew.
  const env = { MASTER_KEY: NEW_MASTER_KEY, DATABASE_URL: app.databaseUrl };
  const told = await runHere(['kek', 'status'], env);
  assert.match(told.stdout, /2 values are under data keys from before the active key/);
  const people = await runHere(['kek', 'rotate', '--compromised'], env);
  assert.equal(people.code, 0, people.stderr);
  assert.match(people.stdout, /writ signing-key rotate --compromised/);
  for (const [index, row] of (await contents()).entries()) {
    assert.equal(row.made_under, NEW_KEK.kekId);
    for (const column of ['nonce', 'ciphertext', 'wrapped_key'] as const) {
      assert.notDeepEqual(row[column], rewrapped[index]?.[column], column);
    }
  }
  const next = await openTestApp(t, app.databaseUrl, { MASTER_KEY: NEW_MASTER_KEY }, {}, app.adminKey);
  for (const [version, value] of [
    [1, 'v'],
    [2, 'second'],
  ]) {
    const answer = await next.call<{ value: string }>({
      method: 'GET',
      url: `/v1/${PATH}?version=${version}`,
      key: app.adminKey,
    });
    assert.equal(answer.body.value, value);
  }
  const again = await rotate(app, { MASTER_KEY: NEW_MASTER_KEY }, '--compromised');
  assert.deepEqual([again.code, again.done.rewrapped], [0, {}]);
});

test('status shows each key and what is under it, and rotate says what to set', { skip }, async (t) => {
  const { app, aToken } = await aFilledApp(t);
  await aToken();
  const env = { DATABASE_URL: app.databaseUrl };
  const shown = await runHere(['kek', 'status', '--json'], env);
  const { keys } = JSON.parse(shown.stdout) as { keys: { kek_id: string; state: string; rows: object }[] };
  assert.deepEqual(
    keys.map(({ kek_id: id, state }) => [id, state]),
    [[TEST_KEK.kekId, 'active']],
  );
  assert.deepEqual(Object.keys(keys[0]?.rows ?? {}).toSorted(), NAMING);
  const told = await runHere(['kek', 'status'], env);
  assert.match(told.stdout, new RegExp(`^KEY .*\n${TEST_KEK.kekId} +active +\\S+ +\\d+\n$`));

  const unswapped = await rotate(app, { MASTER_KEY: TEST_MASTER_KEY, MASTER_KEY_PREVIOUS: NEW_MASTER_KEY });
  assert.equal(unswapped.code, 2);
  assert.match(unswapped.stderr, /exchange MASTER_KEY and MASTER_KEY_PREVIOUS/);
  const forgotten = { ...env, MASTER_KEY: TEST_MASTER_KEY };
  const leaked = await runHere(['kek', 'rotate', '--compromised'], forgotten);
  assert.deepEqual([leaked.code, leaked.stdout], [2, '']);
  assert.match(leaked.stderr, /the only key that this database has ever had.*set MASTER_KEY to a new key/);
  const stranger = await rotate(app, { MASTER_KEY: NEW_MASTER_KEY });
  assert.equal(stranger.code, 2);
  assert.match(stranger.stderr, /it needs/);
  // One that somebody ended in the middle.
  await app.sql(`update master_keys set state = 'retiring'`);
  await app.sql(`insert into master_keys (kek_id, check_value, state) values ($1, $2, 'active')`, [
    NEW_KEK.kekId,
    NEW_KEK.checkValue(),
  ]);
  const third = await rotate(app, { MASTER_KEY: THIRD_MASTER_KEY, MASTER_KEY_PREVIOUS: NEW_MASTER_KEY });
  assert.equal(third.code, 2);
  assert.match(third.stderr, new RegExp(`it needs ${TEST_KEK.kekId}`));
  const goesOn = await runHere(['kek', 'status'], env);
  assert.match(goesOn.stdout, /Every process needs the active key and the retiring one/);
  const ended = await rotate(app, BOTH);
  assert.deepEqual([ended.code, ended.done.retired], [0, [TEST_KEK.kekId]]);
});

test('on an embedded database, which no server has open meanwhile, nothing is waited for', async (t) => {
  const folder = await aFolder(t);
  const env = { DATA_DIR: folder, MASTER_KEY: TEST_MASTER_KEY };
  const key = ['key', 'create', '--role', 'admin', '--name', 'one', '--json'];
  await startedOnce({ ...START_ENV, ...env });
  const made = await runHere(key, env);
  assert.equal(made.code, 0, made.stderr);
  const both = { ...env, MASTER_KEY: NEW_MASTER_KEY, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY };
  const { code, stdout, stderr } = await runHere(['kek', 'rotate', '--compromised', '--json'], both);
  assert.equal(code, 0, stderr);
  assert.deepEqual((JSON.parse(stdout) as Rotated).retired, [TEST_KEK.kekId]);
  const found = await runHere(['doctor', '--json'], { ...env, MASTER_KEY: NEW_MASTER_KEY });
  assert.deepEqual([found.code, JSON.parse(found.stdout)], [0, { rows: [], tokens: [] }]);
});
