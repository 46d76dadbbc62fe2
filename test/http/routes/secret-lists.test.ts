/** Lists (contract sections 1, 5.2, 6): names of a namespace, never values, and what a nested `GET` means. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type ListView, type SecretView } from './secret-calls.ts';

const DENIED = { status: 403, code: 'SCOPE_DENIED' };
const ABSENT = { status: 404, code: 'SECRET_NOT_FOUND' };
const FAULTY = { status: 400, code: 'VALIDATION_ERROR' };

test('a list of a namespace', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, rescope, aToken, usesOf, adminKey } = calls;
  const list = (target: string, as = adminKey) => ask<ListView>(as, `GET /v1/secrets${target}`);
  const keysOf = ({ body }: { body: ListView }) => body.items.map(({ key }) => key);

  await t.test('holds its own keys and not those of its children or its namesakes', async () => {
    for (const path of ['own/A', 'own/B', 'own/sub/C', 'own/sub/deep/D', 'ownX/E', 'Own/F', 'x/own/G']) {
      await aSecret(path, { value: 'PLANTED' });
    }
    for (const target of ['/own', '?namespace=own', '/%6Fwn']) {
      const answer = await list(target);
      assert.deepEqual(keysOf(answer), ['A', 'B'], target);
      assert.deepEqual([answer.body.namespace, answer.body.next_cursor], ['own', null]);
      assert.doesNotMatch(answer.text, /PLANTED|"value"/);
    }
    for (const target of ['/own/sub', '/own%2Fsub', '?namespace=own/sub', '?namespace=own%2Fsub']) {
      assert.deepEqual(keysOf(await list(target)), ['C'], target);
    }
  });

  await t.test('shows of every secret what reading it shows, but for the value', async () => {
    const members = {
      secret_type: 'api_key',
      tags: ['t'],
      metadata: { a: 1 },
      description: 'd',
      tier: 'critical',
    };
    await aSecret('shown/K', members);
    await aSecret('shown/K');
    const { value: _, ...view } = (await ask<SecretView>(adminKey, 'GET /v1/secrets/shown/K')).body;
    assert.deepEqual((await list('/shown')).body.items, [view]);
  });

  await t.test('is empty, not absent, where nothing is', async () => {
    const nobody = { namespace: 'nobody', items: [], next_cursor: null };
    assert.deepEqual((await list('/nobody')).body, nobody);
    assert.deepEqual((await list('?namespace=nobody')).body, nobody);
    assert.deepEqual((await list('/nobody?limit=1')).body, nobody);
    await aSecret('emptied/K');
    await ask(adminKey, 'DELETE /v1/secrets/emptied/K');
    assert.deepEqual((await list('/emptied')).body.items, []);
  });

  await t.test('comes whole, or in pages that together are the same', async () => {
    const names = Array.from({ length: 7 }, (_, index) => `K${index}`);
    for (const name of [...names].reverse()) await aSecret(`paged/${name}`);
    const whole = await list('/paged');
    assert.equal(whole.body.next_cursor, null);
    assert.deepEqual(keysOf(whole), names);
    for (const [limit, sizes] of [
      [1, [1, 1, 1, 1, 1, 1, 1]],
      [3, [3, 3, 1]],
      [7, [7]],
      [1000, [7]],
    ] as const) {
      for (const target of ['/paged?', '?namespace=paged&']) {
        const pages: SecretView[][] = [];
        let cursor: string | null = null;
        do {
          const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
          const { body } = await list(`${target}limit=${limit}${after}`);
          pages.push([...body.items]);
          cursor = body.next_cursor;
        } while (cursor !== null);
        assert.deepEqual(
          pages.map((page) => page.length),
          sizes,
        );
        assert.deepEqual(pages.flat(), whole.body.items);
      }
    }
  });

  await t.test('without a limit ends where its page is full, and goes on behind it', async () => {
    await calls.sql(
      `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags)
       select gen_random_uuid(), 'huge/K' || n, 'huge', 'K' || n, 'custom', 'standard', '{}'
       from generate_series(10001, 20001) as n`,
    );
    let page = await list('/huge');
    const keys = [...keysOf(page)];
    while (page.body.next_cursor !== null) {
      page = await list(`/huge?cursor=${page.body.next_cursor}`);
      keys.push(...keysOf(page));
    }
    assert.deepEqual([keys.length, keys.at(-1)], [10_001, 'K20001']);
  });

  await t.test('goes on behind its cursor, whatever came or went meanwhile', async () => {
    for (const name of ['A', 'C', 'E']) await aSecret(`moving/${name}`);
    const { body } = await list('/moving?limit=2');
    await ask(adminKey, 'DELETE /v1/secrets/moving/C');
    await aSecret('moving/B');
    await aSecret('moving/D');
    const rest = await list(`/moving?cursor=${body.next_cursor}`);
    assert.deepEqual(keysOf(rest), ['D', 'E']);
  });

  await t.test('takes no other limit than 1 to 1000 and no cursor but its own', async () => {
    for (const limit of [
      '0',
      '-1',
      '1001',
      '1.0',
      '1e2',
      '01',
      '+1',
      '',
      'all',
      '%201',
      '99999999999999999999',
    ]) {
      assertRefused(await list(`/paged?limit=${limit}`), FAULTY, limit);
      assertRefused(await list(`?namespace=paged&limit=${limit}`), FAULTY, limit);
    }
    for (const cursor of [
      '',
      'x',
      '!',
      'SzE=',
      'S zE',
      `${Buffer.from('a b').toString('base64url')}`,
      'A'.repeat(513),
    ]) {
      assertRefused(await list(`/paged?cursor=${cursor}`), FAULTY, cursor);
    }
    assertRefused(await list('/paged?limit=1&limit=2'), FAULTY);
    assertRefused(await list('/paged?offset=1'), FAULTY);
  });

  await t.test('has no version', async () => {
    for (const target of ['/paged?version=1', '?namespace=paged&version=1', '/nobody?version=1']) {
      assertRefused(await list(target), FAULTY, target);
    }
  });

  await t.test('needs a scope that covers all of the namespace', async () => {
    await aSecret('whole/K');
    const agent = await anAgent();
    for (const [scopes, may] of [
      [['secrets:read:whole/*'], true],
      [['secrets:*:whole/*'], true],
      [['secrets:read:*'], true],
      [['secrets:read:*/*'], true],
      [['secrets:read:w*/*'], true],
      [['secrets:read:whole/K'], false],
      [['secrets:read:whole/K*'], false],
      [['secrets:read:whole/*K'], false],
      [['secrets:read:whole/*/*'], false],
      [['secrets:read:whole/K', 'secrets:read:whole/*/*'], false],
      [['secrets:read:Whole/*'], false],
      [['secrets:write:whole/*', 'secrets:delete:whole/*'], false],
      [['namespaces:read'], false],
      [[], false],
    ] as const) {
      await rescope(agent, ...scopes);
      const inHand = scopes.length === 0 ? [agent.key] : [agent.key, (await aToken({ scopes })).token];
      for (const as of inHand) {
        for (const target of ['/whole', '?namespace=whole']) {
          const answer = await list(target, as);
          if (may) assert.deepEqual(keysOf(answer), ['K'], scopes.join(' '));
          else assertRefused(answer, DENIED, scopes.join(' '));
        }
      }
    }
  });

  await t.test('is refused alike whether the namespace holds anything or not', async () => {
    const agent = await anAgent('secrets:*:elsewhere/*');
    const answers = [];
    for (const target of ['/whole', '/nobody', '?namespace=whole', '?namespace=nobody']) {
      const answer = await list(target, agent.key);
      assertRefused(answer, DENIED);
      answers.push(answer.text.replace(/"request_id":"[^"]*"/, ''));
    }
    assert.equal(new Set(answers).size, 1);
  });

  await t.test('by query names one namespace by its grammar', async () => {
    for (const namespace of [
      '',
      'a/',
      '/a',
      'a//b',
      '.',
      'a/..',
      'a%252Fb',
      'a%00',
      'a%20b',
      'a+b',
      '*',
      'a%zz',
      Array.from({ length: 16 }, () => 'a').join('/'),
      'x'.repeat(129),
      'x/'.repeat(300),
      'a&namespace=b',
    ]) {
      const answer = await list(`?namespace=${namespace}`);
      assertRefused(answer, { status: 400, code: 'INVALID_PATH' }, namespace);
    }
    assert.equal((await list('')).status, 400);
    await aSecret('a+b/K');
    assert.deepEqual(keysOf(await list('?namespace=a%2Bb')), ['K']);
  });

  await t.test('takes one use of a limited token, however many names it holds', async () => {
    const limited = await aToken({ scopes: ['secrets:read:*'], maxUses: 2 });
    assert.equal((await list('/paged', limited.token)).body.items.length, 7);
    assert.equal((await list('/nobody', limited.token)).status, 200);
    assert.equal(await usesOf(limited), 2);
    assertRefused(await list('/paged', limited.token), { status: 401, code: 'TOKEN_EXHAUSTED' });
  });
});

test('GET of two raw segments or more', { skip: postgresSkip }, async (t) => {
  const { ask, aSecret, anAgent, rescope, aToken, adminKey } = await buildSecretCalls(t);
  // `ns/there` is a secret and a namespace, `ns/full` only a namespace, `ns/none` neither.
  await aSecret('ns/there', { value: 'PLANTED' });
  await aSecret('ns/there/A');
  await aSecret('ns/full/A');
  await aSecret('ns/alone', { value: 'ALONE' });

  type Expected = 'secret' | 'list' | 'empty list' | typeof ABSENT | typeof DENIED;
  const LINES: [string, readonly string[], Record<'there' | 'alone' | 'full' | 'none', Expected>][] = [
    [
      'may not read the path, may list it',
      ['there', 'alone', 'full', 'none'].map((name) => `secrets:read:ns/${name}/*`),
      { there: 'list', alone: 'empty list', full: 'list', none: 'empty list' },
    ],
    [
      'may read and list',
      ['secrets:read:ns/*'],
      { there: 'secret', alone: 'secret', full: 'list', none: ABSENT },
    ],
    [
      'may read, may not list',
      ['there', 'alone', 'full', 'none'].map((name) => `secrets:read:ns/${name}`),
      { there: 'secret', alone: 'secret', full: ABSENT, none: ABSENT },
    ],
    [
      'may do neither',
      ['secrets:read:elsewhere/*'],
      { there: DENIED, alone: DENIED, full: DENIED, none: DENIED },
    ],
    [
      'may write and delete, and read only some of what is below',
      ['secrets:write:ns/*', 'secrets:delete:ns/*', 'secrets:read:ns/there/B', 'secrets:read:ns/*/A*'],
      { there: DENIED, alone: DENIED, full: DENIED, none: DENIED },
    ],
  ];

  const agent = await anAgent();
  for (const [about, scopes, expectations] of LINES) {
    await t.test(`by whoever ${about}`, async () => {
      await rescope(agent, ...scopes);
      const { token } = await aToken({ by: agent.key, scopes });
      for (const as of [agent.key, token]) {
        const refusals = new Set<string>();
        for (const [name, expected] of Object.entries(expectations)) {
          const answer = await ask<SecretView & ListView>(as, `GET /v1/secrets/ns/${name}`);
          const where = `${about}: ${name} ${answer.text}`;
          if (typeof expected === 'object') {
            assertRefused(answer, expected, where);
            refusals.add(answer.text.replace(/"request_id":"[^"]*"/, ''));
            continue;
          }
          assert.equal(answer.status, 200, where);
          if (expected === 'secret') assert.equal(answer.body.path, `ns/${name}`, where);
          else assert.deepEqual(keysIn(answer.body), expected === 'list' ? ['A'] : [], where);
          if (expected !== 'secret') assert.doesNotMatch(answer.text, /PLANTED|ALONE/);
        }
        assert.ok(refusals.size <= 1, 'a refusal does not tell which');
      }
    });
  }

  await t.test('with two scopes that only together allow both is the secret', async () => {
    await rescope(agent, 'secrets:read:ns/there', 'secrets:read:ns/there/*');
    assert.equal((await ask(agent.key, 'GET /v1/secrets/ns/there')).body.value, 'PLANTED');
  });

  await t.test('needs the token’s scopes and its owner’s for either', async () => {
    await rescope(agent, 'secrets:read:ns/*');
    const lister = await aToken({ by: agent.key, scopes: ['secrets:read:ns/there/*'] });
    const { body, text } = await ask<ListView>(lister.token, 'GET /v1/secrets/ns/there');
    assert.deepEqual(keysIn(body), ['A']);
    assert.doesNotMatch(text, /PLANTED/);
    await rescope(agent, 'secrets:read:ns/there');
    assertRefused(await ask(lister.token, 'GET /v1/secrets/ns/there'), DENIED);
  });

  await t.test('of a secret takes no page, and of a list no version', async () => {
    await rescope(agent, 'secrets:read:ns/there/*', 'secrets:read:ns/none/*');
    const cursor = Buffer.from('A').toString('base64url');
    for (const query of ['limit=1', `cursor=${cursor}`, `limit=1&cursor=${cursor}`, 'version=1&limit=1']) {
      const secret = await ask(adminKey, `GET /v1/secrets/ns/there?${query}`);
      assertRefused(secret, FAULTY, query);
      assert.doesNotMatch(secret.text, /PLANTED/);
    }
    for (const name of ['there', 'none']) {
      assertRefused(await ask(agent.key, `GET /v1/secrets/ns/${name}?version=1`), FAULTY, name);
    }
    const page = await ask<ListView>(adminKey, 'GET /v1/secrets/ns/full?limit=1');
    assert.deepEqual(keysIn(page.body), ['A']);
  });

  await t.test('of as many segments as only a path may have is a secret or nothing', async () => {
    const deepest = `ns/${Array.from({ length: 15 }, () => 'd').join('/')}`;
    for (const scope of ['secrets:read:ns/*', `secrets:read:${deepest}`.replace(/d$/, '*')]) {
      await rescope(agent, scope);
      assertRefused(await ask(agent.key, `GET /v1/secrets/${deepest}`), ABSENT, scope);
    }
    await aSecret(deepest, { value: 'deep' });
    assert.equal((await ask(agent.key, `GET /v1/secrets/${deepest}`)).body.value, 'deep');
  });
});

function keysIn({ items }: ListView): string[] {
  return items.map(({ key }) => key);
}
