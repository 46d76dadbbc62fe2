/**
 * What an approval is about (contract section 7): the secrets above standard that existed when it was asked for, which
 * the approver is shown, and no other.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, errorOf, openTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildApprovalCalls, type OpenedView } from './approval-calls.ts';

const NOT_BOUND = { status: 403, code: 'APPROVAL_REQUIRED' };

test('an approval of a pattern', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, poll, opened, view, eventsOf, sql, ask, aSecret, adminKey } = calls;
  const [maria, noor] = approvers;
  const agent = await calls.anAgent('secrets:*:*');

  const vote = async (id: string) => {
    const { access_tier: tier } = await view(id);
    assert.equal((await approve(maria.key, id)).status, 200);
    if (tier !== 'critical') return;
    assert.equal((await approve(noor.key, id)).status, 200);
    await calls.passDelay(id);
  };
  const claim = async (id: string): Promise<string> => {
    const { body, text } = await poll(agent.key, id);
    assert.ok(body.token !== undefined, text);
    return body.token;
  };
  const read = (token: string, path: string) => ask(token, `GET /v1/secrets/${path}`);
  const raisedOrNew = (why: RegExp) => (answer: Awaited<ReturnType<typeof read>>, about?: string) => {
    assertRefused(answer, NOT_BOUND, about);
    assert.match(errorOf(answer).message ?? '', why, about);
  };
  const assertNew = raisedOrNew(/did not exist, when this token’s approval was asked for/);
  const assertRaised = raisedOrNew(/was less when this token’s approval was asked for/);

  await t.test(
    'names each secret above standard, by path, number and tier, in its view and its event',
    async () => {
      for (const [key, tier] of [
        ['A', 'critical'],
        ['B', 'standard'],
        ['C', 'sensitive'],
      ] as const) {
        await aSecret(`named/${key}`, { access_tier: tier });
      }
      await aSecret('elsewhere/A', { access_tier: 'critical' });
      let id = '';
      const [event] = await eventsOf(async () => {
        id = await opened(agent.key, { scopes: ['secrets:read:named/*'] });
      });
      const { secrets, secret_count: count, access_tier: tier } = await view(id);
      assert.deepEqual(secrets, [
        { path: 'named/A', access_tier: 'critical' },
        { path: 'named/C', access_tier: 'sensitive' },
      ]);
      assert.deepEqual([count, tier, event?.metadata['secret_count']], [2, 'critical', 2]);
      const { body } = await ask<{ items: { id: string; secret_count: number }[] }>(
        maria.key,
        'GET /v1/approvals?status=pending',
      );
      assert.equal(body.items.find((item) => item.id === id)?.secret_count, 2);
    },
  );

  await t.test('opens what it named, and nothing that came after it was asked for', async () => {
    await aSecret('later/A', { access_tier: 'critical' });
    await aSecret('later/PLAIN');
    const id = await opened(agent.key, { scopes: ['secrets:*:later/*'] });
    await aSecret('later/BEFORE', { access_tier: 'critical' });
    await aSecret('later/SENSITIVE', { access_tier: 'sensitive' });
    await vote(id);
    await aSecret('later/APPROVED', { access_tier: 'critical' });
    const token = await claim(id);
    await aSecret('later/CLAIMED', { access_tier: 'critical' });
    const made = await ask(token, 'PUT /v1/secrets/later/OWN', {
      json: { value: 'v', access_tier: 'critical' },
    });
    assert.equal(made.status, 201, made.text);
    assert.equal((await read(token, 'later/A')).status, 200);
    assert.equal((await read(token, 'later/PLAIN')).status, 200);
    for (const key of ['BEFORE', 'SENSITIVE', 'APPROVED', 'CLAIMED', 'OWN']) {
      const path = `later/${key}`;
      for (const [line, json] of [
        [`GET /v1/secrets/${path}`],
        [`GET /v1/secrets/${path}?version=1`],
        [`PUT /v1/secrets/${path}`, { value: 'x' }],
        [`POST /v1/secrets/${path}/rotate`],
        ['POST /v1/secrets/import', { namespace: 'later', content: `A=x\n${key}=x` }],
        [`DELETE /v1/secrets/${path}`],
      ] as const) {
        assertNew(await ask(token, line, { json }), line);
      }
    }
    const { body } = await ask(adminKey, 'GET /v1/secrets/later/A');
    assert.equal(body.version, 1, 'an import with one that is refused has no effect');
    // What comes with the tier standard opens, as with any token.
    await aSecret('later/NEW');
    assert.equal((await read(token, 'later/NEW')).status, 200);
    for (const [line, json, status] of [
      ['PUT /v1/secrets/later/A', { value: 'x' }, 200],
      ['POST /v1/secrets/later/A/rotate', undefined, 200],
      ['DELETE /v1/secrets/later/A', undefined, 204],
    ] as const) {
      assert.equal((await ask(token, line, { json })).status, status, line);
    }
  });

  await t.test('opens none that was raised afterwards, and one that was lowered', async () => {
    for (const [key, tier] of [
      ['CRITICAL', 'critical'],
      ['SENSITIVE', 'sensitive'],
      ['STANDARD', 'standard'],
    ] as const) {
      await aSecret(`moved/${key}`, { access_tier: tier });
    }
    const id = await opened(agent.key, { scopes: ['secrets:read:moved/*'] });
    await vote(id);
    const token = await claim(id);
    for (const key of ['CRITICAL', 'SENSITIVE', 'STANDARD']) {
      assert.equal((await read(token, `moved/${key}`)).status, 200, key);
    }
    for (const key of ['SENSITIVE', 'STANDARD']) await aSecret(`moved/${key}`, { access_tier: 'critical' });
    await aSecret('moved/CRITICAL', { access_tier: 'sensitive' });
    assert.equal((await read(token, 'moved/CRITICAL')).status, 200);
    assertRaised(await read(token, 'moved/SENSITIVE'));
    assertNew(await read(token, 'moved/STANDARD'));
    await aSecret('moved/STANDARD', { access_tier: 'sensitive' });
    assertNew(await read(token, 'moved/STANDARD'));
    await aSecret('moved/SENSITIVE', { access_tier: 'sensitive' });
    assert.equal((await read(token, 'moved/SENSITIVE')).status, 200, 'it is what was approved again');
  });

  await t.test('does not open another secret at a path that it named', async () => {
    await aSecret('again/K', { access_tier: 'critical' });
    const ids = [];
    for (const scope of ['secrets:read:again/*', 'secrets:read:again/K']) {
      ids.push(await opened(agent.key, { scopes: [scope] }));
    }
    for (const id of ids) await vote(id);
    assert.equal((await ask(adminKey, 'DELETE /v1/secrets/again/K')).status, 204);
    await aSecret('again/K', { access_tier: 'critical' });
    for (const id of ids) assertNew(await read(await claim(id), 'again/K'));
  });

  await t.test('about none above standard opens none', async () => {
    const id = await opened(agent.key, { scopes: ['secrets:read:none/*'] });
    const { secrets, secret_count: count, access_tier: tier } = await view(id);
    assert.deepEqual([secrets, count, tier], [[], 0, 'standard']);
    await vote(id);
    await aSecret('none/K', { access_tier: 'sensitive' });
    assertRefused(await read(await claim(id), 'none/K'), NOT_BOUND);
  });

  await t.test('is bound by its row: one that somebody else wrote opens nothing more', async () => {
    await aSecret('rows/A', { access_tier: 'critical' });
    const id = await opened(agent.key, { scopes: ['secrets:read:rows/*'] });
    await vote(id);
    const token = await claim(id);
    for (const edit of [`'{}'`, 'null', `array['critical']`, `array['critical x rows/A']`, `array['']`]) {
      await sql(`update scoped_tokens set bound_secrets = ${edit} where approval_id = $1`, [id]);
      await resealRows(sql, 'scoped_tokens', 'approval_id = $1', [id]);
      // Another process has nothing remembered of it.
      const { call } = await openTestApp(t, calls.databaseUrl);
      const headers = { authorization: `Bearer ${token}` };
      assertRefused(await call({ method: 'GET', url: '/v1/secrets/rows/A', headers }), NOT_BOUND, edit);
    }
    // From before tokens were bound.
    const old = await calls.aToken({ by: agent.key });
    await sql(`update scoped_tokens set access_tier = 'critical' where id = $1`, [old.id]);
    await resealRows(sql, 'scoped_tokens', 'id = $1', [old.id]);
    assertNew(await read(old.token, 'rows/A'));
  });

  await t.test(
    'from before secrets were named is expired, unless it is about standard ones only',
    async () => {
      await aSecret('upgraded/A', { access_tier: 'sensitive' });
      for (const isVoted of [false, true]) {
        const id = await opened(agent.key, { scopes: ['secrets:read:upgraded/*'] });
        if (isVoted) await vote(id);
        // As the migration leaves such a row.
        await sql(`update approvals set bound_secrets = default where id = $1`, [id]);
        await resealRows(sql, 'approvals', 'id = $1', [id]);
        const { status, body, text } = await poll(agent.key, id);
        assert.deepEqual([status, body.status, body.token], [200, 'expired', undefined], text);
        assert.equal((await view(id)).status, 'expired');
      }
      const plain = await opened(agent.key, { scopes: ['secrets:read:nothing/*'] });
      await sql(`update approvals set bound_secrets = default where id = $1`, [plain]);
      await resealRows(sql, 'approvals', 'id = $1', [plain]);
      await vote(plain);
      await claim(plain);
    },
  );

  await t.test('has at most 100 above standard: beyond that narrower scopes are asked for', async () => {
    const insert = (from: number, to: number) =>
      sql(
        `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags)
         select gen_random_uuid(), 'wide/K' || n, 'wide', 'K' || n, 'custom', 'sensitive', '{}'
         from generate_series($1::int, $2::int) as n`,
        [from, to],
      );
    const asked = (scopes: readonly string[]) =>
      ask<OpenedView>(agent.key, 'POST /v1/tokens', { json: { scopes, require_approval: true } });
    await insert(1, 100);
    const all = await asked(['secrets:read:wide/*', 'secrets:write:wide/*']);
    assert.equal(all.status, 202, all.text);
    assert.equal((await view(all.body.approval_id)).secrets.length, 100);
    await insert(101, 101);
    const before = await sql('select id from approvals');
    for (const [json, pointer] of [
      [{ scopes: ['secrets:read:wide/*'], require_approval: true }, '/scopes'],
      [{ scope: 'secrets:read:wide/*', require_approval: true }, '/scope'],
      [{ scopes: ['secrets:read:wide/K1', 'secrets:delete:wide/*'] }, '/scopes'],
    ] as const) {
      const answer = await ask(agent.key, 'POST /v1/tokens', { json });
      assertRefused(answer, { status: 422, code: 'TOO_MANY_SECRETS' });
      assert.deepEqual(errorOf(answer).details, { pointer, max: 100 });
      assert.match(errorOf(answer).message ?? '', /at most 100: ask with narrower scopes/);
    }
    assert.deepEqual(await sql('select id from approvals'), before);
    assert.equal((await asked(['secrets:read:wide/K1*'])).status, 202);
    assert.equal(
      (await ask(agent.key, 'POST /v1/tokens', { json: { scopes: ['secrets:read:wide/*'] } })).status,
      201,
    );
  });
});
