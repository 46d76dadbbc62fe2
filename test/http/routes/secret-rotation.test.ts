/** How long a version may live, and the list of those that are due to be rotated (contract section 6). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type SecretView } from './secret-calls.ts';

const FAULTY = { status: 400, code: 'VALIDATION_ERROR' };
const DENIED = { status: 403, code: 'SCOPE_DENIED' };
const DAY_MS = 86_400_000;

interface DueView {
  readonly items: readonly SecretView[];
  readonly next_cursor: string | null;
}

test('rotate_after_days', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, rescope, aToken, usesOf, expire, eventsOf, sql, adminKey } = calls;
  const agent = await anAgent('secrets:*:*');
  const read = async (path: string) => (await ask(agent.key, `GET /v1/secrets/${path}`)).body;
  const due = (query = '', as = adminKey) => ask<DueView>(as, `GET /v1/secrets?due=rotation${query}`);
  const pathsOf = ({ status, body, text }: Awaited<ReturnType<typeof due>>) => {
    assert.equal(status, 200, text);
    return body.items.map(({ path }) => path);
  };
  /** As if its newest version were so much older; what is due by more comes first. */
  const age = async (path: string, days: number): Promise<void> => {
    const rows = await sql(
      `update secrets set rotation_due_at = rotation_due_at - make_interval(hours => 24 * $2),
         updated_at = updated_at - make_interval(hours => 24 * $2) where path = $1 returning id`,
      [path, days],
    );
    assert.equal(rows.length, 1);
  };
  const dueAfter = ({ updated_at, rotate_after_days }: SecretView) =>
    rotate_after_days === null
      ? null
      : new Date(Date.parse(updated_at) + rotate_after_days * DAY_MS).toISOString();

  await t.test('is a whole number from 1 to 3650, or null', async () => {
    for (const refused of [0, -1, 3651, 1.5, '30', 'P30D', true, [], {}]) {
      const json = { value: 'v', rotate_after_days: refused };
      for (const [line, more] of [
        ['PUT /v1/secrets/life/FAULTY', {}],
        ['POST /v1/secrets', { path: 'life/FAULTY' }],
      ] as const) {
        const answer = await ask(adminKey, line, { json: { ...json, ...more } });
        assertRefused(answer, FAULTY, JSON.stringify(refused));
        assert.match(answer.text, /rotate_after_days/);
      }
    }
    for (const taken of [1, 3650, null]) {
      const made = await aSecret('life/TAKEN', { rotate_after_days: taken });
      assert.equal(made.rotate_after_days, taken);
      assert.equal(made.rotation_due_at, dueAfter(made));
    }
  });

  await t.test(
    'stays over writes and rotations, each of which begins a new life; null takes it away',
    async () => {
      const first = await aSecret('life/K', { rotate_after_days: 30 });
      await age('life/K', 31);
      for (const line of ['PUT /v1/secrets/life/K', 'POST /v1/secrets/life/K/rotate']) {
        const json = line.startsWith('PUT') ? { value: 'v' } : {};
        const { body } = await ask(agent.key, line, { json });
        assert.equal(body.rotate_after_days, 30, line);
        assert.equal(body.rotation_due_at, dueAfter(body), line);
        assert.ok(Date.parse(body.rotation_due_at ?? '') >= Date.parse(first.rotation_due_at ?? ''), line);
        assert.deepEqual(await read('life/K'), { ...body, value: (await read('life/K')).value }, line);
      }
      const imported = { namespace: 'life', content: 'K=1\nNEW=2', rotate_after_days: 7 };
      assert.equal((await ask(agent.key, 'POST /v1/secrets/import', { json: imported })).status, 200);
      const lives = [await read('life/K'), await read('life/NEW')];
      assert.deepEqual(
        lives.map((one) => [one.rotate_after_days, one.rotation_due_at]),
        [30, 7].map((days, index) => [days, dueAfter(lives[index] ?? assert.fail())]),
        'an import says it of new keys only',
      );
      const without = await aSecret('life/K', { rotate_after_days: null });
      assert.deepEqual([without.rotate_after_days, without.rotation_due_at], [null, null]);
      assert.deepEqual((await aSecret('life/K')).rotate_after_days, null);
    },
  );

  await t.test('changes nothing of what is read of a version that is due', async () => {
    await aSecret('life/OLD', { value: 'still', rotate_after_days: 1 });
    await age('life/OLD', 400);
    assert.equal((await read('life/OLD')).value, 'still');
  });

  await t.test(
    'a list of what is due has the longest due first, without what has expired, and no value',
    async () => {
      await sql('delete from secrets');
      for (const [path, days] of [
        ['due/sub/C', 5],
        ['due/A', 3],
        ['due/B', 9],
        ['other/D', 1],
      ] as const) {
        await aSecret(path, { value: 'PLANTED', rotate_after_days: 10 });
        await age(path, 10 + days);
      }
      await aSecret('due/YOUNG', { rotate_after_days: 10 });
      await aSecret('due/NEVER');
      await aSecret('due/GONE', { rotate_after_days: 1 });
      await age('due/GONE', 2);
      await expire('due/GONE');
      const answer = await due();
      assert.deepEqual(pathsOf(answer), ['due/B', 'due/sub/C', 'due/A', 'other/D']);
      assert.doesNotMatch(answer.text, /PLANTED|"value"/);
      assert.deepEqual(
        answer.body.items[0],
        (await ask<DueView>(adminKey, 'GET /v1/secrets/due')).body.items[1],
      );
      assert.deepEqual(pathsOf(await due('&namespace=due')), ['due/B', 'due/A']);
      assert.deepEqual(pathsOf(await due('&namespace=nobody')), []);
      assert.equal((await ask(agent.key, 'POST /v1/secrets/due/B/rotate')).status, 200);
      assert.deepEqual(pathsOf(await due()), ['due/sub/C', 'due/A', 'other/D']);
    },
  );

  await t.test(
    'comes in pages that together are the whole, also where many are due at one time',
    async () => {
      await sql(
        `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags, rotate_after_days, rotation_due_at)
       select gen_random_uuid(), 'many/' || n, 'many', n, 'custom', 'standard', '{}', 1,
         date_trunc('milliseconds', now()) - make_interval(hours => n / 300) from generate_series(1, 1200) as n`,
      );
      const whole = pathsOf(await due());
      assert.equal(whole.length, 1203);
      for (const limit of [1000, 299]) {
        const pages: string[][] = [];
        let cursor: string | null = null;
        do {
          const answer = await due(`&limit=${limit}${cursor === null ? '' : `&cursor=${cursor}`}`);
          pages.push(pathsOf(answer));
          cursor = answer.body.next_cursor;
        } while (cursor !== null);
        assert.deepEqual(pages.flat(), whole);
        assert.ok(pages.slice(0, -1).every((page) => page.length === limit));
      }
      const one = await ask<DueView>(adminKey, 'GET /v1/secrets?namespace=due&limit=1');
      for (const cursor of [one.body.next_cursor, 'eA', Buffer.from('1 /*').toString('base64url')]) {
        assertRefused(await due(`&cursor=${cursor}`), FAULTY);
      }
    },
  );

  await t.test(
    'shows the namespaces that the caller may list, and is refused to who may read nothing',
    async () => {
      const some = await anAgent('secrets:read:due/*', 'secrets:read:other/D', 'secrets:write:*');
      assert.deepEqual(pathsOf(await due('', some.key)), ['due/sub/C', 'due/A']);
      assertRefused(await due('&namespace=other', some.key), DENIED);
      const narrow = await aToken({ by: agent.key, scopes: ['secrets:read:other/*'], maxUses: 2 });
      assert.deepEqual(pathsOf(await due('', narrow.token)), ['other/D']);
      assert.equal(await usesOf(narrow), 1);
      await rescope(agent, 'secrets:read:due/*');
      assert.deepEqual(pathsOf(await due('', narrow.token)), [], 'its owner may not');
      await rescope(some, 'secrets:write:*');
      assertRefused(await due('', some.key), DENIED);
      const approver = await calls.createAgent({ role: 'approver' });
      assertRefused(await due('', approver.key), { status: 403, code: 'FORBIDDEN' });
      assertRefused(await due('', ''), { status: 401, code: 'UNAUTHORIZED' });
    },
  );

  await t.test('is on record as a list is', async () => {
    const events = await eventsOf(async () => {
      await due();
      await due('&namespace=due');
    });
    assert.deepEqual(
      events.map(({ event_type, resource_id, metadata }) => [event_type, resource_id, metadata['due']]),
      [
        ['secret.listed', '*', 'rotation'],
        ['secret.listed', 'due', 'rotation'],
      ],
    );
  });

  await t.test('no other question is taken for it', async () => {
    for (const query of ['due=expiry', 'due=', 'due=rotation&due=rotation', 'due=rotation&version=1']) {
      assertRefused(await ask(adminKey, `GET /v1/secrets?${query}`), FAULTY, query);
    }
    assertRefused(await ask(adminKey, 'GET /v1/secrets'), { status: 400, code: 'INVALID_PATH' });
    assertRefused(await ask(adminKey, 'GET /v1/secrets/due?due=rotation'), FAULTY);
  });
});
