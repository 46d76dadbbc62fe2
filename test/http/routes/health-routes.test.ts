/** `health.accepts`, `.refuses`: the process is there without a credential; a credential that is sent is checked. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, errorOf } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

const WRONG_KEY = 'ak_live_0123456789abcdef00112233445566778899aabbccddeeff001122333a4fc082';

test('health', { skip: postgresSkip }, async (t) => {
  const { call, adminKey, createAgent, sql } = await buildTestApp(t);

  for (const url of ['/health', '/v1/health']) {
    await t.test(
      `${url} tells that the process is there, without a credential and with a good one`,
      async () => {
        for (const key of [{}, { key: adminKey }, { key: (await createAgent({ role: 'approver' })).key }]) {
          const answer = await call<{ version: string }>({ method: 'GET', url, ...key });
          assert.equal(answer.status, 200);
          assert.match(answer.body.version, /^\d+\.\d+\.\d+$/);
          assert.deepEqual(answer.body, { success: true, status: 'ok', version: answer.body.version });
        }
      },
    );

    await t.test(`${url} refuses a wrong key that is sent, although none is needed`, async () => {
      for (const headers of [
        { 'x-api-key': WRONG_KEY },
        { authorization: `Bearer ${WRONG_KEY}` },
        { 'x-api-key': 'nonsense' },
        { authorization: 'Basic YTpi' },
        { 'x-api-key': adminKey, authorization: `Bearer ${WRONG_KEY}` },
      ]) {
        const answer = await call({ method: 'GET', url, headers });
        assertRefused(answer, { status: 401, code: url === '/health' ? 'AUTH_INVALID_KEY' : 'UNAUTHORIZED' });
      }
    });

    await t.test(`${url} refuses a revoked key at once, although it is remembered`, async () => {
      const agent = await createAgent();
      assert.equal((await call({ method: 'GET', url, key: agent.key })).status, 200);
      await sql('update agents set revoked_at = now() where id = $1', [agent.id]);
      assert.equal((await call({ method: 'GET', url, key: agent.key })).status, 401);
    });
  }

  await t.test('an unknown query parameter is refused', async () => {
    for (const url of ['/health?x=1', '/v1/health?x', '/ready?verbose=1']) {
      const answer = await call({ method: 'GET', url });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' });
      assert.match(String(errorOf(answer).details?.['pointer']), /^\/(x|verbose)$/);
    }
  });
});

test('ready', { skip: postgresSkip }, async (t) => {
  await t.test('a database that takes writes is ready', async (t) => {
    const { call, sql } = await buildTestApp(t);
    const answer = await call({ method: 'GET', url: '/ready' });
    assert.deepEqual([answer.status, answer.body], [200, { status: 'ready', integrity_errors: 0 }]);
    assert.equal((await sql('select 1 from heartbeat')).length, 1);
  });

  await t.test('a database that does not take writes is not, and the answer does not tell why', async (t) => {
    const { call, sql } = await buildTestApp(t);
    await sql('drop table heartbeat');
    const answer = await call({ method: 'GET', url: '/ready' });
    assertRefused(answer, { status: 503, code: 'UNAVAILABLE' });
    assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
    assert.doesNotMatch(answer.text, /heartbeat|database|relation|migration/i);
  });

  await t.test('a database whose migrations are not current is not', async (t) => {
    const { call, sql } = await buildTestApp(t);
    await sql('delete from schema_migrations');
    assertRefused(await call({ method: 'GET', url: '/ready' }), { status: 503, code: 'UNAVAILABLE' });
  });
});
