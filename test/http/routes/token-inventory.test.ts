/**
 * `GET /v1/tokens`, `GET` and `DELETE /v1/tokens/:id` (contract section 5.5): `inventory.lists`, `.pages`, `.refuses`,
 * `.revokes`. Nobody learns of a token that is another's, and no answer holds a token again.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, errorOf, openTestApp, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import {
  type IssuedToken,
  type ListedToken,
  type TokenListing,
  tokenClient,
  unlessBusy,
} from './token-calls.ts';

const READ = 'secrets:read:team/*';
const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const NOT_FOUND = { status: 404, code: 'NOT_FOUND' };
const NOBODYS = '01890000-0000-7000-8000-000000000000';

function inventoryOf({ call }: TestApp) {
  return {
    list: (key: string, query = '') => call<TokenListing>({ method: 'GET', url: `/v1/tokens${query}`, key }),
    get: (key: string, id: string) => call<ListedToken>({ method: 'GET', url: `/v1/tokens/${id}`, key }),
    revoke: (key: string, id: string) => call({ method: 'DELETE', url: `/v1/tokens/${id}`, key }),
  };
}

const idsOf = (items: readonly { token_id: string }[]): string[] => items.map((item) => item.token_id);
const newestFirst = (...tokens: readonly IssuedToken[]): string[] => idsOf(tokens).reverse();

test('inventory.lists', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, end, read, store } = tokenClient(server);
  const { list, get } = inventoryOf(server);
  const { adminKey } = server;
  const [one, other] = [
    await server.createAgent({ allowed_scopes: [READ] }),
    await server.createAgent({ allowed_scopes: [READ] }),
  ];
  const mine = await make(one.key, {
    scopes: [READ, 'namespaces:read'],
    max_uses: 2,
    allowed_ips: ['127.0.0.1'],
    description: 'mine',
    ttl: '15m',
  });
  const theirs = await make(other.key, { scopes: [READ] });
  const later = await make(one.key, { scopes: [READ] });

  await t.test('an agent sees its own, newest first, and an administrator all', async () => {
    assert.deepEqual(idsOf((await list(one.key)).body.items), newestFirst(mine, later));
    assert.deepEqual(idsOf((await list(other.key)).body.items), newestFirst(theirs));
    const all = await list(adminKey);
    assert.deepEqual(idsOf(all.body.items), newestFirst(mine, theirs, later));
    assert.equal(all.body.next_cursor, null);
  });

  await t.test('an item is what was issued, without the token, with its status', async () => {
    const { token, value, ...facts } = mine;
    const expected = { ...facts, status: 'active', revoked_at: null };
    for (const key of [one.key, adminKey]) {
      assert.deepEqual((await get(key, mine.token_id)).body, expected);
      const item = (await list(key)).body.items.find(({ token_id }) => token_id === mine.token_id);
      assert.deepEqual(item, expected);
    }
  });

  await t.test('no answer ever holds a token or its hash', async () => {
    const answers = [
      await list(adminKey),
      await list(one.key),
      await get(adminKey, mine.token_id),
      await get(one.key, later.token_id),
    ];
    for (const { text } of answers) {
      assert.doesNotMatch(text, /ast_tok_|hash/);
      for (const { token } of [mine, theirs, later]) assert.ok(!text.includes(token.slice(8, 24)));
    }
  });

  await t.test('what is left counts down with every use, to an exhausted one', async () => {
    await store('team/k');
    const states: unknown[] = [];
    for (let uses = 0; uses <= 2; uses += 1) {
      if (uses > 0) assert.equal((await read(mine.token, 'team/k')).status, 200);
      const { uses_remaining, max_uses, status } = (await get(one.key, mine.token_id)).body;
      states.push([uses_remaining, max_uses, status]);
    }
    assert.deepEqual(states, [
      [2, 2, 'active'],
      [1, 2, 'active'],
      [0, 2, 'exhausted'],
    ]);
  });

  await t.test('every status has exactly the tokens that are in it', async () => {
    const agent = await server.createAgent({ allowed_scopes: [READ] });
    const made = async () => make(agent.key, { scopes: [READ], max_uses: 1 });
    const active = await make(agent.key, { scopes: [READ] });
    const [revoked, expired, exhausted] = [await made(), await made(), await made()];
    const [expiredUsedUp, revokedAfterAll] = [await made(), await made()];
    await end(revoked, 'revoked');
    await end(expired, 'expired');
    await end(exhausted, 'exhausted');
    await end(expiredUsedUp, 'exhausted', 'expired');
    await end(revokedAfterAll, 'exhausted', 'expired', 'revoked');
    for (const [status, tokens] of [
      ['active', [active]],
      ['revoked', [revoked, revokedAfterAll]],
      ['expired', [expired, expiredUsedUp]],
      ['exhausted', [exhausted]],
    ] as const) {
      const { items } = (await list(agent.key, `?status=${status}`)).body;
      assert.deepEqual(idsOf(items), newestFirst(...tokens), status);
      for (const item of items) {
        assert.equal(item.status, status);
        assert.equal(item.revoked_at !== null, status === 'revoked');
        assert.deepEqual((await get(agent.key, item.token_id)).body, item);
      }
    }
    assert.equal((await list(agent.key)).body.items.length, 6);
  });

  await t.test('the status follows from the agent’s end: all of its tokens are revoked with it', async () => {
    const agent = await server.createAgent({ allowed_scopes: [READ] });
    const [live, expired] = [
      await make(agent.key, { scopes: [READ] }),
      await make(agent.key, { scopes: [READ] }),
    ];
    await end(expired, 'expired');
    const ended = await server.call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: adminKey });
    assert.equal(ended.status, 204);
    const revoked = (await list(adminKey, '?status=revoked')).body.items;
    for (const { token_id } of [live, expired]) {
      assert.ok(idsOf(revoked).includes(token_id));
      assert.equal((await get(adminKey, token_id)).body.status, 'revoked');
    }
    for (const status of ['active', 'expired', 'exhausted']) {
      const found = idsOf((await list(adminKey, `?status=${status}`)).body.items);
      assert.ok(!found.includes(live.token_id) && !found.includes(expired.token_id), status);
    }
  });
});

test('inventory.pages', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, end } = tokenClient(server);
  const { list } = inventoryOf(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });
  const other = await server.createAgent({ allowed_scopes: [READ] });
  const mine: IssuedToken[] = [];
  for (let index = 0; index < 5; index += 1) {
    mine.push(await make(agent.key, { scopes: [READ], max_uses: 1 }));
    await make(other.key, { scopes: [READ] });
  }

  const pages = async (
    query: string,
    between: () => Promise<unknown> = async () => {},
  ): Promise<string[][]> => {
    const seen: string[][] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const { status, text, body } = await list(
        agent.key,
        `?${query}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      assert.equal(status, 200, text);
      seen.push(idsOf(body.items));
      cursor = body.next_cursor;
      assert.ok(seen.length <= 5, 'it never ends');
      await between();
    }
    return seen;
  };

  await t.test('pages hold every token once, in order, and end', async () => {
    const all = newestFirst(...mine);
    assert.deepEqual(await pages('limit=2'), [all.slice(0, 2), all.slice(2, 4), all.slice(4)]);
    assert.deepEqual(await pages('limit=5'), [all]);
    assert.deepEqual(await pages('limit=4'), [all.slice(0, 4), all.slice(4)]);
    assert.deepEqual(await pages('limit=1000'), [all]);
    assert.deepEqual(await pages(''), [all]);
  });

  await t.test('a status is paged like the whole', async () => {
    const [first, second, third, ...others] = mine;
    for (const token of others) await end(token, 'revoked');
    const active = newestFirst(...[first, second, third].filter((token) => token !== undefined));
    assert.deepEqual(await pages('status=active&limit=2'), [active.slice(0, 2), active.slice(2)]);
    assert.deepEqual(
      await pages('status=revoked&limit=1'),
      newestFirst(...others).map((id) => [id]),
    );
    assert.deepEqual(await pages('status=expired&limit=1'), [[]]);
  });

  await t.test('a token that is issued between two pages moves nothing', async () => {
    const all = newestFirst(...mine);
    const seen = await pages('limit=3', () => make(agent.key, { scopes: [READ] }));
    assert.deepEqual(seen, [all.slice(0, 3), all.slice(3)]);
  });

  await t.test(
    'a cursor that is not one, another limit, another status and another member are refused',
    async () => {
      const cursorOf = (text: string) => `cursor=${Buffer.from(text).toString('base64url')}`;
      const known = cursorOf(mine[2]?.token_id ?? '');
      assert.equal((await list(agent.key, `?${known}`)).status, 200);
      for (const [query, pointer] of [
        ['limit=0', '/limit'],
        ['limit=-1', '/limit'],
        ['limit=1001', '/limit'],
        ['limit=1.5', '/limit'],
        ['limit=01', '/limit'],
        ['limit=', '/limit'],
        ['limit=all', '/limit'],
        ['limit=2&limit=2', '/limit'],
        ['status=', '/status'],
        ['status=live', '/status'],
        ['status=Active', '/status'],
        ['status=active,revoked', '/status'],
        ['status=active&status=active', '/status'],
        ['cursor=', '/cursor'],
        ['cursor=nonsense', '/cursor'],
        [cursorOf('team/k'), '/cursor'],
        [cursorOf(`${NOBODYS} `), '/cursor'],
        [cursorOf("' or true --"), '/cursor'],
        [`${known}=`, '/cursor'],
        [`${known}&${known}`, '/cursor'],
        [`cursor=${'A'.repeat(513)}`, '/cursor'],
        ['page=2', '/page'],
        ['agent_id=x', '/agent_id'],
      ] as const) {
        const answer = await list(agent.key, `?${query}`);
        assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, query);
      }
    },
  );

  await t.test('a cursor of another’s list opens nothing of it', async () => {
    const { body } = await list(other.key, '?limit=2');
    const found = await list(agent.key, `?cursor=${body.next_cursor}`);
    const own = new Set(idsOf(mine));
    assert.ok(found.body.items.length > 0);
    assert.ok(found.body.items.every(({ token_id }) => own.has(token_id)));
  });
});

test('inventory.refuses', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, read, store } = tokenClient(server);
  const { list, get, revoke } = inventoryOf(server);
  const [one, other] = [
    await server.createAgent({ allowed_scopes: [READ] }),
    await server.createAgent({ allowed_scopes: [READ] }),
  ];
  await store('team/k');
  const mine = await make(one.key, { scopes: [READ] });

  await t.test('another’s token is 404, in the very words of one that never was', async () => {
    const words = new Set<string | undefined>();
    for (const ask of [get, revoke]) {
      for (const id of [
        mine.token_id,
        mine.token_id.toUpperCase(),
        NOBODYS,
        'nonsense',
        '0',
        mine.token,
        `${NOBODYS}0`,
      ]) {
        const answer = await ask(other.key, id);
        assertRefused(answer, NOT_FOUND, id);
        words.add(errorOf(answer).message);
      }
    }
    assert.equal(words.size, 1);
    assert.equal((await get(one.key, mine.token_id)).body.status, 'active');
    assert.equal((await read(mine.token, 'team/k')).status, 200);
  });

  await t.test('a token is not found by itself, also not by whose it is', async () => {
    for (const key of [one.key, server.adminKey]) {
      for (const ask of [get, revoke]) assertRefused(await ask(key, mine.token), NOT_FOUND);
    }
  });

  await t.test('an approver sees and ends none', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    const forbidden = { status: 403, code: 'FORBIDDEN' };
    assertRefused(await list(approver.key), forbidden);
    for (const ask of [get, revoke]) {
      for (const id of [mine.token_id, NOBODYS]) assertRefused(await ask(approver.key, id), forbidden);
    }
    assert.equal((await get(one.key, mine.token_id)).body.status, 'active');
  });

  await t.test('a key that is revoked sees and ends none, though it is remembered', async (t) => {
    const elsewhere = await openTestApp(t, server.databaseUrl);
    const agent = await server.createAgent({ allowed_scopes: [READ] });
    const token = await make(agent.key, { scopes: [READ] });
    const remembered = inventoryOf(elsewhere);
    assert.equal((await remembered.list(agent.key)).status, 200);
    await server.sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
    const unauthorized = { status: 401, code: 'UNAUTHORIZED' };
    for (const client of [remembered, { list, get, revoke }]) {
      assertRefused(await client.list(agent.key), unauthorized);
      for (const ask of [client.get, client.revoke]) {
        assertRefused(await ask(agent.key, token.token_id), unauthorized);
      }
    }
    assert.equal((await get(server.adminKey, token.token_id)).body.status, 'active');
  });
});

test('inventory.revokes', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, read, store, end, events } = tokenClient(server);
  const { get, revoke } = inventoryOf(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });
  await store('team/k');
  const revocations = ({ token_id }: IssuedToken) =>
    events("event_type = 'token.revoked' and resource_id = $1", [token_id]);

  await t.test('a revoked token is refused at its next use, on every process', async (t) => {
    const elsewhere = tokenClient(await openTestApp(t, server.databaseUrl));
    const token = await make(agent.key, { scopes: [READ] });
    for (const client of [{ read }, elsewhere]) {
      assert.equal((await client.read(token.token, 'team/k')).status, 200);
    }
    const answer = await revoke(agent.key, token.token_id);
    assert.equal(answer.status, 204);
    assert.equal(answer.text, '');
    for (const client of [{ read }, elsewhere]) {
      assertRefused(await client.read(token.token, 'team/k'), { status: 401, code: 'TOKEN_REVOKED' });
    }
    const { status, revoked_at } = (await get(agent.key, token.token_id)).body;
    assert.equal(status, 'revoked');
    assert.match(revoked_at ?? '', ISO_UTC);
  });

  await t.test('again is 204, and changes and records nothing more', async () => {
    const token = await make(agent.key, { scopes: [READ] });
    assert.equal((await revoke(agent.key, token.token_id)).status, 204);
    const first = (await get(agent.key, token.token_id)).body;
    for (const key of [agent.key, server.adminKey]) {
      assert.equal((await revoke(key, token.token_id)).status, 204);
    }
    assert.deepEqual((await get(agent.key, token.token_id)).body, first);
    assert.equal((await revocations(token)).length, 1);
  });

  await t.test('many at once are one revocation', async () => {
    const token = await make(agent.key, { scopes: [READ] });
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        unlessBusy(() => revoke(index % 2 === 0 ? agent.key : server.adminKey, token.token_id)),
      ),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [204]);
    assert.equal((await revocations(token)).length, 1);
  });

  await t.test('who did it, and whose token it was, is on record', async () => {
    const [admin] = await server.sql<{ id: string; key_id: string }>(
      "select agent.id, key.key_id from agents agent join api_keys key on key.agent_id = agent.id where role = 'admin'",
    );
    const [own, another] = [
      await make(agent.key, { scopes: [READ] }),
      await make(agent.key, { scopes: [READ] }),
    ];
    const answers = [await revoke(agent.key, own.token_id), await revoke(server.adminKey, another.token_id)];
    const expected = [
      { token: own, actor_id: agent.id, actor_type: 'agent', key_id: agent.keyId },
      { token: another, actor_id: admin?.id, actor_type: 'admin', key_id: admin?.key_id },
    ];
    for (const [index, { token, actor_id, actor_type, key_id }] of expected.entries()) {
      assert.deepEqual(
        (await revocations(token)).map(({ id, ...row }) => row),
        [
          {
            event_type: 'token.revoked',
            actor_id,
            actor_type,
            resource_type: 'scoped_token',
            resource_id: token.token_id,
            metadata: { key_id, agent_id: agent.id },
            ip_address: '127.0.0.1',
            request_id: answers[index]?.headers['x-request-id'],
          },
        ],
      );
    }
  });

  await t.test('one that has expired or is used up can still be revoked', async () => {
    for (const state of ['expired', 'exhausted'] as const) {
      const token = await make(agent.key, { scopes: [READ], max_uses: 1 });
      await end(token, state);
      assert.equal((await revoke(agent.key, token.token_id)).status, 204, state);
      assert.equal((await get(agent.key, token.token_id)).body.status, 'revoked', state);
    }
  });

  await t.test('a principal may end a token that another of its keys made', async () => {
    const token = await make(agent.key, { scopes: [READ] });
    const second = await server.call<{ api_key: string }>({
      method: 'POST',
      url: `/v1/agents/${agent.id}/keys`,
      key: server.adminKey,
      json: {},
    });
    assert.equal((await revoke(second.body.api_key, token.token_id)).status, 204);
    assertRefused(await read(token.token, 'team/k'), { status: 401, code: 'TOKEN_REVOKED' });
  });

  await t.test('ending one token ends no other', async () => {
    const [one, other] = [
      await make(agent.key, { scopes: [READ] }),
      await make(agent.key, { scopes: [READ] }),
    ];
    assert.equal((await revoke(agent.key, one.token_id)).status, 204);
    assert.equal((await read(other.token, 'team/k')).status, 200);
  });
});
