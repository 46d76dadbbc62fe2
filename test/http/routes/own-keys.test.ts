/** `/api-keys`: one's own keys and nobody else's, and never the one in use (contract section 4.8). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Key {
  readonly id: string;
  readonly status: string;
  readonly prefix: string;
}

test('own keys', { skip: postgresSkip }, async (t) => {
  const { call, createAgent, adminKey, sql } = await buildTestApp(t);
  const list = (key: string) => call<{ data: Key[] }>({ method: 'GET', url: '/api-keys', key });
  const revoke = (key: string, id: string) =>
    call({ method: 'POST', url: `/api-keys/${id}/revoke`, key, json: {} });
  const addKey = async (agentId: string, json: object = {}) => {
    const { body } = await call<{ id: string; api_key: string }>({
      method: 'POST',
      url: `/v1/agents/${agentId}/keys`,
      key: adminKey,
      json,
    });
    return body;
  };

  await t.test('lists every key of the caller with its state, and no key itself', async () => {
    const agent = await createAgent();
    await createAgent();
    const [expired, revoked, second] = [
      await addKey(agent.id, { name: 'old' }),
      await addKey(agent.id),
      await addKey(agent.id, { expires_at: '2999-01-01T00:00:00Z' }),
    ];
    await sql("update api_keys set expires_at = now() - interval '1 second' where key_id = $1", [expired.id]);
    await sql('update api_keys set revoked_at = now() where key_id = $1', [revoked.id]);
    const { status, body, text } = await list(agent.key);
    assert.equal(status, 200);
    assert.deepEqual(
      body.data.map(({ id, status: state }) => [id, state]),
      [
        [agent.keyId, 'active'],
        [expired.id, 'expired'],
        [revoked.id, 'revoked'],
        [second.id, 'active'],
      ],
    );
    for (const { api_key } of [expired, revoked, second]) assert.ok(!text.includes(api_key.slice(24)));
    assert.equal(body.data[0]?.prefix, agent.key.slice(0, 24));
  });

  await t.test(
    'revokes another key of the caller at once, again is fine, and it is on record once',
    async () => {
      for (const role of ['agent', 'approver', 'admin'] as const) {
        const agent = await createAgent({ role });
        const other = await addKey(agent.id);
        assert.equal((await list(other.api_key)).status, 200);
        for (const _ of [1, 2]) {
          const { status, body } = await revoke(agent.key, other.id);
          assert.deepEqual([status, body], [200, { success: true, id: other.id, status: 'revoked' }]);
        }
        assertRefused(await list(other.api_key), { status: 401, code: 'AUTH_INVALID_KEY' });
        const events = await sql(
          "select actor_id, metadata from audit_events where event_type = 'key.revoked' and resource_id = $1",
          [other.id],
        );
        assert.deepEqual(events, [{ actor_id: agent.id, metadata: { agent_id: agent.id } }]);
      }
    },
  );

  await t.test('the key in use stays', async () => {
    const agent = await createAgent();
    assertRefused(await revoke(agent.key, agent.keyId), { status: 403, code: 'FORBIDDEN' });
    assert.equal((await list(agent.key)).status, 200);
  });

  await t.test('somebody else’s key looks like one that is not there, to an administrator too', async () => {
    const [agent, other] = [await createAgent(), await createAgent()];
    for (const [key, id] of [
      [agent.key, other.keyId],
      [adminKey, other.keyId],
      [agent.key, '0123456789abcdef'],
      [agent.key, 'no-key'],
      [agent.key, other.key],
      [agent.key, '%00'],
    ] as const) {
      assertRefused(await revoke(key, id), { status: 404, code: 'NOT_FOUND' }, id);
    }
    assert.equal((await list(other.key)).status, 200);
  });
});
