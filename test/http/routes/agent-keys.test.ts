/** The API keys of a principal (contract section 2): its page of each, and a rotation with an overlap. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  buildTestApp,
  type CreatedAgent,
  openTestApp,
  type TestApp,
} from '../../support/app.ts';
import { A_PLAN, until } from '../../support/issuing.ts';
import { postgresSkip as skip } from '../../support/postgres.ts';

interface Key {
  readonly id: string;
  readonly status: string;
  readonly expires_at: string | null;
  readonly agent_id: string;
  readonly agent_name: string;
  readonly last_used_ip: string | null;
}
interface Rotated extends Key {
  readonly api_key: string;
  readonly older_keys: readonly { readonly id: string; readonly expires_at: string }[];
}

const HOUR_MS = 3_600_000;

function clientOf({ call, adminKey }: TestApp) {
  return {
    rotate: (agent: string, json: object = {}, key = adminKey) =>
      call<Rotated>({ method: 'POST', url: `/v1/agents/${agent}/keys/rotate`, key, json }),
    list: (agent: string, query = '') =>
      call<{ items: Key[]; next_cursor: string | null }>({
        method: 'GET',
        url: `/v1/agents/${agent}/keys${query}`,
        key: adminKey,
      }),
    show: (agent: string, keyId: string) =>
      call<Key>({ method: 'GET', url: `/v1/agents/${agent}/keys/${keyId}`, key: adminKey }),
    me: (key: string) =>
      call<{ api_key_expires_at?: string; warning?: string }>({ method: 'GET', url: '/v1/me', key }),
    issue: async (key: string) =>
      (await call({ method: 'POST', url: '/token/issue', key, json: { plan: A_PLAN } })).status,
  };
}

const eventsOf = (app: TestApp, { keyId }: Pick<CreatedAgent, 'keyId'>) =>
  app.sql<{ event_type: string; metadata: Record<string, unknown> }>(
    'select event_type, metadata from audit_events where resource_id = $1 order by xact',
    [keyId],
  );

test('a rotation', { skip }, async (t) => {
  const app = await buildTestApp(t);
  const { rotate, list, show, me, issue } = clientOf(app);

  await t.test(
    'adds a key beside the older one, which ends after the overlap and works until then',
    async () => {
      const agent = await app.createAgent();
      assert.equal(await issue(agent.key), 200);
      const before = Date.now();
      const { status, body } = await rotate(agent.name, { overlap_seconds: 3600, name: 'new' });
      assert.equal(status, 201);
      assert.deepEqual([body.agent_id, body.agent_name, body.status], [agent.id, agent.name, 'active']);
      assert.equal(body.expires_at, null);
      const [older, ...others] = body.older_keys;
      assert.deepEqual([older?.id, others], [agent.keyId, []]);
      const endsMs = Date.parse(older?.expires_at ?? '');
      assert.ok(endsMs >= before + HOUR_MS - 1000 && endsMs <= Date.now() + HOUR_MS + 1000);
      for (const key of [agent.key, body.api_key]) assert.equal(await issue(key), 200);
      assert.equal((await show(agent.id, agent.keyId)).body.expires_at, older?.expires_at);
      const changed = (await eventsOf(app, agent)).at(-1);
      assert.deepEqual(changed, {
        event_type: 'key.rotated',
        metadata: { agent_id: agent.id, successor: body.id, ends_at: older?.expires_at },
      });
      assert.deepEqual(
        (await eventsOf(app, { keyId: body.id })).map(({ event_type: type }) => type),
        ['key.created'],
      );
    },
  );

  await t.test(
    'lasts a day where no overlap is named, and never extends a key that ends earlier',
    async () => {
      const soon = new Date(Date.now() + HOUR_MS).toISOString();
      const agent = await app.createAgent({ key_expires_at: soon });
      const first = (await rotate(agent.id)).body;
      assert.deepEqual(first.older_keys, [{ id: agent.keyId, expires_at: soon }]);
      assert.deepEqual(
        (await eventsOf(app, agent)).map(({ event_type: type }) => type),
        [],
        'nothing changed of it',
      );
      const second = (await rotate(agent.id)).body;
      const [, ofFirst] = second.older_keys.toSorted((one) => (one.id === agent.keyId ? -1 : 1));
      assert.equal(ofFirst?.id, first.id);
      const leftMs = Date.parse(ofFirst?.expires_at ?? '') - Date.now();
      assert.ok(Math.abs(leftMs - 24 * HOUR_MS) < 60_000);
      const page = (await list(agent.id)).body.items;
      assert.deepEqual(
        page.map(({ id }) => id),
        [agent.keyId, first.id, second.id],
      );
    },
  );

  await t.test('without an overlap revokes the older ones at once', async () => {
    const agent = await app.createAgent();
    assert.equal(await issue(agent.key), 200);
    const { body } = await rotate(agent.id, { overlap_seconds: 0 });
    assert.equal(await issue(agent.key), 401);
    assert.equal(await issue(body.api_key), 200);
    assert.equal((await show(agent.id, agent.keyId)).body.status, 'revoked');
    assert.ok((await eventsOf(app, agent)).some(({ event_type: type }) => type === 'key.revoked'));
    const [row] = await app.sql<{ seal: unknown }>('select seal from api_keys where key_id = $1', [
      agent.keyId,
    ]);
    assert.equal(row?.seal, null);
  });

  await t.test('does not make whole what somebody else wrote', async () => {
    const agent = await app.createAgent();
    await app.sql(`update api_keys set expires_at = now() + interval '90 days' where key_id = $1`, [
      agent.keyId,
    ]);
    const { status, body } = await rotate(agent.id, { overlap_seconds: 60 });
    assert.deepEqual([status, body.older_keys], [201, []]);
    assertRefused(await me(agent.key), { status: 500, code: 'INTEGRITY_ERROR' });
    assert.equal(await issue(body.api_key), 200);
  });

  await t.test('of one’s own key needs an overlap; an agent rotates no key', async () => {
    const admin = await app.createAgent({ role: 'admin' });
    assertRefused(await rotate(admin.id, { overlap_seconds: 0 }, admin.key), {
      status: 403,
      code: 'FORBIDDEN',
    });
    assert.equal((await rotate(admin.id, { overlap_seconds: 60 }, admin.key)).status, 201);
    const agent = await app.createAgent();
    assertRefused(await rotate(agent.id, {}, agent.key), { status: 403, code: 'FORBIDDEN' });
  });

  await t.test('is refused with the field at fault', async () => {
    const agent = await app.createAgent();
    for (const [json, pointer] of [
      [{ overlap_seconds: -1 }, '/overlap_seconds'],
      [{ overlap_seconds: 2_592_001 }, '/overlap_seconds'],
      [{ overlap_seconds: '60' }, '/overlap_seconds'],
      [{ overlap_seconds: 1.5 }, '/overlap_seconds'],
      [{ expires_at: '2001-01-01T00:00:00Z' }, '/expires_at'],
      [{ overlap: '24h' }, '/overlap'],
    ] as const) {
      const refused = await rotate(agent.id, json);
      assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR' }, JSON.stringify(json));
      assert.ok(refused.text.includes(pointer), refused.text);
    }
    assertRefused(await rotate('nobody'), { status: 404, code: 'NOT_FOUND' });
    assert.equal((await list(agent.id)).body.items.length, 1);
  });
});

test('the keys of a principal are paged, and each has a page', { skip }, async (t) => {
  const app = await buildTestApp(t);
  const { rotate, list, show } = clientOf(app);
  const agent = await app.createAgent();
  const other = await app.createAgent();
  for (let time = 0; time < 3; time += 1) await rotate(agent.id);
  const all = (await list(agent.id)).body;
  assert.deepEqual([all.items.length, all.next_cursor], [4, null]);
  const paged: Key[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page: { items: Key[]; next_cursor: string | null } = (
      await list(agent.id, `?limit=3${cursor && `&cursor=${cursor}`}`)
    ).body;
    paged.push(...page.items);
    cursor = page.next_cursor;
  }
  assert.deepEqual(paged, all.items);
  assert.deepEqual((await show(agent.name, agent.keyId)).body, all.items[0]);
  for (const [whose, keyId] of [
    [other.id, agent.keyId],
    [agent.id, '0'.repeat(16)],
    ['nobody', agent.keyId],
  ] as const) {
    assertRefused(await show(whose, keyId), { status: 404, code: 'NOT_FOUND' });
  }
});

test('a caller is told when its key ends, and warned in the last days', { skip }, async (t) => {
  const app = await buildTestApp(t, { KEY_EXPIRY_WARNING_DAYS: '3' });
  const { me, rotate } = clientOf(app);
  const inDays = (days: number) => new Date(Date.now() + days * 24 * HOUR_MS).toISOString();
  const endless = await app.createAgent();
  const { body } = await me(endless.key);
  assert.ok(!('api_key_expires_at' in body) && !('warning' in body));
  const late = inDays(4);
  const { body: later } = await me((await app.createAgent({ key_expires_at: late })).key);
  assert.deepEqual([later.api_key_expires_at, later.warning], [late, undefined]);
  const soon = inDays(2);
  const { body: sooner } = await me((await app.createAgent({ key_expires_at: soon })).key);
  assert.equal(sooner.warning, `This API key ends at ${soon}: ask an administrator for its successor.`);
  const { older_keys: older } = (await rotate(endless.id)).body;
  assert.equal(
    (await me(endless.key)).body.api_key_expires_at,
    older[0]?.expires_at,
    'although it is remembered',
  );
});

test('every process that remembers a key refuses it from its new end on', { skip }, async (t) => {
  const first = await buildTestApp(t);
  const second = await openTestApp(t, first.databaseUrl);
  const agent = await first.createAgent({ allowed_scopes: ['secrets:read:a/*'] });
  await first.call({ method: 'PUT', url: '/v1/secrets/a/ONE', key: first.adminKey, json: { value: 'v' } });
  const works = [
    { method: 'POST', url: '/token/issue', json: { plan: A_PLAN } },
    { method: 'POST', url: '/v1/tokens', json: { scopes: ['secrets:read:a/*'] } },
    { method: 'POST', url: '/iap/enforce', json: { tool_name: 'tool' } },
    { method: 'GET', url: '/v1/secrets/a/ONE' },
    { method: 'GET', url: '/v1/agents/nobody' },
    { method: 'GET', url: '/v1/me' },
    { method: 'GET', url: '/api-keys' },
  ];
  const statuses = async (key: string) => {
    const answers = [first, second].flatMap(({ call }) => works.map((work) => call({ ...work, key })));
    return (await Promise.all(answers)).map(({ status }) => status);
  };
  const served = await statuses(agent.key);
  assert.ok(!served.includes(401));
  const { body } = await clientOf(first).rotate(agent.id, { overlap_seconds: 1 });
  const [row] = body.older_keys;
  await until('the end of the old key', () => Date.now() > Date.parse(row?.expires_at ?? '') + 50);
  assert.deepEqual(
    await statuses(agent.key),
    served.map(() => 401),
  );
  assert.deepEqual(await statuses(body.api_key), served);
});
