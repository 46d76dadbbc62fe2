/** `POST /iap/enforce` on two processes: what was granted is on record, and nothing is granted by a policy or a key that has ended. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, openTestApp } from '../../support/app.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';

const CALLS = 32;

test('two processes that enforce one policy', { skip: postgresSkip }, async (t) => {
  const first = await buildTestApp(t);
  const second = await openTestApp(t, first.databaseUrl);
  const { adminKey, createAgent, sql } = first;
  const enforce = (app: typeof first, key: string) =>
    app.call<{ allowed: boolean }>({ method: 'POST', url: '/iap/enforce', key, json: { tool_name: 'tool' } });
  const grantsOf = async (agentId: string) => {
    const [row] = await sql<{ grants: number }>(
      `select count(*)::int as grants from audit_events
       where event_type = 'intent.enforced' and actor_id = $1 and metadata->>'allowed' = 'true'`,
      [agentId],
    );
    return row?.grants;
  };

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(`round ${round}: a policy that is narrowed grants nothing more, anywhere`, async () => {
      const agent = await createAgent({ policy: { allow: ['*'] } });
      // Both remember the key with its policy.
      for (const app of [first, second]) assert.equal((await enforce(app, agent.key)).body.allowed, true);
      const narrowed = first.call({
        method: 'PATCH',
        url: `/v1/agents/${agent.id}`,
        key: adminKey,
        json: { policy: { deny: ['*/tool'] } },
      });
      const during = Array.from({ length: CALLS }, (_, index) =>
        enforce(index % 2 ? first : second, agent.key),
      );
      assert.equal((await narrowed).status, 200);
      for (const app of [second, first]) assert.equal((await enforce(app, agent.key)).body.allowed, false);
      const answers = await Promise.all(during);
      assert.ok(answers.every(({ status }) => status === 200));
      const granted = answers.filter(({ body }) => body.allowed).length;
      assert.equal(await grantsOf(agent.id), granted + 2, 'every grant is on record, and no other');
    });

    await t.test(
      `round ${round}: a principal that is revoked is granted nothing more, anywhere`,
      async () => {
        const agent = await createAgent();
        for (const app of [first, second]) assert.equal((await enforce(app, agent.key)).body.allowed, true);
        const revoked = first.call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: adminKey });
        const during = Array.from({ length: CALLS }, (_, index) =>
          enforce(index % 2 ? first : second, agent.key),
        );
        assert.equal((await revoked).status, 204);
        for (const app of [second, first]) assert.equal((await enforce(app, agent.key)).status, 401);
        const granted = (await Promise.all(during)).filter(({ body }) => body.allowed).length;
        assert.equal(await grantsOf(agent.id), granted + 2);
      },
    );
  }
});
