/** `GET /policy/bundles/current`: one's own policy and nobody else's, never null, and 304 while it is the same (contract section 4.8). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Bundle {
  readonly agents: readonly {
    readonly agentId: string;
    readonly name: string;
    readonly inactive: boolean;
    readonly policy: {
      readonly document: {
        readonly defaults: unknown;
        readonly statements: readonly {
          readonly effect: string;
          readonly match: { readonly tool: string };
        }[];
      };
    };
    readonly tools: unknown[];
    readonly members: unknown[];
  }[];
}

test('policy bundles', { skip: postgresSkip }, async (t) => {
  const { call, createAgent, adminKey } = await buildTestApp(t);
  const bundle = (key: string, query = '', headers: Record<string, string> = {}) =>
    call<Bundle>({ method: 'GET', url: `/policy/bundles/current${query}`, key, headers });
  const rulesOf = ({ agents }: Bundle) =>
    agents[0]?.policy.document.statements.map(({ effect, match }) => `${effect} ${match.tool}`);

  await t.test('names the key’s own agent by id, by name, or where it is not asked for one', async () => {
    const agent = await createAgent({ policy: { deny: ['*/delete'] } });
    const other = await createAgent({ policy: { allow: [] } });
    for (const query of ['', `?agent=${agent.id}`, `?agent=${agent.name}`]) {
      const { status, body } = await bundle(agent.key, query);
      assert.equal(status, 200);
      assert.deepEqual(rulesOf(body), ['block delete', 'allow **']);
      const [entry] = body.agents;
      assert.deepEqual(
        [entry?.agentId, entry?.name, entry?.inactive, entry?.tools, entry?.members],
        [agent.id, agent.name, false, [], []],
      );
      assert.deepEqual(entry?.policy.document.defaults, { tools: 'block' });
    }
    for (const query of [`?agent=${other.id}`, `?agent=${other.name}`, '?agent=nobody', '?agent=*']) {
      assert.deepEqual((await bundle(agent.key, query)).body, { agents: [] }, query);
    }
    assertRefused(await bundle(agent.key, '?agent='), { status: 400, code: 'VALIDATION_ERROR' });
    assertRefused(await bundle(agent.key, '?agent=a&agent=b'), { status: 400, code: 'VALIDATION_ERROR' });
  });

  await t.test('without a policy of the operator it says in words that everything is allowed', async () => {
    for (const key of [adminKey, (await createAgent()).key]) {
      assert.deepEqual(rulesOf((await bundle(key)).body), ['allow **']);
    }
  });

  await t.test('is 304 while nothing changed, and never for another agent or another policy', async () => {
    const agent = await createAgent({ policy: { deny: ['*/delete'] } });
    const first = await bundle(agent.key, `?agent=${agent.name}`);
    const etag = first.headers['etag'] ?? '';
    assert.match(etag, /^"[0-9a-f]{32}"$/);
    const again = await bundle(agent.key, `?agent=${agent.name}`, { 'if-none-match': etag });
    assert.deepEqual([again.status, again.text, again.headers['etag']], [304, '', etag]);
    const other = await createAgent({ policy: { deny: ['*/delete'] } });
    assert.equal((await bundle(other.key, '', { 'if-none-match': etag })).status, 200);
    assert.equal((await bundle(agent.key, '?agent=nobody', { 'if-none-match': etag })).status, 200);
    await call({
      method: 'PATCH',
      url: `/v1/agents/${agent.id}`,
      key: adminKey,
      json: { policy: { deny: ['*/delete', '*/drop'] } },
    });
    const changed = await bundle(agent.key, `?agent=${agent.name}`, { 'if-none-match': etag });
    assert.equal(changed.status, 200);
    assert.deepEqual(rulesOf(changed.body), ['block delete', 'block drop', 'allow **']);
  });

  await t.test('a dead key is told nothing, not even that nothing changed', async () => {
    const agent = await createAgent();
    const etag = (await bundle(agent.key)).headers['etag'] ?? '';
    await call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: adminKey });
    for (const headers of [{}, { 'if-none-match': etag }, { 'if-none-match': '*' }]) {
      assertRefused(await bundle(agent.key, '', headers), { status: 401, code: 'AUTH_INVALID_KEY' });
    }
  });
});
