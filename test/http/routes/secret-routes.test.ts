/** One secret through its life (contract section 6): what each request answers, and who may ask. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, errorOf } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type SecretView } from './secret-calls.ts';

const VIEW = [
  'id',
  'namespace',
  'key',
  'path',
  'version',
  'secret_type',
  'access_tier',
  'tier',
  'metadata',
  'description',
  'tags',
  'created_at',
  'updated_at',
  'expires_at',
  'rotate_after_days',
  'rotation_due_at',
  'canary',
];

test('a secret', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, rescope, aToken, adminKey } = calls;

  await t.test('is created, read, changed, rotated and destroyed by whoever has the scopes', async () => {
    const agent = await anAgent('secrets:*:walk/*');
    const ofAgent = await aToken({ by: agent.key, scopes: ['secrets:*:walk/*'] });
    const ofAdmin = await aToken();
    for (const [name, as] of [
      ['admin-key', adminKey],
      ['agent-key', agent.key],
      ['agent-token', ofAgent.token],
      ['admin-token', ofAdmin.token],
    ] as const) {
      const target = `/v1/secrets/walk/${name}/K`;
      const steps: [number, unknown, string | undefined][] = [];
      const step = async (line: string, json?: unknown) => {
        const { status, body } = await ask<SecretView | undefined>(as, line, { json });
        steps.push([status, body?.version, body?.value]);
      };
      await step('POST /v1/secrets', { path: `walk/${name}/K`, value: 'one' });
      await step(`GET ${target}`);
      await step(`PUT ${target}`, { value: 'two' });
      await step(`GET ${target}`);
      await step(`POST ${target}/rotate`, { new_value: 'three' });
      await step(`GET ${target}`);
      await step(`GET ${target}?version=1`);
      await step(`GET ${target}?version=2`);
      await step(`DELETE ${target}`);
      await step(`GET ${target}?version=3`);
      await step(`PUT ${target}`, { value: 'anew' });
      const expected = [
        [201, 1, undefined],
        [200, 1, 'one'],
        [200, 2, undefined],
        [200, 2, 'two'],
        [200, 3, undefined],
        [200, 3, 'three'],
        [200, 1, 'one'],
        [200, 2, 'two'],
        [204, undefined, undefined],
        [404, undefined, undefined],
        [201, 1, undefined],
      ];
      assert.deepEqual(steps, expected, name);
    }
  });

  await t.test('has one view, and only a reading adds the value', async () => {
    const members = {
      secret_type: 'db_credential',
      access_tier: 'sensitive',
      metadata: { owner: { team: 'a' }, n: [1, null] },
      description: 'for the reports',
      tags: ['b', 'a'],
      expires_at: '2999-01-02T03:04:05.678Z',
    };
    const made = await ask(adminKey, 'POST /v1/secrets', {
      json: { path: 'view/deep/KEY', value: 'hidden-1', ...members },
    });
    assert.deepEqual(Object.keys(made.body), VIEW);
    const { id, created_at, updated_at, ...rest } = made.body;
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(created_at, updated_at);
    assert.deepEqual(rest, {
      namespace: 'view/deep',
      key: 'KEY',
      path: 'view/deep/KEY',
      version: 1,
      ...members,
      tier: 'sensitive',
      rotate_after_days: null,
      rotation_due_at: null,
      canary: false,
    });
    const read = await ask(adminKey, 'GET /v1/secrets/view/deep/KEY');
    assert.deepEqual(read.body, { ...made.body, value: 'hidden-1' });
    const put = await ask(adminKey, 'PUT /v1/secrets/view/deep/KEY', { json: { value: 'hidden-2' } });
    const rotated = await ask(adminKey, 'POST /v1/secrets/view/deep/KEY/rotate', {
      json: { new_value: 'hidden-3' },
    });
    const listed = await ask<{ items: SecretView[] }>(adminKey, 'GET /v1/secrets/view%2Fdeep');
    assert.deepEqual(Object.keys(put.body), VIEW);
    assert.deepEqual(Object.keys(rotated.body), VIEW);
    assert.deepEqual(listed.body.items, [rotated.body]);
    for (const { text } of [made, put, rotated, listed]) assert.doesNotMatch(text, /hidden|"value"/);
  });

  await t.test('has the documented defaults where nothing is named', async () => {
    const { body } = await ask(adminKey, 'PUT /v1/secrets/plain/K', { json: { value: '' } });
    const { id: _, created_at: __, updated_at: ___, ...rest } = body;
    assert.deepEqual(rest, {
      namespace: 'plain',
      key: 'K',
      path: 'plain/K',
      version: 1,
      secret_type: 'custom',
      access_tier: 'standard',
      tier: 'standard',
      metadata: null,
      description: null,
      tags: [],
      expires_at: null,
      rotate_after_days: null,
      rotation_due_at: null,
      canary: false,
    });
  });

  await t.test('keeps its id and its birth through every change', async () => {
    const first = await aSecret('age/K');
    const second = await aSecret('age/K');
    const third = (await ask(adminKey, 'POST /v1/secrets/age/K/rotate')).body;
    assert.deepEqual(
      [first, second, third].map(({ id, created_at }) => [id, created_at]),
      Array.from({ length: 3 }, () => [first.id, first.created_at]),
    );
    assert.deepEqual([first.version, second.version, third.version], [1, 2, 3]);
    const [row] = await calls.sql('select updated_at > created_at as later from secrets where path = $1', [
      'age/K',
    ]);
    assert.deepEqual(row, { later: true });
  });

  await t.test(
    'answers an old version with its number and its value, and the rest as it is now',
    async () => {
      await aSecret('old/K', { value: 'one', description: 'then' });
      const now = await aSecret('old/K', { value: 'two', description: 'now' });
      const { body } = await ask(adminKey, 'GET /v1/secrets/old/K?version=1');
      assert.deepEqual(body, { ...now, version: 1, value: 'one' });
    },
  );

  await t.test('has no version beyond those that were written', async () => {
    await aSecret('versions/K');
    const { token } = await aToken();
    const beyondAll = ['1000000000', '2147483648', '9999999999', '99999999999999999999', '9'.repeat(400)];
    for (const version of ['2', '999999999', ...beyondAll]) {
      for (const as of [adminKey, token]) {
        const answer = await ask(as, `GET /v1/secrets/versions/K?version=${version}`);
        assertRefused(answer, { status: 404, code: 'SECRET_NOT_FOUND' }, version);
      }
    }
    for (const version of ['0', '-1', '1.0', '01', '+1', 'x', '', '1e0', '%201', '1&version=1']) {
      const answer = await ask(adminKey, `GET /v1/secrets/versions/K?version=${version}`);
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' }, version);
    }
  });

  await t.test(
    'that was destroyed is gone with every version, and a new one at its path is another',
    async () => {
      const first = await aSecret('again/K', { value: 'old-1' });
      await aSecret('again/K', { value: 'old-2' });
      assert.equal((await ask(adminKey, 'DELETE /v1/secrets/again/K')).status, 204);
      const [left] = await calls.sql('select count(*)::int as n from secret_versions where secret_id = $1', [
        first.id,
      ]);
      assert.deepEqual(left, { n: 0 }, 'wrapped keys are destroyed with their versions');
      const second = await aSecret('again/K', { value: 'new' });
      assert.equal(second.version, 1);
      assert.notEqual(second.id, first.id);
      const old = await ask(adminKey, 'GET /v1/secrets/again/K?version=2');
      assertRefused(old, { status: 404, code: 'SECRET_NOT_FOUND' });
      assert.equal((await ask(adminKey, 'GET /v1/secrets/again/K?version=1')).body.value, 'new');
    },
  );

  await t.test('that is not there is 404 for reading, rotating and destroying', async () => {
    const { token } = await aToken();
    for (const as of [adminKey, token]) {
      for (const line of [
        'GET /v1/secrets/nowhere/K',
        'GET /v1/secrets/nowhere/K?version=1',
        'POST /v1/secrets/nowhere/K/rotate',
        'DELETE /v1/secrets/nowhere/K',
      ]) {
        assertRefused(await ask(as, line), { status: 404, code: 'SECRET_NOT_FOUND' }, line);
      }
    }
  });

  await t.test('that is there is 409 for creating, and stays as it is', async () => {
    const there = await aSecret('taken/K', { value: 'mine' });
    const agent = await anAgent('secrets:write:taken/*');
    for (const as of [adminKey, agent.key]) {
      const answer = await ask(as, 'POST /v1/secrets', { json: { path: 'taken/K', value: 'yours' } });
      assertRefused(answer, { status: 409, code: 'ALREADY_EXISTS' });
    }
    const { body } = await ask(adminKey, 'GET /v1/secrets/taken/K');
    assert.deepEqual(body, { ...there, value: 'mine' });
  });

  await t.test('without a new value is rotated to 32 random bytes, other ones each time', async () => {
    await aSecret('random/K');
    const { token } = await aToken();
    const seen = new Set<string>();
    for (const asked of [
      {},
      { json: {} },
      { json: { new_value: null } },
      { raw: '' },
      { headers: { 'content-type': 'application/json' } },
    ]) {
      const rotated = await ask(token, 'POST /v1/secrets/random/K/rotate', asked);
      assert.equal(rotated.status, 200, rotated.text);
      const { value = '' } = (await ask(token, 'GET /v1/secrets/random/K')).body;
      assert.match(value, /^[A-Za-z0-9_-]{43}$/);
      assert.equal(Buffer.from(value, 'base64url').length, 32);
      assert.ok(!rotated.text.includes(value));
      seen.add(value);
    }
    assert.equal(seen.size, 5);
  });

  await t.test('rotated to the empty text is empty, not random', async () => {
    await aSecret('empty/K');
    await ask(adminKey, 'POST /v1/secrets/empty/K/rotate', { json: { new_value: '' } });
    assert.equal((await ask(adminKey, 'GET /v1/secrets/empty/K')).body.value, '');
  });

  await t.test('rotated keeps all but its value', async () => {
    const members = { secret_type: 'ssh_key', tier: 'critical', metadata: { a: 1 }, tags: ['x'] };
    const made = await aSecret('kept/K', {
      ...members,
      description: 'd',
      expires_at: '2999-01-01T00:00:00Z',
    });
    const { body } = await ask(adminKey, 'POST /v1/secrets/kept/K/rotate');
    assert.deepEqual(body, { ...made, version: 2, updated_at: body.updated_at });
  });

  await t.test('is not opened by an approver’s key, whatever is asked', async () => {
    const approver = await calls.createAgent({ role: 'approver' });
    await aSecret('approver/K');
    for (const [line, json] of [
      ['GET /v1/secrets/approver/K'],
      ['GET /v1/secrets/approver/NOT-THERE'],
      ['GET /v1/secrets/approver'],
      ['GET /v1/secrets?namespace=approver'],
      ['GET /v1/namespaces'],
      ['PUT /v1/secrets/approver/K', { value: 'x' }],
      ['POST /v1/secrets', { path: 'approver/L', value: 'x' }],
      ['POST /v1/secrets/approver/K/rotate'],
      ['POST /v1/secrets/import', { namespace: 'approver', content: 'A=1' }],
      ['DELETE /v1/secrets/approver/K'],
    ] as [string, unknown?][]) {
      const answer = await ask(approver.key, line, { json });
      assertRefused(answer, { status: 403, code: 'FORBIDDEN' }, line);
    }
    const { body } = await ask(adminKey, 'GET /v1/secrets/approver/K');
    assert.deepEqual([body.version, body.value], [1, 'v']);
  });

  await t.test('takes the scope of its action: none implies another', async () => {
    await aSecret('scoped/K');
    const needs: [string, string, unknown?][] = [
      ['read', 'GET /v1/secrets/scoped/K'],
      ['write', 'PUT /v1/secrets/scoped/K', { value: 'v' }],
      ['write', 'POST /v1/secrets/scoped/K/rotate', { new_value: 'v' }],
      ['write', 'POST /v1/secrets/import', { namespace: 'scoped', content: 'K=v' }],
      ['write', 'POST /v1/secrets', { path: 'scoped/NEW', value: 'v' }],
      ['delete', 'DELETE /v1/secrets/scoped/NEW'],
    ];
    const agent = await anAgent();
    for (const action of ['read', 'write', 'delete']) {
      await rescope(agent, `secrets:${action}:scoped/*`);
      const { token } = await aToken({ by: agent.key, scopes: [`secrets:${action}:scoped/*`] });
      for (const as of [agent.key, token]) {
        await ask(adminKey, 'DELETE /v1/secrets/scoped/NEW');
        if (action === 'delete') await aSecret('scoped/NEW');
        for (const [needed, line, json] of needs) {
          const answer = await ask(as, line, { json });
          const about = `${action}: ${line} ${answer.text}`;
          if (needed === action) assert.ok(answer.status < 300, about);
          else assertRefused(answer, { status: 403, code: 'SCOPE_DENIED' }, about);
        }
      }
    }
  });

  await t.test('outside the scopes is refused alike whether it exists or not', async () => {
    await aSecret('hidden/K');
    const agent = await anAgent('secrets:*:elsewhere/*');
    const { token } = await aToken({ by: agent.key, scopes: ['secrets:*:elsewhere/*'] });
    const lines = (key: string): [string, unknown?][] => [
      [`GET /v1/secrets/hidden/${key}`],
      [`GET /v1/secrets/hidden/${key}?version=1`],
      [`PUT /v1/secrets/hidden/${key}`, { value: 'x' }],
      ['POST /v1/secrets', { path: `hidden/${key}`, value: 'x' }],
      [`POST /v1/secrets/hidden/${key}/rotate`],
      ['POST /v1/secrets/import', { namespace: 'hidden', content: `${key}=x` }],
      [`DELETE /v1/secrets/hidden/${key}`],
    ];
    for (const as of [agent.key, token]) {
      const answers = async (key: string) => {
        const said: unknown[] = [];
        for (const [line, json] of lines(key)) {
          const answer = await ask(as, line, { json });
          assertRefused(answer, { status: 403, code: 'SCOPE_DENIED' }, line);
          said.push(JSON.stringify(errorOf(answer)).replaceAll(`hidden/${key}`, 'PATH'));
        }
        return said;
      };
      assert.deepEqual(await answers('K'), await answers('ABSENT'));
    }
    assert.equal((await ask(adminKey, 'GET /v1/secrets/hidden/K')).body.version, 1);
  });

  await t.test('by a token is bounded by its owner’s scopes of now', async () => {
    await aSecret('narrow/a/K');
    await aSecret('narrow/b/K');
    const agent = await anAgent('secrets:*:narrow/*');
    const { token } = await aToken({ by: agent.key, scopes: ['secrets:read:narrow/*'] });
    assert.equal((await ask(token, 'GET /v1/secrets/narrow/b/K')).status, 200);
    await rescope(agent, 'secrets:read:narrow/a/*');
    const refused = await ask(token, 'GET /v1/secrets/narrow/b/K');
    assertRefused(refused, { status: 403, code: 'SCOPE_DENIED' });
    assert.equal((await ask(token, 'GET /v1/secrets/narrow/a/K')).status, 200);
  });

  await t.test('is judged by its path before its body, except where the body names the path', async () => {
    const agent = await anAgent('secrets:read:elsewhere/*');
    const put = await ask(agent.key, 'PUT /v1/secrets/order/K', { json: { valeu: 1 } });
    assertRefused(put, { status: 403, code: 'SCOPE_DENIED' });
    const unreadable = await ask(agent.key, 'PUT /v1/secrets/order/K', { raw: '{' });
    assertRefused(unreadable, { status: 403, code: 'SCOPE_DENIED' });
    const post = await ask(agent.key, 'POST /v1/secrets', { json: { path: 'order/K' } });
    assertRefused(post, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/value' } });
    const named = await ask(agent.key, 'POST /v1/secrets', { json: { path: 'order', value: '' } });
    assertRefused(named, { status: 400, code: 'INVALID_PATH', details: { pointer: '/path' } });
    const imported = await ask(agent.key, 'POST /v1/secrets/import', {
      json: { namespace: 'order', content: 'not an entry' },
    });
    assertRefused(imported, { status: 400, code: 'VALIDATION_ERROR', details: { line: 1 } });
  });

  await t.test('without a credential is 401 whatever else is wrong', async () => {
    for (const as of [undefined, 'ast_tok_x', `ast_tok_${'A'.repeat(43)}`]) {
      for (const [line, raw] of [
        ['GET /v1/secrets/a/K'],
        ['GET /v1/secrets/%zz'],
        ['PUT /v1/secrets/a/K', '{'],
        ['POST /v1/secrets', '[]'],
        ['POST /v1/secrets/import', '{}'],
        ['POST /v1/secrets/a/K/rotate', '{}'],
        ['DELETE /v1/secrets/a'],
        ['GET /v1/namespaces'],
      ] as const) {
        const answer = await ask(as, line, raw === undefined ? {} : { raw });
        const code = as === undefined ? 'UNAUTHORIZED' : 'TOKEN_INVALID';
        assertRefused(answer, { status: 401, code }, line);
      }
    }
  });
});
