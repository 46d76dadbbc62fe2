/** Access tiers (contract sections 6, 7): which credential opens what, and that it holds for every action. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, errorOf } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type ListView, type ScopedToken, type Tier } from './secret-calls.ts';

const TIERS: readonly Tier[] = ['standard', 'sensitive', 'critical'];
const APPROVAL = { status: 403, code: 'APPROVAL_REQUIRED' };
const rank = (tier: Tier) => TIERS.indexOf(tier);

test('tiers', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, aToken, bind, usesOf, eventsOf, adminKey } = calls;
  const agent = await anAgent('secrets:*:*');

  /** Each action on the secret at `ns/K`, and what it answers where it is allowed. */
  const actions = (ns: string): [string, unknown, number][] => [
    [`GET /v1/secrets/${ns}/K`, undefined, 200],
    [`GET /v1/secrets/${ns}/K?version=1`, undefined, 200],
    [`PUT /v1/secrets/${ns}/K`, { value: 'x' }, 200],
    [`POST /v1/secrets/${ns}/K/rotate`, undefined, 200],
    ['POST /v1/secrets/import', { namespace: ns, content: 'K=x' }, 200],
    [`DELETE /v1/secrets/${ns}/K`, undefined, 204],
  ];

  await t.test('open for every action up to what was granted, and for none beyond', async () => {
    const [sensitive, critical] = [await aToken({ by: agent.key }), await aToken({ by: agent.key })];
    for (const [name, as, granted, approved] of [
      ['agent-key', agent.key, 'standard'],
      ['agent-token', (await aToken({ by: agent.key })).token, 'standard'],
      ['admin-token', (await aToken()).token, 'standard'],
      ['sensitive-token', sensitive.token, 'sensitive', sensitive],
      ['critical-token', critical.token, 'critical', critical],
      ['admin-key', adminKey, 'critical'],
    ] as [string, string, Tier, ScopedToken?][]) {
      for (const tier of TIERS) await aSecret(`${name}/${tier}/K`, { access_tier: tier });
      if (approved !== undefined) await bind(approved, granted);
      for (const tier of TIERS) {
        const ns = `${name}/${tier}`;
        for (const [line, json, status] of actions(ns)) {
          const answer = await ask(as, line, { json });
          if (rank(tier) <= rank(granted)) assert.equal(answer.status, status, `${line} ${answer.text}`);
          else assertRefused(answer, APPROVAL, line);
        }
        const left = await ask(adminKey, `GET /v1/secrets/${ns}/K`);
        if (rank(tier) <= rank(granted)) assert.equal(left.status, 404);
        else assert.deepEqual([left.body.version, left.body.value, left.body.tier], [1, 'v', tier]);
      }
    }
  });

  await t.test('too high take no use, tell no value, and are on record as refused', async () => {
    await aSecret('quiet/K', { access_tier: 'sensitive', value: 'PLANTED' });
    const limited = await aToken({ by: agent.key, maxUses: 9 });
    for (const [as, type] of [
      [limited.token, 'token.denied'],
      [agent.key, 'secret.denied'],
    ] as const) {
      const events = await eventsOf(async () => {
        for (const [line, json] of actions('quiet')) {
          const { text } = await ask(as, line, { json });
          assert.doesNotMatch(text, /PLANTED|"version"/);
        }
      });
      // Equal refusals are counted behind the first: one of the secret, and one of the namespace by the import.
      const recorded = events.map((event) => [event.event_type, event.resource_id, event.metadata['code']]);
      assert.deepEqual(recorded, [
        [type, 'quiet/K', 'APPROVAL_REQUIRED'],
        [type, 'quiet', 'APPROVAL_REQUIRED'],
      ]);
    }
    assert.equal(await usesOf(limited), 0);
  });

  await t.test('do not hide names: a list holds every tier', async () => {
    for (const tier of TIERS) await aSecret(`names/${tier}`, { access_tier: tier, value: 'PLANTED' });
    const { body, text } = await ask<ListView>(agent.key, 'GET /v1/secrets/names');
    assert.deepEqual(body.items.map(({ key, tier }) => [key, tier]).sort(), [
      ['critical', 'critical'],
      ['sensitive', 'sensitive'],
      ['standard', 'standard'],
    ]);
    assert.doesNotMatch(text, /PLANTED/);
  });

  await t.test('may be set on a new secret by whoever may write it, who may then not open it', async () => {
    for (const [path, line, json] of [
      ['new/PUT', 'PUT /v1/secrets/new/PUT', { value: 'v', tier: 'critical' }],
      ['new/POST', 'POST /v1/secrets', { path: 'new/POST', value: 'v', access_tier: 'critical' }],
      ['new/IMPORT', 'POST /v1/secrets/import', { namespace: 'new', content: 'IMPORT=v', tier: 'critical' }],
    ] as const) {
      const answer = await ask(agent.key, line, { json });
      assert.ok(answer.status < 300, answer.text);
      assertRefused(await ask(agent.key, `GET /v1/secrets/${path}`), APPROVAL, path);
      assert.equal((await ask(adminKey, `GET /v1/secrets/${path}`)).body.tier, 'critical');
    }
  });

  await t.test(
    'are raised by whoever may write, and shut live tokens and keys out at the next use',
    async () => {
      await aSecret('raised/K');
      const before = await aToken({ by: agent.key, scopes: ['secrets:read:raised/*'], maxUses: 5 });
      const open = await aToken({ by: agent.key, scopes: ['secrets:read:raised/*'], tier: 'sensitive' });
      assert.equal((await ask(before.token, 'GET /v1/secrets/raised/K')).status, 200);
      const raise = (tier: Tier) =>
        ask(agent.key, 'PUT /v1/secrets/raised/K', { json: { value: 'v2', access_tier: tier } });
      assert.equal((await raise('sensitive')).status, 200);
      assertRefused(await ask(before.token, 'GET /v1/secrets/raised/K'), APPROVAL);
      assertRefused(await ask(before.token, 'GET /v1/secrets/raised/K?version=1'), APPROVAL);
      assertRefused(await ask(agent.key, 'GET /v1/secrets/raised/K'), APPROVAL);
      assertRefused(await raise('sensitive'), APPROVAL);
      assert.equal(await usesOf(before), 1);
      assert.equal((await ask(open.token, 'GET /v1/secrets/raised/K')).body.value, 'v2');
      await aSecret('raised/K', { access_tier: 'critical' });
      assertRefused(await ask(open.token, 'GET /v1/secrets/raised/K'), APPROVAL);
    },
  );

  await t.test('are lowered by an administrator’s key, and open again at the next use', async () => {
    await aSecret('lowered/K', { access_tier: 'critical' });
    const { token } = await aToken({ by: agent.key });
    assertRefused(await ask(token, 'GET /v1/secrets/lowered/K'), APPROVAL);
    for (const tier of ['sensitive', 'standard'] as const) {
      const { status, body } = await ask(adminKey, 'PUT /v1/secrets/lowered/K', {
        json: { value: 'v', tier },
      });
      assert.deepEqual([status, body.tier], [200, tier]);
    }
    assert.equal((await ask(token, 'GET /v1/secrets/lowered/K')).status, 200);
  });

  await t.test('are lowered by nobody else, who is told the stored one', async () => {
    for (const by of [agent.key, adminKey]) {
      for (const [stored, asked] of [
        ['sensitive', 'standard'],
        ['critical', 'standard'],
        ['critical', 'sensitive'],
      ] as const) {
        await ask(adminKey, 'DELETE /v1/secrets/kept/K');
        await aSecret('kept/K', { access_tier: stored });
        const approved = await aToken({ by, tier: 'critical', maxUses: 9 });
        for (const json of [
          { value: 'x', access_tier: asked },
          { value: 'x', tier: asked },
        ]) {
          const refused = await ask(approved.token, 'PUT /v1/secrets/kept/K', { json });
          assertRefused(refused, { status: 403, code: 'FORBIDDEN' });
          assert.match(errorOf(refused).message ?? '', new RegExp(`\\b${stored}\\b`));
        }
        const { body } = await ask(adminKey, 'GET /v1/secrets/kept/K');
        assert.deepEqual([body.version, body.value, body.tier], [1, 'v', stored]);
        assert.equal(await usesOf(approved), 0);
      }
    }
  });

  await t.test('stay where a write names the stored one, or none', async () => {
    await aSecret('same/K', { access_tier: 'sensitive' });
    const { token } = await aToken({ by: agent.key, tier: 'critical' });
    for (const json of [{ value: 'x' }, { value: 'x', tier: 'sensitive' }, { value: 'x', tier: null }]) {
      await aSecret('same/K', { access_tier: 'sensitive' });
      const { status, body } = await ask(token, 'PUT /v1/secrets/same/K', { json });
      assert.deepEqual([status, body.tier], [200, 'sensitive']);
    }
  });

  await t.test('too high are refused before it is asked whether they would be lowered', async () => {
    await aSecret('first/K', { access_tier: 'critical' });
    const { token } = await aToken({ by: agent.key, tier: 'sensitive' });
    for (const as of [agent.key, token]) {
      const answer = await ask(as, 'PUT /v1/secrets/first/K', { json: { value: 'x', tier: 'standard' } });
      assertRefused(answer, APPROVAL);
    }
  });

  await t.test('an import refuses one that is too high, and with it everything', async () => {
    await aSecret('import/B', { access_tier: 'sensitive' });
    for (const as of [agent.key, (await aToken({ by: agent.key })).token]) {
      const json = { namespace: 'import', content: 'A=1\nB=2\nC=3', tier: 'standard' };
      assertRefused(await ask(as, 'POST /v1/secrets/import', { json }), APPROVAL);
    }
    const { body } = await ask<ListView>(adminKey, 'GET /v1/secrets/import');
    assert.deepEqual(
      body.items.map(({ key, version }) => [key, version]),
      [['B', 1]],
    );
  });

  await t.test('of a scope outside are not told: the scope comes first', async () => {
    await aSecret('scope/K', { access_tier: 'critical' });
    const narrow = await anAgent('secrets:*:elsewhere/*');
    for (const [line, json] of actions('scope')) {
      assertRefused(await ask(narrow.key, line, { json }), { status: 403, code: 'SCOPE_DENIED' }, line);
    }
  });
});
