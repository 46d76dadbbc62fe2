/** Changing what is stored (contract sections 3, 6): what an update omits, what null means, and `If-Match`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type SecretView } from './secret-calls.ts';

/** A value other than the default for each member. */
const SET = {
  secret_type: 'api_key',
  access_tier: 'sensitive',
  metadata: { a: { b: [1] } },
  description: 'kept',
  tags: ['t', 'u'],
  expires_at: '2999-12-31T23:59:59.999Z',
};

test('an update', { skip: postgresSkip }, async (t) => {
  const { ask, aSecret, adminKey } = await buildSecretCalls(t);
  const put = (path: string, json: unknown) => ask(adminKey, `PUT /v1/secrets/${path}`, { json });
  const attributesOf = ({ body }: { body: SecretView }) =>
    Object.fromEntries(Object.keys(SET).map((name) => [name, body[name as keyof SecretView]]));

  await t.test('leaves what it omits as stored', async () => {
    await aSecret('omit/K', SET);
    assert.deepEqual(attributesOf(await put('omit/K', { value: 'w' })), SET);
    for (const [name, value] of [
      ['secret_type', 'certificate'],
      ['access_tier', 'critical'],
      ['metadata', {}],
      ['description', ''],
      ['tags', []],
      ['expires_at', '2998-01-01T00:00:00.000Z'],
    ] as const) {
      await put('omit/K', { value: 'w', ...SET });
      const changed = await put('omit/K', { value: 'w', [name]: value });
      assert.deepEqual(attributesOf(changed), { ...SET, [name]: value });
    }
  });

  await t.test('with null clears metadata, description and expires_at', async () => {
    for (const name of ['metadata', 'description', 'expires_at']) {
      await put('clear/K', { value: 'w', ...SET });
      assert.deepEqual(attributesOf(await put('clear/K', { value: 'w', [name]: null })), {
        ...SET,
        [name]: null,
      });
    }
  });

  await t.test('with null for any other member means that it is not given', async () => {
    await aSecret('null/K', SET);
    const nulls = { secret_type: null, access_tier: null, tier: null, tags: null };
    assert.deepEqual(attributesOf(await put('null/K', { value: 'w', ...nulls })), SET);
    const { body } = await put('null/NEW', {
      value: 'w',
      ...nulls,
      metadata: null,
      description: null,
      expires_at: null,
    });
    assert.deepEqual([body.secret_type, body.access_tier, body.tags], ['custom', 'standard', []]);
    assert.deepEqual([body.metadata, body.description, body.expires_at], [null, null, null]);
  });

  await t.test('without a value is refused, and changes nothing', async () => {
    const made = await aSecret('value/K', { value: 'stays' });
    for (const json of [undefined, {}, { value: null }, { tags: [] }]) {
      const answer = await put('value/K', json);
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/value' } });
    }
    const post = await ask(adminKey, 'POST /v1/secrets', { json: { path: 'value/NEW' } });
    assertRefused(post, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/value' } });
    assert.deepEqual((await ask(adminKey, 'GET /v1/secrets/value/K')).body, { ...made, value: 'stays' });
  });

  await t.test('with a value of another type is refused: nothing is coerced', async () => {
    for (const value of [1, true, [], {}, ['v']]) {
      const answer = await put('types/K', { value });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/value' } });
      const rotated = await ask(adminKey, 'POST /v1/secrets/types/K/rotate', { json: { new_value: value } });
      assertRefused(rotated, {
        status: 400,
        code: 'VALIDATION_ERROR',
        details: { pointer: '/new_value' },
      });
    }
  });

  await t.test('with a member that nobody knows is refused, and names it', async () => {
    await aSecret('unknown/K');
    for (const [line, json, pointer] of [
      ['PUT /v1/secrets/unknown/K', { value: 'v', path: 'unknown/K' }, '/path'],
      ['PUT /v1/secrets/unknown/K', { value: 'v', access_Tier: 'standard' }, '/access_Tier'],
      ['PUT /v1/secrets/unknown/K', { value: 'v', version: 1 }, '/version'],
      ['POST /v1/secrets', { path: 'unknown/L', value: 'v', namespace: 'unknown' }, '/namespace'],
      ['POST /v1/secrets/unknown/K/rotate', { value: 'v' }, '/value'],
      ['DELETE /v1/secrets/unknown/K', { force: true }, '/force'],
      ['POST /v1/secrets/import', { namespace: 'unknown', content: 'A=1', tags: ['x'] }, '/tags'],
    ] as const) {
      const answer = await ask(adminKey, line, { json });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, line);
    }
    assert.equal((await ask(adminKey, 'GET /v1/secrets/unknown/K')).body.version, 1);
  });

  await t.test('with a query parameter is refused', async () => {
    await aSecret('query/K');
    for (const [line, json] of [
      ['GET /v1/secrets/query/K?vers=1'],
      ['PUT /v1/secrets/query/K?version=1', { value: 'v' }],
      ['POST /v1/secrets/query/K/rotate?force=1', {}],
      ['DELETE /v1/secrets/query/K?version=1'],
      ['POST /v1/secrets?namespace=query', { path: 'query/L', value: 'v' }],
      ['POST /v1/secrets/import?overwrite=1', { namespace: 'query', content: 'K=v' }],
      ['GET /v1/namespaces?prefix=q'],
      ['GET /v1/secrets?namespace=query&version=1'],
      ['GET /v1/secrets?namespace=query&deep=1'],
    ] as [string, unknown?][]) {
      const pointer = `/${/(\w+)=\w+$/.exec(line)?.[1]}`;
      const answer = await ask(adminKey, line, { json });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, line);
    }
    assert.equal((await ask(adminKey, 'GET /v1/secrets/query/K')).body.version, 1);
  });
});

test('If-Match', { skip: postgresSkip }, async (t) => {
  const { ask, aSecret, anAgent, aToken, usesOf, eventsOf, adminKey } = await buildSecretCalls(t);
  const given = (ifMatch: string, json?: unknown) => ({
    headers: { 'if-match': ifMatch },
    ...(json === undefined ? {} : { json }),
  });
  const CONFLICT = { status: 409, code: 'VERSION_CONFLICT' };
  /** Versions in form: some that the column does not hold, and one that no number does. */
  const BEYOND_ALL = ['1000000000', '2147483648', '"9999999999"', '99999999999999999999', '9'.repeat(400)];
  /** Each change of one secret that exists. */
  const changes = (path: string): [string, unknown?][] => [
    [`PUT /v1/secrets/${path}`, { value: 'changed' }],
    [`POST /v1/secrets/${path}/rotate`, { new_value: 'changed' }],
    [`DELETE /v1/secrets/${path}`],
  ];

  await t.test('with the newest version lets a change through, with quotes or without', async () => {
    for (const form of ['2', '"2"']) {
      for (const [index, [line, json]] of changes('match/K').entries()) {
        await ask(adminKey, 'DELETE /v1/secrets/match/K');
        await aSecret('match/K');
        await aSecret('match/K');
        const answer = await ask(adminKey, line, given(form, json));
        assert.equal(answer.status, index === 2 ? 204 : 200, `${form} ${line} ${answer.text}`);
      }
    }
  });

  await t.test('with any other version is 409 and changes nothing, not even a use', async () => {
    const { token, id } = await aToken({ maxUses: 5 });
    await aSecret('other/K', { value: 'one' });
    const made = await aSecret('other/K', { value: 'two' });
    const events = await eventsOf(async () => {
      for (const as of [adminKey, token]) {
        for (const form of ['1', '3', '"1"', '999999999', ...BEYOND_ALL]) {
          for (const [line, json] of changes('other/K')) {
            assertRefused(await ask(as, line, given(form, json)), CONFLICT, `${form} ${line}`);
          }
        }
      }
    });
    assert.deepEqual(events, []);
    assert.equal(await usesOf({ id, token }), 0);
    assert.deepEqual((await ask(adminKey, 'GET /v1/secrets/other/K')).body, { ...made, value: 'two' });
  });

  await t.test('over what does not exist is 409, and nothing comes into being', async () => {
    for (const [line, json] of changes('absent/K')) {
      for (const form of ['1', ...BEYOND_ALL]) {
        assertRefused(await ask(adminKey, line, given(form, json)), CONFLICT, `${form} ${line}`);
      }
    }
    const post = await ask(adminKey, 'POST /v1/secrets', given('1', { path: 'absent/K', value: 'v' }));
    assertRefused(post, CONFLICT);
    const read = await ask(adminKey, 'GET /v1/secrets/absent/K');
    assertRefused(read, { status: 404, code: 'SECRET_NOT_FOUND' });
  });

  await t.test('does not let a POST over what exists', async () => {
    await aSecret('there/K');
    const answer = await ask(adminKey, 'POST /v1/secrets', given('1', { path: 'there/K', value: 'v' }));
    assert.equal(answer.status, 409);
  });

  await t.test('in any other form is 400 and changes nothing', async () => {
    await aSecret('form/K');
    for (const form of [
      '',
      '*',
      '"*"',
      'W/"1"',
      '"1',
      '1"',
      '""',
      '"1", "2"',
      '1,2',
      '0',
      '"0"',
      '-1',
      '+1',
      '01',
      '1.0',
      '1e0',
      '0x1',
      "'1'",
      'one',
      '"1" x',
    ]) {
      for (const [line, json] of changes('form/K')) {
        const answer = await ask(adminKey, line, given(form, json));
        assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' }, `${form} ${line}`);
      }
      const post = await ask(adminKey, 'POST /v1/secrets', given(form, { path: 'form/L', value: 'v' }));
      assertRefused(post, { status: 400, code: 'VALIDATION_ERROR' }, form);
    }
    assert.equal((await ask(adminKey, 'GET /v1/secrets/form/K')).body.version, 1);
  });

  await t.test('tells the version of no secret that may not be opened', async () => {
    const agent = await anAgent('secrets:*:closed/*');
    await aSecret('closed/K', { access_tier: 'sensitive' });
    for (const form of ['1', '2']) {
      for (const [line, json] of changes('closed/K')) {
        const answer = await ask(agent.key, line, given(form, json));
        assertRefused(answer, { status: 403, code: 'APPROVAL_REQUIRED' }, `${form} ${line}`);
      }
      for (const [line, json] of changes('elsewhere/K')) {
        const answer = await ask(agent.key, line, given(form, json));
        assertRefused(answer, { status: 403, code: 'SCOPE_DENIED' }, `${form} ${line}`);
      }
    }
  });

  await t.test('makes of two changes to one version one', async () => {
    await aSecret('twice/K');
    const answers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((value) => ask(adminKey, 'PUT /v1/secrets/twice/K', given('1', { value }))),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409]);
    assert.equal((await ask(adminKey, 'GET /v1/secrets/twice/K')).body.version, 2);
  });
});
