/**
 * What is stored of a secret and is not what was stored does not open (contract section 6): 500 `INTEGRITY_ERROR`, no
 * value, no use, no event, and a line in the log. What nobody could tell from a row that was never written, such as a
 * missing old version, reads as absent.
 */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { startNode, startServer } from '../../support/processes.ts';
import { SERVER } from '../../support/programs.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildSecretCalls, type ListView, type SecretCalls } from './secret-calls.ts';

const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

const flipped = (column: string, byte: string): string =>
  `${column} = set_byte(${column}, ${byte}, get_byte(${column}, ${byte}) # 1)`;
const cutTo = (column: string, bytes: string): string => `${column} = substring(${column} for ${bytes})`;

/** What is set in the row of version 2. */
const CHANGED_COLUMNS: Readonly<Record<string, string>> = {
  'another first byte of the ciphertext': flipped('ciphertext', '0'),
  'another last byte of the value': flipped('ciphertext', 'octet_length(ciphertext) - 17'),
  'another first byte of the tag': flipped('ciphertext', 'octet_length(ciphertext) - 16'),
  'another last byte of the tag': flipped('ciphertext', 'octet_length(ciphertext) - 1'),
  'a ciphertext that lacks a byte': cutTo('ciphertext', 'octet_length(ciphertext) - 1'),
  'a ciphertext with a shorter tag': cutTo('ciphertext', 'octet_length(ciphertext) - 4'),
  'a ciphertext without its tag': cutTo('ciphertext', 'octet_length(ciphertext) - 16'),
  'a ciphertext of nothing but a tag': cutTo('ciphertext', '16'),
  'a ciphertext that is shorter than a tag': cutTo('ciphertext', '15'),
  'an empty ciphertext': "ciphertext = ''",
  'a ciphertext that goes on': "ciphertext = ciphertext || '\\x00'",
  'another first byte of the nonce': flipped('nonce', '0'),
  'another last byte of the nonce': flipped('nonce', '11'),
  'a nonce that lacks a byte': cutTo('nonce', '11'),
  'a nonce that goes on': "nonce = nonce || '\\x00'",
  'an empty nonce': "nonce = ''",
  'another nonce of the wrapped key': flipped('wrapped_key', '0'),
  'another first byte of the wrapped key': flipped('wrapped_key', '12'),
  'another tag of the wrapped key': flipped('wrapped_key', '59'),
  'a wrapped key that lacks a byte': cutTo('wrapped_key', '59'),
  'a wrapped key that is shorter than nonce and tag': cutTo('wrapped_key', '27'),
  'an empty wrapped key': "wrapped_key = ''",
  'a wrapped key that goes on': "wrapped_key = wrapped_key || '\\x00'",
  'another key-encryption key': "kek_id = 'ffffffffffffffff'",
  'no key-encryption key': "kek_id = ''",
};

test('a secret whose rows were changed', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, aToken, anAgent, adminKey, sql } = calls;
  const agent = await anAgent('secrets:*:*');
  const readers = [adminKey, agent.key, (await aToken()).token];
  const limited = await aToken({ by: agent.key, maxUses: 5 });
  const value = (path: string) => `PLANTED ${path}`;

  /** Versions 1 and 2, each with its own value of one length. */
  const twoVersions = async (path: string): Promise<string> => {
    const { id } = await aSecret(path, { value: `${value(path)} 1` });
    await aSecret(path, { value: `${value(path)} 2` });
    return id;
  };

  const assertShut = async (...targets: readonly string[]): Promise<void> => {
    for (const target of targets) {
      const events = await calls.eventsOf(async () => {
        for (const as of [...readers, limited.token]) {
          const answer = await ask(as, `GET /v1/secrets/${target}`);
          assertRefused(answer, BROKEN, target);
          assert.doesNotMatch(answer.text, /PLANTED|version \d|"details"/, target);
        }
      });
      const others = events.filter(({ event_type }) => event_type !== 'integrity.failed');
      for (const { event_type, metadata } of others) {
        assert.match(event_type, /^(?:secret|token)[.]denied$/, 'nothing is on record as read');
        assert.equal(metadata['code'], BROKEN.code);
      }
    }
    assert.equal(await calls.usesOf(limited), 0);
  };

  const assertOpens = async (target: string, expected: string): Promise<void> => {
    assert.equal((await ask(adminKey, `GET /v1/secrets/${target}`)).body.value, expected);
  };

  await t.test('is on record with who asked for it', async () => {
    const id = await twoVersions('asked/K');
    await sql("update secret_versions set ciphertext = '\\x00' where secret_id = $1", [id]);
    const events = await calls.eventsOf(async () => {
      for (const as of [adminKey, limited.token])
        assertRefused(await ask(as, 'GET /v1/secrets/asked/K'), BROKEN);
    });
    assert.deepEqual(
      events
        .filter(({ event_type }) => event_type.endsWith('.denied'))
        .map(({ event_type, resource_id, metadata }) => [event_type, resource_id, metadata['code']]),
      [
        ['secret.denied', 'asked/K', BROKEN.code],
        ['token.denied', 'asked/K', BROKEN.code],
      ],
    );
  });

  for (const [index, [what, change]] of Object.entries(CHANGED_COLUMNS).entries()) {
    await t.test(`does not open with ${what}`, async () => {
      const path = `column/K${index}`;
      const id = await twoVersions(path);
      if (change.startsWith('kek_id')) await sql('alter table secret_versions disable trigger user');
      const changed = await sql(
        `update secret_versions set ${change} where secret_id = $1 and version = 2 returning version`,
        [id],
      );
      await sql('alter table secret_versions enable trigger user');
      assert.equal(changed.length, 1);
      await assertShut(path, `${path}?version=2`);
      await assertOpens(`${path}?version=1`, `${value(path)} 1`);
    });
  }

  await t.test('does not open when two versions exchange any of their columns, or all', async () => {
    for (const [index, columns] of [
      ['ciphertext'],
      ['nonce'],
      ['wrapped_key'],
      ['nonce', 'ciphertext'],
      ['wrapped_key', 'nonce'],
      ['wrapped_key', 'nonce', 'ciphertext'],
    ].entries()) {
      const path = `exchanged/K${index}`;
      const id = await twoVersions(path);
      const assignments = columns.map((column) => `${column} = other.${column}`).join(', ');
      const changed = await sql(
        `update secret_versions mine set ${assignments} from secret_versions other
         where mine.secret_id = $1 and other.secret_id = $1 and mine.version <> other.version returning mine.version`,
        [id],
      );
      assert.equal(changed.length, 2);
      await assertShut(path, `${path}?version=1`, `${path}?version=2`);
    }
  });

  await t.test('does not open when two versions exchange their numbers', async () => {
    const id = await twoVersions('numbers/K');
    for (const [from, to] of [
      [1, 9],
      [2, 1],
      [9, 2],
    ]) {
      await sql('update secret_versions set version = $3 where secret_id = $1 and version = $2', [
        id,
        from,
        to,
      ]);
    }
    await assertShut('numbers/K', 'numbers/K?version=1', 'numbers/K?version=2');
  });

  await t.test('does not open when an old version is put in as the newest', async () => {
    const id = await twoVersions('replayed/K');
    await sql(
      `insert into secret_versions (secret_id, version, wrapped_key, kek_id, nonce, ciphertext)
       select secret_id, 3, wrapped_key, kek_id, nonce, ciphertext from secret_versions
       where secret_id = $1 and version = 1`,
      [id],
    );
    await sql('update secrets set version = 3 where id = $1', [id]);
    await assertShut('replayed/K', 'replayed/K?version=3', 'replayed/K?version=1');
    await resealRows(sql, 'secrets', 'id = $1', [id]);
    await assertShut('replayed/K', 'replayed/K?version=3');
    await assertOpens('replayed/K?version=1', `${value('replayed/K')} 1`);
  });

  await t.test('does not open when two secrets exchange their rows', async () => {
    const mine = await twoVersions('mine/K');
    const yours = await twoVersions('yours/K');
    await sql(
      `update secret_versions mine set wrapped_key = other.wrapped_key, nonce = other.nonce, ciphertext = other.ciphertext
       from secret_versions other
       where mine.version = other.version and mine.secret_id <> other.secret_id
         and mine.secret_id = any($1::uuid[]) and other.secret_id = any($1::uuid[])`,
      [[mine, yours]],
    );
    await assertShut('mine/K', 'yours/K', 'mine/K?version=1', 'yours/K?version=1');
  });

  await t.test('does not open when two secrets exchange their paths', async () => {
    const ids = [await twoVersions('here/A'), await twoVersions('here/B')];
    for (const [index, key] of [
      [0, 'C'],
      [1, 'A'],
      [0, 'B'],
    ] as const) {
      await sql("update secrets set key = $2, path = 'here/' || $2 where id = $1", [ids[index], key]);
    }
    await assertShut('here/A', 'here/B', 'here/A?version=1');
  });

  await t.test('does not open under the id of one that was destroyed and written anew', async () => {
    const before = await twoVersions('anew/K');
    const [old] = await sql('select * from secret_versions where secret_id = $1 and version = 1', [before]);
    await ask(adminKey, 'DELETE /v1/secrets/anew/K');
    const after = await twoVersions('anew/K');
    await sql(
      `update secret_versions set wrapped_key = $2, nonce = $3, ciphertext = $4 where secret_id = $1 and version = 1`,
      [after, old?.['wrapped_key'], old?.['nonce'], old?.['ciphertext']],
    );
    await assertShut('anew/K?version=1');
    await assertOpens('anew/K', `${value('anew/K')} 2`);
  });

  await t.test('does not open when its newest version is missing, and no older one steps in', async () => {
    const id = await twoVersions('missing/K');
    await sql('delete from secret_versions where secret_id = $1 and version = 2', [id]);
    await assertShut('missing/K');
    await assertOpens('missing/K?version=1', `${value('missing/K')} 1`);
    await sql('delete from secret_versions where secret_id = $1', [id]);
    await assertShut('missing/K');
    const old = await ask(adminKey, 'GET /v1/secrets/missing/K?version=1');
    assertRefused(old, { status: 404, code: 'SECRET_NOT_FOUND' });
  });

  await t.test('is still listed, written over and destroyed', async () => {
    const id = await twoVersions('mended/K');
    await sql("update secret_versions set nonce = '' where secret_id = $1", [id]);
    const list = await ask<ListView>(adminKey, 'GET /v1/secrets/mended');
    assert.deepEqual(
      list.body.items.map(({ version }) => version),
      [2],
    );
    assert.equal((await ask(agent.key, 'PUT /v1/secrets/mended/K', { json: { value: 'new' } })).status, 200);
    await assertOpens('mended/K', 'new');
    await assertShut('mended/K?version=2');
    assert.equal((await ask(agent.key, 'DELETE /v1/secrets/mended/K')).status, 204);
  });

  await t.test('above the tier that is granted is refused before it is found broken', async () => {
    const { id } = await aSecret('tier/K', { access_tier: 'critical' });
    await sql("update secret_versions set nonce = '' where secret_id = $1", [id]);
    const answer = await ask(agent.key, 'GET /v1/secrets/tier/K');
    assertRefused(answer, { status: 403, code: 'APPROVAL_REQUIRED' });
  });

  await t.test('takes no write under a key-encryption key that is no longer the active one', async () => {
    const made = await aSecret('active/K');
    const [active] = await sql<{ kek_id: string }>('select kek_id from master_keys');
    await sql("update master_keys set kek_id = 'ffffffffffffffff'");
    try {
      for (const [line, json] of [
        ['PUT /v1/secrets/active/K', { value: 'x' }],
        ['POST /v1/secrets', { path: 'active/L', value: 'x' }],
        ['POST /v1/secrets/active/K/rotate'],
        ['POST /v1/secrets/import', { namespace: 'active', content: 'K=x\nL=x' }],
      ] as [string, unknown?][]) {
        const events = await calls.eventsOf(async () => {
          assertRefused(await ask(limited.token, line, { json }), { status: 503, code: 'UNAVAILABLE' }, line);
        });
        assert.deepEqual(events, [], line);
      }
    } finally {
      await sql('update master_keys set kek_id = $1', [active?.kek_id]);
    }
    assert.equal(await calls.usesOf(limited), 0);
    assert.deepEqual((await ask(adminKey, 'GET /v1/secrets/active/K')).body, { ...made, value: 'v' });
    assert.equal((await ask(adminKey, 'GET /v1/secrets/active/L')).status, 404);
  });
});

test('a server’s process', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const env = { DATABASE_URL: calls.databaseUrl, PORT: '0', ACCEPT_UNSAFE_DURABILITY: '1' };

  await t.test('logs a secret that does not open, with the request’s id and without a value', async (t) => {
    const path = 'logged/K';
    const { id } = await calls.aSecret(path, { value: 'PLANTED-value' });
    await calls.aSecret(path, { value: 'PLANTED-second' });
    await calls.sql(`update secret_versions set ${flipped('ciphertext', '0')} where version = 2`);
    const kept = await storedOf(calls, id);
    const server = await startServer(t, { ...env, MASTER_KEY: TEST_MASTER_KEY, LOG_LEVEL: 'debug' });
    const read = (query: string) =>
      fetch(`${server.url}/v1/secrets/${path}${query}`, { headers: { 'x-api-key': calls.adminKey } });
    const broken = await read('');
    assert.equal(broken.status, 500);
    const opened = await read('?version=1');
    assert.equal(((await opened.json()) as { value: string }).value, 'PLANTED-value', 'the control');
    assert.equal(await server.stop(), 0);

    const lines = server
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{'));
    const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const [line, ...others] = parsed.filter((one) => one['level'] === 'error');
    assert.deepEqual(others, []);
    assert.ok(line !== undefined, 'nothing was logged');
    const { request_id, status, code, route } = line;
    assert.deepEqual(
      { request_id, status, code, route },
      {
        request_id: broken.headers.get('x-request-id'),
        ...BROKEN,
        route: '/v1/secrets/*',
      },
    );
    assert.match(JSON.stringify(line['err']), new RegExp(id), 'which secret it is can be found out');
    for (const planted of ['PLANTED', calls.adminKey, TEST_MASTER_KEY, ...kept]) {
      assert.ok(!server.stdout().includes(planted) && !server.stderr().includes(planted), planted);
    }
  });

  await t.test(
    'does not start on secrets with another master key, which then still open with theirs',
    async (t) => {
      await calls.aSecret('started/K', { value: 'still there' });
      const wrong = 'ab'.repeat(32);
      const refused = await runToEnd(t, { ...env, MASTER_KEY: wrong, LOG_LEVEL: 'info' });
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /The master key does not match this database: /);
      for (const said of [wrong, TEST_MASTER_KEY, 'still there']) assert.ok(!refused.stderr.includes(said));
      assert.equal(refused.stdout, '');
      const { body } = await calls.ask(calls.adminKey, 'GET /v1/secrets/started/K');
      assert.equal(body.value, 'still there');
    },
  );
});

/** What a log must not hold of a secret's rows, in the forms that bytes are written in. */
async function storedOf({ sql }: SecretCalls, id: string): Promise<string[]> {
  const rows = await sql<{ wrapped_key: Buffer; ciphertext: Buffer }>(
    'select wrapped_key, ciphertext from secret_versions where secret_id = $1',
    [id],
  );
  return rows.flatMap(({ wrapped_key, ciphertext }) =>
    [wrapped_key, ciphertext].flatMap((bytes) => [bytes.toString('hex'), bytes.toString('base64')]),
  );
}

async function runToEnd(t: TestContext, env: Readonly<Record<string, string>>) {
  const started = await startNode(t, [SERVER], env);
  const code = await started.ended;
  return { code, stdout: started.stdout(), stderr: started.stderr() };
}
