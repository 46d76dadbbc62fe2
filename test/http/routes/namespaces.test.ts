/** `GET /v1/namespaces` and the count in `GET /v1/me` (contract sections 1, 2, 6). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls } from './secret-calls.ts';

interface NamespacesView {
  readonly items: readonly { readonly namespace: string; readonly secret_count: number }[];
  readonly next_cursor: string | null;
}

test('namespaces', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, rescope, aToken, usesOf, expire, eventsOf, adminKey } = calls;
  const namespaces = (as = adminKey, query = '') => ask<NamespacesView>(as, `GET /v1/namespaces${query}`);
  const countsOf = async (as = adminKey): Promise<Record<string, number>> => {
    const { status, text, body } = await namespaces(as);
    assert.equal(status, 200, text);
    return Object.fromEntries(body.items.map((item) => [item.namespace, item.secret_count]));
  };
  const countOfMe = async (key: string) =>
    (await ask<{ secret_count: number }>(key, 'GET /v1/me')).body.secret_count;

  await t.test('are none where no secret is', async () => {
    assert.deepEqual((await namespaces()).body, { items: [], next_cursor: null });
    assert.equal(await countOfMe(adminKey), 0);
  });

  await t.test('are counted right after every change', async () => {
    const steps: [string, () => Promise<unknown>, Record<string, number>][] = [
      ['a creation', () => aSecret('n/a/A'), { 'n/a': 1 }],
      ['an update', () => aSecret('n/a/A'), { 'n/a': 1 }],
      ['a rotation', () => ask(adminKey, 'POST /v1/secrets/n/a/A/rotate'), { 'n/a': 1 }],
      ['a second one', () => aSecret('n/a/B'), { 'n/a': 2 }],
      ['a child', () => aSecret('n/a/sub/C'), { 'n/a': 2, 'n/a/sub': 1 }],
      [
        'an import over one of them',
        () =>
          ask(adminKey, 'POST /v1/secrets/import', { json: { namespace: 'n/a', content: 'B=1\nC=2\nD=3' } }),
        { 'n/a': 4, 'n/a/sub': 1 },
      ],
      [
        'a refused import',
        () => ask(adminKey, 'POST /v1/secrets/import', { json: { namespace: 'n/a', content: 'E=1\nF' } }),
        { 'n/a': 4, 'n/a/sub': 1 },
      ],
      [
        'a refused creation',
        () => ask(adminKey, 'POST /v1/secrets', { json: { path: 'n/a/A', value: 'x' } }),
        { 'n/a': 4, 'n/a/sub': 1 },
      ],
      ['a deletion', () => ask(adminKey, 'DELETE /v1/secrets/n/a/A'), { 'n/a': 3, 'n/a/sub': 1 }],
      ['a deletion of nothing', () => ask(adminKey, 'DELETE /v1/secrets/n/a/A'), { 'n/a': 3, 'n/a/sub': 1 }],
      ['an expiry', () => expire('n/a/B'), { 'n/a': 2, 'n/a/sub': 1 }],
      ['the expiry of all of a namespace', () => expire('n/a/sub/C'), { 'n/a': 2 }],
      ['a write over an expired one', () => aSecret('n/a/B'), { 'n/a': 3 }],
      ['the deletion of an expired one', () => ask(adminKey, 'DELETE /v1/secrets/n/a/sub/C'), { 'n/a': 3 }],
    ];
    for (const [about, step, expected] of steps) {
      await step();
      assert.deepEqual(await countsOf(), expected, `after ${about}`);
      const total = Object.values(expected).reduce((sum, count) => sum + count, 0);
      assert.equal(await countOfMe(adminKey), total, `after ${about}`);
    }
    for (const key of ['B', 'C', 'D']) await ask(adminKey, `DELETE /v1/secrets/n/a/${key}`);
    assert.deepEqual(await countsOf(), {});
  });

  await t.test('are those that the caller may list', async () => {
    for (const path of ['team/a/K', 'team/a/L', 'team/b/K', 'team/K', 'other/K']) await aSecret(path);
    const agent = await anAgent();
    for (const [scopes, expected] of [
      [['secrets:read:*'], { other: 1, team: 1, 'team/a': 2, 'team/b': 1 }],
      [['secrets:*:team/*'], { team: 1, 'team/a': 2, 'team/b': 1 }],
      [['secrets:read:team/a/*', 'secrets:read:other/*'], { other: 1, 'team/a': 2 }],
      [['secrets:read:team/*/*'], { 'team/a': 2, 'team/b': 1 }],
      [['secrets:read:team/a/K', 'secrets:read:other/K*'], {}],
      [['secrets:write:*', 'secrets:delete:*'], {}],
      [['namespaces:read'], {}],
      [[], {}],
    ] as const) {
      await rescope(agent, ...scopes);
      assert.deepEqual(await countsOf(agent.key), expected, scopes.join(' '));
      const total = Object.values(expected).reduce((sum, count) => sum + count, 0);
      assert.equal(await countOfMe(agent.key), total, scopes.join(' '));
    }
    const cut = await calls.createAgent({
      allowed_scopes: ['secrets:read:*'],
      allowed_namespaces: ['team/a'],
    });
    assert.deepEqual(await countsOf(cut.key), { 'team/a': 2 });
  });

  await t.test('take namespaces:read of a token, and are bounded by its owner’s scopes of now', async () => {
    const owner = await anAgent('secrets:*:team/*');
    const { token } = await aToken({ by: owner.key, scopes: ['namespaces:read'] });
    assert.deepEqual(await countsOf(token), { team: 1, 'team/a': 2, 'team/b': 1 });
    await rescope(owner, 'secrets:read:team/b/*');
    assert.deepEqual(await countsOf(token), { 'team/b': 1 });
    await rescope(owner, 'namespaces:read', 'secrets:write:*');
    assert.deepEqual(await countsOf(token), {}, 'it may ask, and may list none');
    const all = await aToken({ scopes: ['namespaces:read'] });
    assert.deepEqual(await countsOf(all.token), { other: 1, team: 1, 'team/a': 2, 'team/b': 1 });
  });

  await t.test('are refused to a token without namespaces:read, which loses no use', async () => {
    for (const scopes of [['secrets:*:*'], ['secrets:read:*'], ['secrets:read:team/*']]) {
      const limited = await aToken({ scopes, maxUses: 3 });
      const events = await eventsOf(async () => {
        assertRefused(await namespaces(limited.token), { status: 403, code: 'SCOPE_DENIED' });
      });
      assert.deepEqual(
        events.map((event) => event.event_type),
        ['token.denied'],
      );
      assert.equal(await usesOf(limited), 0);
    }
  });

  await t.test(
    'are refused to a token whose owner could not ask for it now, and it loses no use',
    async () => {
      const owner = await anAgent('secrets:*:team/*');
      const limited = await aToken({ by: owner.key, scopes: ['namespaces:read'], maxUses: 3 });
      await countsOf(limited.token);
      for (const scopes of [['secrets:write:r/*'], ['secrets:write:*', 'secrets:delete:*'], []]) {
        await rescope(owner, ...scopes);
        const refused = await namespaces(limited.token);
        assertRefused(refused, { status: 403, code: 'SCOPE_DENIED' }, scopes.join(' '));
        assert.equal(await usesOf(limited), 1);
      }
      await rescope(owner, 'secrets:read:team/a/K');
      assert.deepEqual(await countsOf(limited.token), {});
      assert.equal(await usesOf(limited), 2);
    },
  );

  await t.test('take one use of a token, and do not open a secret', async () => {
    const limited = await aToken({ scopes: ['namespaces:read'], maxUses: 2 });
    await countsOf(limited.token);
    assert.equal(await usesOf(limited), 1);
    for (const line of ['GET /v1/secrets/team', 'GET /v1/secrets/team/K', 'GET /v1/secrets?namespace=team']) {
      assertRefused(await ask(limited.token, line), { status: 403, code: 'SCOPE_DENIED' }, line);
    }
    assert.equal(await usesOf(limited), 1);
  });

  await t.test('come whole, or in pages that together are the same', async () => {
    const whole = await namespaces();
    assert.equal(whole.body.items.length, 4);
    assert.equal(whole.body.next_cursor, null);
    const agent = await anAgent('secrets:read:team/*');
    for (const [as, expected] of [
      [adminKey, whole.body.items],
      [agent.key, whole.body.items.filter(({ namespace }) => namespace !== 'other')],
    ] as const) {
      for (const limit of [1, 2, 3, 4, 1000]) {
        const items: unknown[] = [];
        let query: string | undefined = `?limit=${limit}`;
        while (query !== undefined) {
          const { body }: { body: NamespacesView } = await namespaces(as, query);
          assert.ok(body.items.length <= limit);
          assert.equal(body.next_cursor === null, items.length + body.items.length === expected.length);
          items.push(...body.items);
          query = body.next_cursor === null ? undefined : `?limit=${limit}&cursor=${body.next_cursor}`;
        }
        assert.deepEqual(items, expected);
      }
    }
  });

  await t.test('are found however many others stand between them', async () => {
    await calls.sql(
      `insert into namespaces (namespace, secret_count)
       select case when n % 500 = 0 then 'team/many/' else 'zzz/many/' end || n, 1 from generate_series(1, 2500) as n
       union all select 'other/many/' || n, 1 from generate_series(1, 1500) as n`,
    );
    const agent = await anAgent('secrets:read:team/many/*', 'secrets:read:zzz/many/2499/*');
    const expected = ['1000', '1500', '2000', '2500', '500']
      .map((n) => `team/many/${n}`)
      .concat('zzz/many/2499');
    assert.deepEqual(Object.keys(await countsOf(agent.key)).sort(), expected);
    assert.equal(await countOfMe(agent.key), expected.length);
    const paged: string[] = [];
    for (let query = '?limit=4'; query !== ''; ) {
      const { body } = await namespaces(agent.key, query);
      paged.push(...body.items.map(({ namespace }) => namespace));
      query = body.next_cursor === null ? '' : `?limit=4&cursor=${body.next_cursor}`;
    }
    assert.deepEqual(paged.sort(), expected);
    assert.equal((await namespaces()).body.items.length, 4004);
  });

  await t.test('come in pages however long their names are', async () => {
    const segment = 'x'.repeat(128);
    const longest = `long/${segment}/${segment}/${segment}/${'y'.repeat(118)}`;
    assert.equal(longest.length, 510);
    for (const namespace of [longest, 'long/z']) await aSecret(`${namespace}/K`);
    const agent = await anAgent('secrets:read:long/*');
    const first = await namespaces(agent.key, '?limit=1');
    assert.deepEqual(first.body.items, [{ namespace: longest, secret_count: 1 }]);
    const next = await namespaces(agent.key, `?limit=1&cursor=${first.body.next_cursor}`);
    assert.equal(next.status, 200, next.text);
    assert.deepEqual(next.body, { items: [{ namespace: 'long/z', secret_count: 1 }], next_cursor: null });
    const beyond = Buffer.from('x'.repeat(513)).toString('base64url');
    const refused = await namespaces(agent.key, `?cursor=${beyond}`);
    assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR' });
  });

  await t.test('take no other limit, no foreign cursor and no other parameter', async () => {
    for (const query of [
      '?limit=0',
      '?limit=1001',
      '?limit=x',
      '?cursor=',
      '?cursor=!',
      '?cursor=SzE=',
      '?prefix=t',
    ]) {
      assertRefused(await namespaces(adminKey, query), { status: 400, code: 'VALIDATION_ERROR' }, query);
    }
  });
});
