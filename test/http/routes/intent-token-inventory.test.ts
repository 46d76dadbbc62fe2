/**
 * `GET /v1/intent-tokens`, `POST /token/revoke` and `POST /iap/trust/revoke` (contract section 4.7): an agent's own, an
 * administrator's all; a revocation ends the token and what was delegated from it, at once and in one row.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { assertRefused, buildTestApp, openTestApp, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { asking, claimsOf, forger, type Issued, issueWith, rowLike, STEPS } from './verification-calls.ts';

interface Listed {
  readonly token_id: string;
  readonly status: string;
  readonly consumed_steps: readonly number[];
  readonly revoked_at: string | null;
  readonly parent_token_id: string | null;
  readonly [member: string]: unknown;
}
interface Listing {
  readonly items: Listed[];
  readonly next_cursor: string | null;
}
interface Revoked {
  readonly success: boolean;
  readonly token_id: string;
  readonly revoked: readonly string[];
  readonly revoked_count: number;
}
type IssuedPlan = Issued & { readonly plan_id: string; readonly plan_hash: string };

function clientOf({ call }: TestApp) {
  return {
    list: (key: string, query = '') =>
      call<Listing>({ method: 'GET', url: `/v1/intent-tokens${query}`, key }),
    revoke: (key: string, json: object, url = '/token/revoke') =>
      call<Revoked>({ method: 'POST', url, key, json }),
  };
}
const idsOf = ({ items }: Listing): string[] => items.map((item) => item.token_id);
const NOT_FOUND = { status: 404, code: 'NOT_FOUND' };

test('the inventory of intent tokens', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { list } = clientOf(server);
  const [one, other] = [await server.createAgent(), await server.createAgent()];
  const first = (await issueWith(server, one.key)) as IssuedPlan;
  const theirs = await issueWith(server, other.key);
  const second = await issueWith(server, one.key);
  const admins = await issueWith(server, server.adminKey);

  await t.test('shows an agent its own, newest first, and an administrator all', async () => {
    assert.deepEqual(idsOf((await list(one.key)).body), [second.token_id, first.token_id]);
    assert.deepEqual(idsOf((await list(other.key)).body), [theirs.token_id]);
    const all = (await list(server.adminKey)).body;
    assert.deepEqual(
      idsOf(all),
      [admins, second, theirs, first].map((issued) => issued.token_id),
    );
    assert.equal(all.next_cursor, null);
  });

  await t.test('shows everything that is known of one, and no token', async () => {
    await server.call({
      method: 'POST',
      url: '/token/verify',
      key: one.key,
      json: { token: first.token, step_index: 4, step: STEPS[4], proof: first.step_proofs[4], consume: true },
    });
    const { body, text } = await list(one.key);
    const { iat, exp } = claimsOf(first.token) as { iat?: number; exp?: number };
    const iso = (seconds: number | undefined) => new Date(Number(seconds) * 1000).toISOString();
    assert.deepEqual(body.items[1], {
      token_id: first.token_id,
      status: 'active',
      plan_id: first.plan_id,
      plan_hash: first.plan_hash,
      agent_id: one.id,
      agent_name: one.name,
      api_key_id: one.keyId,
      total_steps: STEPS.length,
      consumed_steps: [4],
      root_token_id: first.token_id,
      parent_token_id: null,
      issued_at: iso(iat),
      expires_at: iso(exp),
      revoked_at: null,
    });
    assert.ok(!text.includes(first.token));
  });

  await t.test('pages, and a page ends where the next begins', async () => {
    const seen: string[] = [];
    let cursor = '';
    for (let page = 0; page < 4; page += 1) {
      const { body } = await list(server.adminKey, `?limit=1${cursor}`);
      assert.equal(body.items.length, 1);
      seen.push(...idsOf(body));
      cursor = `&cursor=${body.next_cursor}`;
      assert.equal(body.next_cursor === null, page === 3);
    }
    assert.deepEqual(seen, idsOf((await list(server.adminKey)).body));
  });

  await t.test('tells what is active from what has ended', async () => {
    const agent = await server.createAgent();
    const [active, expired, revoked] = [
      await issueWith(server, agent.key),
      await issueWith(server, agent.key),
      await issueWith(server, agent.key),
    ];
    const child = uuidv7();
    await rowLike(server, revoked, { jti: child, ancestors: [revoked.token_id] });
    await server.sql("update intent_tokens set expires_at = now() - interval '1 s' where jti = $1", [
      expired.token_id,
    ]);
    await clientOf(server).revoke(agent.key, { token_id: revoked.token_id });
    const byStatus = async (status: string) => idsOf((await list(agent.key, `?status=${status}`)).body);
    assert.deepEqual(await byStatus('active'), [active.token_id]);
    assert.deepEqual(await byStatus('expired'), [expired.token_id]);
    assert.deepEqual(await byStatus('revoked'), [child, revoked.token_id]);
    const { items } = (await list(agent.key)).body;
    const heir = items.find(({ token_id: id }) => id === child);
    assert.deepEqual([heir?.parent_token_id, heir?.revoked_at], [revoked.token_id, null]);
    assert.notEqual(items.find(({ token_id: id }) => id === revoked.token_id)?.revoked_at, null);
    await server.call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: server.adminKey });
    const { items: all } = (await list(server.adminKey)).body;
    assert.equal(all.find(({ token_id: id }) => id === active.token_id)?.status, 'revoked');
  });

  await t.test('refuses what it does not know, and who has no tokens', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    assertRefused(await list(approver.key), { status: 403, code: 'FORBIDDEN' });
    for (const query of ['?status=live', '?limit=0', '?limit=1001', '?cursor=x', '?agent_id=x']) {
      assertRefused(await list(one.key, query), { status: 400, code: 'VALIDATION_ERROR' }, query);
    }
  });
});

test('revoking an intent token', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { revoke } = clientOf(server);
  const { expectCode } = asking(server);
  const [one, other] = [await server.createAgent(), await server.createAgent()];
  const issue = async (key = one.key) => (await issueWith(server, key)) as IssuedPlan;
  const eventsOf = (jti: string) =>
    server.sql<{ actor_id: string; metadata: Record<string, unknown> }>(
      "select actor_id, metadata from audit_events where event_type = 'intent.revoked' and resource_id = $1",
      [jti],
    );
  const ended = (jti: string) => ({ success: true, token_id: jti, revoked: [jti], revoked_count: 1 });

  await t.test('ends it at once, in every process, with one row and one event', async (t) => {
    const issued = await issue();
    const replica = await openTestApp(t, server.databaseUrl);
    const bystander = await issue();
    await asking(replica).expectCode('VALID', { token: issued.token });
    const answer = await revoke(one.key, { token_id: issued.token_id, reason: 'over' });
    assert.deepEqual([answer.status, answer.body], [200, ended(issued.token_id)]);
    await asking(replica).expectCode('TOKEN_REVOKED', { token: issued.token });
    await expectCode('TOKEN_REVOKED', { token: issued.token });
    await expectCode('VALID', { token: bystander.token });
    assert.deepEqual(await eventsOf(issued.token_id), [
      { actor_id: one.id, metadata: { key_id: one.keyId, agent_id: one.id, reason: 'over' } },
    ]);
  });

  await t.test('again is answered the same, and writes nothing', async () => {
    const issued = await issue();
    const row = () => server.sql('select revoked_at from intent_tokens where jti = $1', [issued.token_id]);
    const first = await revoke(one.key, { token_id: issued.token_id });
    const before = await row();
    const again = await revoke(server.adminKey, { token_id: issued.token_id });
    assert.deepEqual(again.body, first.body);
    assert.deepEqual(await row(), before);
    assert.equal((await eventsOf(issued.token_id)).length, 1);
  });

  await t.test(
    'is asked for by id, JWT or token object, by either path, also of an expired token',
    async () => {
      for (const url of ['/token/revoke', '/iap/trust/revoke']) {
        for (const named of [
          ({ token_id: id }: IssuedPlan) => ({ token_id: id }),
          ({ token_id: id }: IssuedPlan) => ({ token_id: id.toUpperCase() }),
          ({ token }: IssuedPlan) => ({ token }),
          ({ token }: IssuedPlan) => ({ token: { jwt_token: token } }),
          ({ token_id: id }: IssuedPlan) => ({ token: { token_id: id, plan_hash: 'x', policy: {} } }),
          ({ token, token_id: id, plan_id: planId }: IssuedPlan) => ({
            token: { jwt_token: token, token_id: id },
            token_id: id,
            reason: 'done',
            cascade: false,
            planId,
            intentReference: id,
          }),
        ]) {
          const issued = await issue();
          await server.sql("update intent_tokens set expires_at = now() - interval '1 s' where jti = $1", [
            issued.token_id,
          ]);
          const answer = await revoke(one.key, named(issued), url);
          assert.deepEqual(answer.body, ended(issued.token_id), JSON.stringify(named(issued)));
        }
      }
    },
  );

  await t.test(
    'ends what was delegated from it, whatever cascade says, and nothing beside or above it',
    async () => {
      const forge = await forger(server);
      const root = await issue();
      const [parent, child, sibling] = [uuidv7(), uuidv7(), uuidv7()];
      await rowLike(server, root, { jti: parent, ancestors: [root.token_id] });
      await rowLike(server, root, { jti: child, ancestors: [root.token_id, parent] });
      await rowLike(server, root, { jti: sibling, ancestors: [root.token_id] });
      const held = async (jti: string) => ({ token: await forge(root, { jti, root_jti: root.token_id }) });
      const { body } = await revoke(one.key, { token_id: parent, cascade: false });
      assert.deepEqual(body, { success: true, token_id: parent, revoked: [parent, child], revoked_count: 2 });
      await expectCode('TOKEN_REVOKED', await held(parent));
      await expectCode('TOKEN_REVOKED', await held(child));
      await expectCode('VALID', await held(sibling));
      await expectCode('VALID', { token: root.token });
      const all = (await revoke(one.key, { token_id: root.token_id })).body;
      assert.deepEqual(all.revoked, [root.token_id, ...[parent, child, sibling].sort()]);
      await expectCode('TOKEN_REVOKED', await held(sibling));
      const rows = await server.sql(
        'select 1 from intent_tokens where root_jti = $1 and revoked_at is not null',
        [root.token_id],
      );
      assert.equal(rows.length, 2, 'one row for each revocation');
    },
  );

  await t.test('names at most 1,001 ids and counts all', async () => {
    const root = await issue();
    await server.sql(
      `insert into intent_tokens (jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
         issued_at, expires_at, root_jti, ancestors)
       select gen_random_uuid(), plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
         issued_at, expires_at, root_jti, array[jti] from intent_tokens, generate_series(1, 1100) where jti = $1`,
      [root.token_id],
    );
    const { body } = await revoke(one.key, { token_id: root.token_id });
    assert.deepEqual([body.revoked.length, body.revoked_count, body.revoked[0]], [1001, 1101, root.token_id]);
  });

  await t.test('is for who issued it and for administrators: to others there is no such token', async () => {
    const issued = await issue();
    const approver = await server.createAgent({ role: 'approver' });
    assertRefused(await revoke(approver.key, { token_id: issued.token_id }), {
      status: 403,
      code: 'FORBIDDEN',
    });
    for (const json of [
      { token_id: issued.token_id },
      { token: issued.token },
      { token_id: issued.token_id, planId: 'x' },
    ]) {
      assertRefused(await revoke(other.key, json), NOT_FOUND);
    }
    assertRefused(await revoke(one.key, { token_id: uuidv7() }), NOT_FOUND);
    assertRefused(await revoke(one.key, { token_id: 'x' }), NOT_FOUND);
    await expectCode('VALID', { token: issued.token });
    assert.deepEqual(await eventsOf(issued.token_id), []);
    assert.equal((await revoke(server.adminKey, { token_id: issued.token_id })).status, 200);
  });

  await t.test('is not done by a key that is dead', async () => {
    const issued = await issue(other.key);
    await server.sql('update api_keys set revoked_at = now() where key_id = $1', [other.keyId]);
    assertRefused(await revoke(other.key, { token_id: issued.token_id }), {
      status: 401,
      code: 'AUTH_INVALID_KEY',
    });
    await expectCode('VALID', { token: issued.token });
  });

  await t.test('refuses what does not name one token, and says where', async () => {
    const [issued, another] = [await issue(), await issue()];
    const id = issued.token_id;
    for (const [json, pointer] of [
      [{}, '/token'],
      [{ reason: 'x' }, '/token'],
      [{ token: {} }, '/token'],
      [{ token: 'x' }, '/token'],
      [{ token: `${issued.token}=` }, '/token'],
      [{ token: { jwt_token: 'x' } }, '/token/jwt_token'],
      [{ token: { jwt_token: 1 } }, '/token/jwt_token'],
      [{ token: { token_id: 1 } }, '/token/token_id'],
      [{ token: { jwt_token: issued.token, token_id: another.token_id } }, '/token/token_id'],
      [{ token: issued.token, token_id: another.token_id }, '/token_id'],
      [{ token_id: id, intentReference: another.token_id }, '/intentReference'],
      [{ token_id: id, planId: another.plan_id }, '/planId'],
      [{ token_id: id, reason: 'x'.repeat(501) }, '/reason'],
      [{ token_id: id, reason: 'a\u0000b' }, '/reason'],
      [{ token_id: id, cascade: 'yes' }, '/cascade'],
      [{ token_id: id, surprise: 1 }, '/surprise'],
    ] as const) {
      const answer = await revoke(one.key, json);
      assertRefused(
        answer,
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
    }
    await expectCode('VALID', { token: issued.token });
  });
});
