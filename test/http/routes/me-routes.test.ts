/** `GET /v1/me`: who am I? Nothing in the answer is null, and a dead key is told nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

test('me', { skip: postgresSkip }, async (t) => {
  const { call, adminKey, createAgent, sql } = await buildTestApp(t);
  const me = (key: string) => call<Record<string, unknown>>({ method: 'GET', url: '/v1/me', key });

  await t.test('an agent sees itself, its effective scopes and the key it used', async () => {
    const agent = await createAgent({
      name: 'reader',
      allowed_scopes: ['secrets:read:*'],
      allowed_namespaces: ['team/a'],
    });
    const { status, body } = await me(agent.key);
    assert.equal(status, 200);
    assert.deepEqual(body, {
      id: agent.id,
      name: 'reader',
      role: 'agent',
      email: '',
      plan: 'self-hosted',
      subscription_status: 'active',
      secret_count: 0,
      agent_count: 1,
      allowed_scopes: ['secrets:read:team/a/*'],
      api_key_id: agent.keyId,
      api_key_prefix: agent.key.slice(0, 24),
    });
  });

  await t.test('every role may ask, and no member is ever null', async () => {
    const approver = await createAgent({ role: 'approver' });
    const plain = await createAgent();
    for (const [key, role] of [
      [adminKey, 'admin'],
      [approver.key, 'approver'],
      [plain.key, 'agent'],
    ] as const) {
      const { status, body } = await me(key);
      assert.equal(status, 200);
      assert.equal(body['role'], role);
      assert.ok(Object.values(body).every((value) => value !== null && value !== undefined));
    }
    assert.deepEqual((await me(plain.key)).body['allowed_scopes'], []);
    assert.deepEqual((await me(approver.key)).body['allowed_scopes'], []);
  });

  await t.test('revoked agents, approvers and admins are not counted as agents', async () => {
    const before = Number((await me(adminKey)).body['agent_count']);
    const { id } = await createAgent();
    await createAgent({ role: 'admin' });
    assert.equal((await me(adminKey)).body['agent_count'], before + 1);
    await call({ method: 'DELETE', url: `/v1/agents/${id}`, key: adminKey });
    assert.equal((await me(adminKey)).body['agent_count'], before);
  });

  await t.test('of several keys, the one in use is shown', async () => {
    const { id } = await createAgent();
    const { body } = await call<{ id: string; api_key: string; prefix: string }>({
      method: 'POST',
      url: `/v1/agents/${id}/keys`,
      key: adminKey,
      json: {},
    });
    const shown = (await me(body.api_key)).body;
    assert.deepEqual([shown['api_key_id'], shown['api_key_prefix']], [body.id, body.prefix]);
  });

  await t.test('a key that has been refused is refused again from memory', async () => {
    const agent = await createAgent();
    await sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
    for (let times = 0; times < 3; times += 1) {
      assertRefused(await me(agent.key), { status: 401, code: 'UNAUTHORIZED' });
    }
    const denied = await sql(
      "select actor_id, actor_type from audit_events where event_type = 'auth.denied' and resource_id = $1",
      [agent.keyId],
    );
    assert.deepEqual(denied, [{ actor_id: agent.id, actor_type: 'agent' }], 'on record, and once');
  });
});
