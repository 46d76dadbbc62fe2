/**
 * A secret past its `expires_at` (contract section 6): it reads as absent, yet keeps id, tier and versions; a write that
 * names no expiry over one that has passed lets the secret live on without one.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type ListView, type SecretView } from './secret-calls.ts';

const ABSENT = { status: 404, code: 'SECRET_NOT_FOUND' };
const FUTURE = '2999-01-01T00:00:00.000Z';

test('an expired secret', { skip: postgresSkip }, async (t) => {
  const { ask, aSecret, anAgent, aToken, usesOf, expire, eventsOf, sql, adminKey } =
    await buildSecretCalls(t);
  const agent = await anAgent('secrets:*:*');
  const read = (path: string, as = adminKey) => ask(as, `GET /v1/secrets/${path}`);

  /** Two versions, `one` and `two`, and past its time. */
  const anExpired = async (path: string, members: Record<string, unknown> = {}): Promise<SecretView> => {
    await aSecret(path, { value: 'one', ...members });
    const second = await aSecret(path, { value: 'two' });
    await expire(path);
    return second;
  };

  await t.test('reads as absent, each version of it as well, and takes no use', async () => {
    await anExpired('gone/K');
    const limited = await aToken({ by: agent.key, maxUses: 5 });
    const events = await eventsOf(async () => {
      for (const as of [adminKey, agent.key, limited.token]) {
        for (const query of ['', '?version=1', '?version=2', '?version=3']) {
          assertRefused(await read(`gone/K${query}`, as), ABSENT, query);
        }
      }
    });
    // Equal ones are counted, whichever version they name.
    assert.deepEqual(
      events.map(({ event_type, metadata }) => `${event_type} ${metadata['code']}`),
      ['secret.denied', 'secret.denied', 'token.denied'].map((type) => `${type} ${ABSENT.code}`),
    );
    assert.equal(await usesOf(limited), 0);
  });

  await t.test('that is sensitive reads as absent too, not as refused', async () => {
    await anExpired('gone/S', { access_tier: 'critical' });
    assertRefused(await read('gone/S', agent.key), ABSENT);
  });

  await t.test('is in no list and no count', async () => {
    await aSecret('counted/LIVE');
    await anExpired('counted/GONE');
    await anExpired('empty/GONE');
    const list = await ask<ListView>(adminKey, 'GET /v1/secrets/counted');
    assert.deepEqual(
      list.body.items.map(({ key }) => key),
      ['LIVE'],
    );
    assert.deepEqual((await ask<ListView>(adminKey, 'GET /v1/secrets/empty')).body.items, []);
    const { body } = await ask<{ items: { namespace: string; secret_count: number }[] }>(
      adminKey,
      'GET /v1/namespaces',
    );
    const counts = new Map(body.items.map((item) => [item.namespace, item.secret_count]));
    assert.deepEqual([counts.get('counted'), counts.get('empty')], [1, undefined]);
    const only = await anAgent('secrets:read:counted/*', 'secrets:read:empty/*');
    const me = await ask<{ secret_count: number }>(only.key, 'GET /v1/me');
    assert.equal(me.body.secret_count, 1);
  });

  await t.test('makes a nested namespace no less empty', async () => {
    await anExpired('hollow/deep/GONE');
    assertRefused(await read('hollow/deep'), ABSENT);
  });

  await t.test('cannot be rotated, and a version of it cannot be matched', async () => {
    await anExpired('matched/K');
    assertRefused(await ask(adminKey, 'POST /v1/secrets/matched/K/rotate'), ABSENT);
    for (const [line, json] of [
      ['PUT /v1/secrets/matched/K', { value: 'x' }],
      ['POST /v1/secrets/matched/K/rotate'],
      ['DELETE /v1/secrets/matched/K'],
    ] as [string, unknown?][]) {
      for (const version of ['1', '2', '3']) {
        const answer = await ask(adminKey, line, { json, headers: { 'if-match': version } });
        assertRefused(answer, { status: 409, code: 'VERSION_CONFLICT' }, `${line} ${version}`);
      }
    }
  });

  await t.test('is in the way of a POST', async () => {
    await anExpired('post/K');
    const json = { path: 'post/K', value: 'x' };
    for (const as of [adminKey, agent.key]) {
      assertRefused(await ask(as, 'POST /v1/secrets', { json }), { status: 409, code: 'ALREADY_EXISTS' });
    }
    assertRefused(await read('post/K'), ABSENT);
  });

  await t.test(
    'that is written over goes on counting under its id, and what came before stays shut',
    async () => {
      // Only administrators are shown that there are canaries.
      const { canary: _, ...before } = await anExpired('over/K', {
        tags: ['t'],
        metadata: { a: 1 },
        description: 'd',
      });
      const put = await ask(agent.key, 'PUT /v1/secrets/over/K', { json: { value: 'three' } });
      assert.equal(put.status, 200);
      const { updated_at } = put.body;
      assert.deepEqual(put.body, { ...before, version: 3, updated_at, expires_at: null });
      assert.deepEqual((await read('over/K')).body, { ...put.body, canary: false, value: 'three' });
      assert.equal((await read('over/K?version=3')).status, 200);
      for (const version of [1, 2]) {
        for (const as of [adminKey, agent.key])
          assertRefused(await read(`over/K?version=${version}`, as), ABSENT);
      }
      await aSecret('over/K', { value: 'four' });
      assert.equal((await read('over/K?version=3')).body.value, 'three', 'what came after it is readable');
      assertRefused(await read('over/K?version=2'), ABSENT);
    },
  );

  await t.test('that is written over with another expiry has that one', async () => {
    await anExpired('until/K');
    const { body } = await ask(adminKey, 'PUT /v1/secrets/until/K', {
      json: { value: 'x', expires_at: FUTURE },
    });
    assert.equal(body.expires_at, FUTURE);
    assert.equal((await read('until/K')).status, 200);
  });

  await t.test('twice over opens only what was written since', async () => {
    await anExpired('twice/K');
    await aSecret('twice/K', { value: 'three' });
    await expire('twice/K');
    await aSecret('twice/K', { value: 'four' });
    const answers = [];
    for (const version of [1, 2, 3, 4]) answers.push((await read(`twice/K?version=${version}`)).status);
    assert.deepEqual(answers, [404, 404, 404, 200]);
  });

  await t.test('keeps its tier: writing over it or destroying it takes what it took before', async () => {
    await anExpired('tier/K', { access_tier: 'sensitive' });
    const approved = await aToken({ by: agent.key, tier: 'sensitive' });
    for (const [line, json] of [
      ['PUT /v1/secrets/tier/K', { value: 'x' }],
      ['POST /v1/secrets/import', { namespace: 'tier', content: 'K=x' }],
      ['DELETE /v1/secrets/tier/K'],
    ] as [string, unknown?][]) {
      const answer = await ask(agent.key, line, { json });
      assertRefused(answer, { status: 403, code: 'APPROVAL_REQUIRED' }, line);
    }
    const lowered = await ask(approved.token, 'PUT /v1/secrets/tier/K', {
      json: { value: 'x', tier: 'standard' },
    });
    assertRefused(lowered, { status: 403, code: 'FORBIDDEN' });
    const kept = await ask(approved.token, 'PUT /v1/secrets/tier/K', { json: { value: 'x' } });
    assert.deepEqual([kept.status, kept.body.tier, kept.body.version], [200, 'sensitive', 3]);
  });

  await t.test('is imported over like any other that exists', async () => {
    const before = await anExpired('imported/K', { secret_type: 'ssh_key', metadata: { a: 1 } });
    const json = { namespace: 'imported', content: 'K=three', secret_type: 'api_key', metadata: { b: 2 } };
    assert.equal((await ask(adminKey, 'POST /v1/secrets/import', { json })).status, 200);
    const { body } = await read('imported/K');
    assert.deepEqual(
      [body.id, body.version, body.secret_type, body.metadata, body.expires_at, body.value],
      [before.id, 3, 'ssh_key', { a: 1 }, null, 'three'],
    );
    assertRefused(await read('imported/K?version=2'), ABSENT);
  });

  await t.test('is destroyed by DELETE with all its versions, and what follows is another', async () => {
    const before = await anExpired('destroyed/K');
    assert.equal((await ask(agent.key, 'DELETE /v1/secrets/destroyed/K')).status, 204);
    const [left] = await sql(
      `select (select count(*) from secrets where id = $1)::int as secrets,
        (select count(*) from secret_versions where secret_id = $1)::int as versions`,
      [before.id],
    );
    assert.deepEqual(left, { secrets: 0, versions: 0 });
    assertRefused(await ask(adminKey, 'DELETE /v1/secrets/destroyed/K'), ABSENT);
    const post = await ask(adminKey, 'POST /v1/secrets', { json: { path: 'destroyed/K', value: 'x' } });
    assert.deepEqual([post.status, post.body.version], [201, 1]);
    assert.notEqual(post.body.id, before.id);
  });

  await t.test('was one from the moment that it was given a past', async () => {
    const json = { value: 'x', expires_at: '2001-01-01T00:00:00Z' };
    assert.equal((await ask(adminKey, 'PUT /v1/secrets/past/K', { json })).status, 201);
    assertRefused(await read('past/K'), ABSENT);
    await aSecret('past/L', { value: 'one' });
    assert.equal((await ask(adminKey, 'PUT /v1/secrets/past/L', { json })).status, 200);
    assertRefused(await read('past/L'), ABSENT);
    assertRefused(await read('past/L?version=1'), ABSENT);
  });
});
