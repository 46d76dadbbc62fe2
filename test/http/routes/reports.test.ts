/** What clients report of themselves (contract section 4.8): kept as their claim, bounded, and without what tools saw. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

/** As `armoriq-sdk` 0.8.17 sends it. */
const FROM_SDK = {
  step_index: 0,
  action: 'send',
  tool: 'send',
  mcp: 'mail-mcp',
  status: 'success',
  duration_ms: null,
  is_delegated: null,
  executed_at: '2026-11-30T19:10:16.123456Z',
  input: {},
};

test('reports', { skip: postgresSkip }, async (t) => {
  const { call, createAgent, adminKey, sql } = await buildTestApp(t);
  const post = <Body = Record<string, unknown>>(key: string, url: string, json: unknown) =>
    call<Body>({ method: 'POST', url, key, json });
  const reportsOf = (agentId: string) =>
    sql<{ resource_type: string; resource_id: string; metadata: Record<string, unknown> }>(
      `select resource_type, resource_id, metadata from audit_events
       where event_type = 'intent.reported' and actor_id = $1 order by created_at, id`,
      [agentId],
    );

  await t.test('a step is on record as what the client claims', async () => {
    const agent = await createAgent();
    const { status, body } = await post(agent.key, '/iap/audit', { ...FROM_SDK, duration_ms: 12.5 });
    assert.deepEqual([status, body], [200, { success: true }]);
    const { input: _input, is_delegated: _none, ...claimed } = FROM_SDK;
    assert.deepEqual(await reportsOf(agent.id), [
      {
        resource_type: 'tool',
        resource_id: 'mail-mcp/send',
        metadata: { claimed: { ...claimed, duration_ms: 12.5 }, credential: agent.keyId },
      },
    ]);
  });

  await t.test('what a tool was given and answered is accepted and stored nowhere', async () => {
    const agent = await createAgent();
    const CANARY = 'canary-93ab';
    const row = {
      ...FROM_SDK,
      input: { [CANARY]: CANARY },
      output: [CANARY, '\u0000'],
      error_message: CANARY,
      token: CANARY,
    };
    assert.equal((await post(agent.key, '/iap/audit', row)).status, 200);
    assert.equal((await post(agent.key, '/iap/audit/batch', { rows: [row] })).status, 200);
    const reports = await reportsOf(agent.id);
    assert.equal(reports.length, 2);
    assert.ok(!JSON.stringify(reports).includes(CANARY));
  });

  await t.test('every member is bounded', async () => {
    const agent = await createAgent();
    for (const [member, values] of Object.entries({
      step_index: [-1, 0.5, 2 ** 31, '0'],
      action: ['x'.repeat(257), 1, 'a\u0000'],
      status: ['x'.repeat(257), true],
      mcp: ['x'.repeat(257)],
      duration_ms: [-1, 1e12, '1'],
      executed_at: ['yesterday', '2026-11-30', 1],
      plan_id: ['x'.repeat(257), {}],
      surprise: [1],
    })) {
      for (const value of values) {
        const answer = await post(agent.key, '/iap/audit', { ...FROM_SDK, [member]: value });
        assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: `/${member}` } });
      }
    }
    assert.deepEqual(await reportsOf(agent.id), []);
  });

  await t.test('a batch writes the rows that are good, and names the others', async () => {
    const agent = await createAgent();
    const rows = [
      FROM_SDK,
      { ...FROM_SDK, step_index: -1 },
      { ...FROM_SDK, step_index: 2 },
      'no row',
      null,
      { ...FROM_SDK, surprise: 1 },
      {},
    ];
    const { status, body } = await post<{ written: number; failures: { index: number; error: string }[] }>(
      agent.key,
      '/iap/audit/batch',
      { rows },
    );
    assert.equal(status, 200);
    assert.equal(body.written, 2);
    assert.deepEqual(
      body.failures.map(({ index }) => index),
      [1, 3, 4, 5, 6],
    );
    assert.match(body.failures[0]?.error ?? '', /^The row's \/step_index must be >= 0/);
    assert.match(body.failures[3]?.error ?? '', /\/surprise is not known here/);
    const claimed = (await reportsOf(agent.id)).map(({ metadata }) => metadata['claimed']);
    assert.deepEqual(
      claimed.map((claim) => (claim as { step_index: number }).step_index),
      [0, 2],
    );
  });

  await t.test('a batch has 1 to 100 rows, and is written by one statement', async () => {
    const agent = await createAgent();
    for (const rows of [[], Array.from({ length: 101 }, () => FROM_SDK), FROM_SDK]) {
      const answer = await post(agent.key, '/iap/audit/batch', { rows });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/rows' } });
    }
    const rows = Array.from({ length: 100 }, (_, step_index) => ({ ...FROM_SDK, step_index }));
    const { body } = await post(agent.key, '/iap/audit/batch', { rows });
    assert.deepEqual(body, { written: 100, failures: [] });
    const [counted] = await sql(
      'select count(*)::int as rows, count(distinct xact)::int as statements from audit_events where actor_id = $1',
      [agent.id],
    );
    assert.deepEqual(counted, { rows: 100, statements: 1 });
  });

  await t.test('the status of a plan is taken of one’s own plans only, and changes nothing', async () => {
    const [agent, other] = [await createAgent(), await createAgent()];
    const issued = await post<{ plan_id: string; token: string }>(agent.key, '/token/issue', {
      plan: { steps: [{ action: 'send', mcp: 'mail-mcp' }] },
    });
    const { plan_id: planId, token } = issued.body;
    const report = (key: string, id: string) => post(key, `/iap/plans/${id}/status`, { status: 'completed' });
    for (const id of [planId, planId.toUpperCase()]) {
      const { status, body } = await report(agent.key, id);
      assert.deepEqual([status, body], [200, { success: true }]);
    }
    for (const [key, id] of [
      [other.key, planId],
      [adminKey, planId],
      [agent.key, '0198c5f0-0000-7000-8000-000000000000'],
      [agent.key, 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
      [agent.key, '00000000-0000-0000-0000-000000000000'],
      [agent.key, 'no-plan'],
      [agent.key, '%00'],
    ] as const) {
      assertRefused(await report(key, id), { status: 404, code: 'NOT_FOUND' }, id);
    }
    assert.deepEqual(await reportsOf(agent.id), [
      ...[1, 2].map(() => ({
        resource_type: 'plan',
        resource_id: planId,
        metadata: { claimed: { status: 'completed' }, credential: agent.keyId },
      })),
    ]);
    const verified = await post<{ code: string }>(agent.key, '/token/verify', { token });
    assert.equal(verified.body.code, 'VALID');
  });

  await t.test('a dead key reports nothing', async () => {
    const agent = await createAgent();
    assert.equal((await post(agent.key, '/iap/audit', FROM_SDK)).status, 200);
    await call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: adminKey });
    for (const [url, json] of [
      ['/iap/audit', FROM_SDK],
      ['/iap/audit/batch', { rows: [FROM_SDK] }],
      ['/iap/audit/batch', { rows: ['no row'] }],
      ['/iap/plans/0198c5f0-0000-7000-8000-000000000000/status', { status: 'completed' }],
    ] as const) {
      assertRefused(await post(agent.key, url, json), { status: 401, code: 'AUTH_INVALID_KEY' });
    }
    assert.equal((await reportsOf(agent.id)).length, 1);
  });
});
