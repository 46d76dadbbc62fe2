/** Two keys of one principal that revoke each other, on two processes: one of them stays. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, openTestApp } from '../../support/app.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';

const PAIRS = 8;

test('two keys that revoke each other', { skip: postgresSkip }, async (t) => {
  const first = await buildTestApp(t);
  const second = await openTestApp(t, first.databaseUrl);
  const { adminKey, createAgent, call, sql } = first;
  const revoke = (app: typeof first, key: string, id: string) =>
    app.call({ method: 'POST', url: `/api-keys/${id}/revoke`, key, json: {} });

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(
      `round ${round}: exactly one of each pair stays live, and one revocation is on record`,
      async () => {
        const pairs = await Promise.all(
          Array.from({ length: PAIRS }, async () => {
            const agent = await createAgent();
            const { body: other } = await call<{ id: string; api_key: string }>({
              method: 'POST',
              url: `/v1/agents/${agent.id}/keys`,
              key: adminKey,
              json: {},
            });
            return { agent, other };
          }),
        );
        // A key that a process has seen costs it no bcrypt, whose queue is short.
        for (const { agent, other } of pairs) {
          for (const [app, key] of [
            [first, agent.key],
            [second, other.api_key],
          ] as const) {
            assert.equal((await app.call({ method: 'GET', url: '/api-keys', key })).status, 200);
          }
        }
        await Promise.all(
          pairs.map(async ({ agent, other }) => {
            const answers = await Promise.all([
              revoke(first, agent.key, other.id),
              revoke(second, other.api_key, agent.keyId),
            ]);
            assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401]);
            const live = await sql('select key_id from api_keys where agent_id = $1 and revoked_at is null', [
              agent.id,
            ]);
            assert.equal(live.length, 1);
            const events = await sql(
              "select id from audit_events where event_type = 'key.revoked' and actor_id = $1",
              [agent.id],
            );
            assert.equal(events.length, 1);
          }),
        );
      },
    );
  }
});
