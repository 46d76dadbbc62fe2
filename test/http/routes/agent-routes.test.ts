/**
 * `/v1/agents` (contract section 2): `agents.creates`, `.shows`, `.changes`, `.revokes`, `.keys`, `.authenticates`.
 * A key is shown once; what is revoked is refused at once, whatever is remembered.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatApiKey } from '../../../src/domain/principals/api-key.ts';
import { assertRefused, buildTestApp, errorOf, type TestAnswer, type TestApp } from '../../support/app.ts';
import { until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface KeyView {
  readonly id: string;
  readonly name: string | null;
  readonly prefix: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
  readonly last_used_ip: string | null;
  readonly revoked_at: string | null;
}

interface AgentView {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly email: string | null;
  readonly description: string | null;
  readonly allowed_scopes: string[] | null;
  readonly allowed_namespaces: string[] | null;
  readonly effective_scopes: string[];
  readonly policy: Record<string, unknown> | null;
  readonly active: boolean;
  readonly api_key_prefix: string;
  readonly created_at: string;
  readonly last_active_at: string | null;
  readonly keys: KeyView[];
}

type CreatedView = AgentView & { readonly api_key: string; readonly key_id: string };
type CreatedKey = KeyView & { readonly api_key: string; readonly agent_id: string };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const API_KEY = /^ak_live_[0-9a-f]{64}$/;
const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const FUTURE = '2999-01-01T00:00:00.000Z';

function clientOf({ call, adminKey }: TestApp) {
  const ask =
    <Body>(method: string, hasBody: boolean) =>
    (path: string, json?: unknown, key: string = adminKey): Promise<TestAnswer<Body>> =>
      call<Body>({
        method,
        url: `/v1/agents${path}`,
        key,
        ...(hasBody && json !== undefined ? { json } : {}),
      });
  return {
    create: (json: unknown, key?: string) => ask<CreatedView>('POST', true)('', json, key),
    get: (path: string, key?: string) => ask<AgentView>('GET', false)(path, undefined, key),
    list: (query = '', key?: string) =>
      ask<{ items: AgentView[]; next_cursor: string | null }>('GET', false)(query, undefined, key),
    patch: (path: string, json: unknown, key?: string) => ask<AgentView>('PATCH', true)(path, json, key),
    remove: (path: string, key?: string) => ask('DELETE', false)(path, undefined, key),
    addKey: (id: string, json: unknown = {}, key?: string) =>
      ask<CreatedKey>('POST', true)(`/${id}/keys`, json, key),
    me: (key: string) => call({ method: 'GET', url: '/v1/me', key }),
  };
}

const countOf = async ({ sql }: TestApp, what: string): Promise<number> =>
  Number((await sql<{ count: string }>(`select count(*) from ${what}`))[0]?.count);

test('agents.creates', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { create, get, me } = clientOf(server);

  await t.test('the answer is the whole view and the key, which is shown this once', async () => {
    const spec = {
      name: 'Deploy bot 1',
      description: 'deploys\nthings',
      email: 'ops@example.org',
      allowed_scopes: ['secrets:read:prod/*'],
      allowed_namespaces: ['prod/web'],
      policy: { deny: ['bank/*'], allow: ['*'] },
      key_expires_at: FUTURE,
    };
    const { status, body } = await create(spec);
    assert.equal(status, 201);
    assert.match(body.id, UUID);
    assert.match(body.api_key, API_KEY);
    assert.match(body.created_at, ISO_UTC);
    const prefix = body.api_key.slice(0, 24);
    const { created_at, keys, ...rest } = body;
    assert.deepEqual(rest, {
      id: body.id,
      name: spec.name,
      role: 'agent',
      email: spec.email,
      description: spec.description,
      allowed_scopes: spec.allowed_scopes,
      allowed_namespaces: spec.allowed_namespaces,
      effective_scopes: ['secrets:read:prod/web/*'],
      policy: spec.policy,
      active: true,
      api_key_prefix: prefix,
      last_active_at: null,
      api_key: body.api_key,
      key_id: prefix.slice('ak_live_'.length),
    });
    assert.deepEqual(keys, [
      {
        id: body.key_id,
        name: null,
        prefix,
        created_at: keys[0]?.created_at,
        expires_at: FUTURE,
        last_used_at: null,
        last_used_ip: null,
        revoked_at: null,
      },
    ]);
    assert.match(keys[0]?.created_at ?? '', ISO_UTC);
    const shown = await get(`/${body.id}`);
    const { api_key, key_id, ...view } = body;
    assert.deepEqual(shown.body, view);
    assert.ok(!shown.text.includes(api_key));
    assert.equal((await me(body.api_key)).status, 200);
  });

  await t.test('without more than a name it is an agent that may nothing with secrets', async () => {
    const { body } = await create({ name: 'plain' });
    assert.deepEqual(
      [body.role, body.email, body.description, body.allowed_scopes, body.allowed_namespaces, body.policy],
      ['agent', null, null, null, null, null],
    );
    assert.deepEqual(body.effective_scopes, []);
    assert.equal(body.keys[0]?.expires_at, null);
  });

  await t.test('effective scopes follow from scopes and namespaces, vendor names included', async () => {
    for (const [index, [allowed_scopes, allowed_namespaces, effective]] of (
      [
        [undefined, undefined, []],
        [undefined, ['a/b', 'c/d'], ['secrets:*:a/b/*', 'secrets:*:c/d/*']],
        [['secrets:read:a/b', 'namespaces:read'], undefined, ['secrets:read:a/b', 'namespaces:read']],
        [['secrets:read:*', 'secrets:write:c/d'], ['a/b'], ['secrets:read:a/b/*']],
        [['secrets:read:c/d'], ['a/b'], []],
        [[], undefined, []],
        [undefined, [], []],
        [['secrets:read:a/b'], [], []],
        [['read:secrets'], undefined, ['secrets:read:*']],
        [
          ['read:secrets', 'write:secrets', 'rotate:secrets', 'import:secrets'],
          undefined,
          ['secrets:read:*', 'secrets:write:*'],
        ],
        [['write:secrets'], ['a/b'], ['secrets:write:a/b/*']],
      ] as const
    ).entries()) {
      const { status, body, text } = await create({
        name: `scoped-${index}`,
        ...(allowed_scopes === undefined ? {} : { allowed_scopes }),
        ...(allowed_namespaces === undefined ? {} : { allowed_namespaces }),
      });
      assert.equal(status, 201, text);
      assert.deepEqual(body.effective_scopes, effective, text);
      assert.deepEqual(body.allowed_scopes, allowed_scopes ?? null);
      assert.deepEqual(body.allowed_namespaces, allowed_namespaces ?? null);
    }
  });

  await t.test('an admin may everything, an approver nothing with secrets', async () => {
    const admin = await create({ name: 'second admin', role: 'admin' });
    const approver = await create({ name: 'human', role: 'approver', email: 'h@example.org' });
    assert.deepEqual(admin.body.effective_scopes, ['secrets:*:*', 'namespaces:read']);
    assert.deepEqual(approver.body.effective_scopes, []);
    assert.equal((await create({ name: 'by the second' }, admin.body.api_key)).status, 201);
  });

  await t.test('a name is unique among the active and free again after', async () => {
    const first = await create({ name: 'unique' });
    const before = await countOf(server, 'api_keys');
    assertRefused(await create({ name: 'unique' }), { status: 409, code: 'ALREADY_EXISTS' });
    assert.equal(await countOf(server, 'api_keys'), before);
    for (const name of ['Unique', 'UNIQUE ', '\uff55nique', 'un1que', 'unlque']) {
      const answer = await create({ name });
      assertRefused(answer, { status: 409, code: 'ALREADY_EXISTS' }, name);
      assert.equal(errorOf(answer).details?.['pointer'], '/name');
    }
    assert.equal(await countOf(server, 'api_keys'), before);
    await clientOf(server).remove(`/${first.body.id}`);
    const again = await create({ name: 'unique' });
    assert.equal(again.status, 201);
    assert.equal((await get('/unique')).body.id, again.body.id);
    assert.equal((await get(`/${first.body.id}`)).body.active, false);
  });

  await t.test('a name is kept in NFKC and trimmed, and is found as it is kept', async () => {
    const { status, body } = await create({ name: ' \uff34\uff45am\u00a0one\n' });
    assert.deepEqual([status, body.name], [201, 'Team one']);
    assert.equal((await get('/Team%20one')).body.id, body.id);
  });

  await t.test('of requests at once with one name, one makes it', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => create({ name: 'raced' })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409, 409]);
    assert.equal(await countOf(server, "agents where name = 'raced'"), 1);
  });

  await t.test('what is not acceptable is refused and makes nothing', async () => {
    const before = [await countOf(server, 'agents'), await countOf(server, 'api_keys')];
    const name = 'never';
    for (const [json, code, pointer] of [
      [{}, 'VALIDATION_ERROR', '/name'],
      [{ name: null }, 'VALIDATION_ERROR', '/name'],
      [{ name: '' }, 'VALIDATION_ERROR', '/name'],
      [{ name: 'n'.repeat(65) }, 'VALIDATION_ERROR', '/name'],
      [{ name: 'a\u0000b' }, 'VALIDATION_ERROR', '/name'],
      [{ name: 'a\nb' }, 'VALIDATION_ERROR', '/name'],
      [{ name: '\u0430dmin' }, 'VALIDATION_ERROR', '/name'],
      [{ name: 'ad\u202emin' }, 'VALIDATION_ERROR', '/name'],
      [{ name: 'ad\u200bmin' }, 'VALIDATION_ERROR', '/name'],
      [{ name, description: 'a\u202eb' }, 'VALIDATION_ERROR', '/description'],
      [{ name: '01890a5d-ac96-774b-bcce-b302099a8057' }, 'VALIDATION_ERROR', '/name'],
      [{ name: '01890A5D-AC96-774B-BCCE-B302099A8057' }, 'VALIDATION_ERROR', '/name'],
      [{ name, role: 'root' }, 'VALIDATION_ERROR', '/role'],
      [{ name, email: 'nobody' }, 'VALIDATION_ERROR', '/email'],
      [{ name, email: 'a\u0000@example.org' }, 'VALIDATION_ERROR', '/email'],
      [{ name, description: 'a\u0000' }, 'VALIDATION_ERROR', '/description'],
      [{ name, id: '01890a5d-ac96-774b-bcce-b302099a8057' }, 'VALIDATION_ERROR', '/id'],
      [{ name, active: false }, 'VALIDATION_ERROR', '/active'],
      [{ name, allowed_scopes: ['secrets:read'] }, 'INVALID_SCOPE', '/allowed_scopes/0'],
      [{ name, allowed_namespaces: ['a/../b'] }, 'INVALID_PATH', '/allowed_namespaces/0'],
      [{ name, policy: { deny: ['**'] } }, 'INVALID_POLICY', '/policy/deny/0'],
      [{ name, key_expires_at: 'tomorrow' }, 'VALIDATION_ERROR', '/key_expires_at'],
      [{ name, key_expires_at: '2999-02-30T00:00:00Z' }, 'VALIDATION_ERROR', '/key_expires_at'],
      [{ name, key_expires_at: '2999-01-01T00:00:00' }, 'VALIDATION_ERROR', '/key_expires_at'],
      [{ name, key_expires_at: 32_503_680_000 }, 'VALIDATION_ERROR', '/key_expires_at'],
    ] as const) {
      const answer = await create(json);
      assertRefused(answer, { status: 400, code, details: { pointer } }, JSON.stringify(json));
    }
    assert.deepEqual([await countOf(server, 'agents'), await countOf(server, 'api_keys')], before);
  });

  await t.test(
    'an instant that is written unusually is taken or refused, and never a fault of ours',
    async () => {
      const faults: string[] = [];
      for (const [index, instant] of [
        '2998-12-31T23:59:60Z',
        '2998-12-31t23:59:59z',
        '2998-12-31 23:59:59Z',
        '2998-12-31\n23:59:59Z',
        '2998-12-31\u00a023:59:59Z',
        '2998-12-31T23:59:59.123456789+23:59',
        '9999-12-31T23:59:59-23:59',
      ].entries()) {
        const answer = await create({ name: `instant-${index}`, key_expires_at: instant });
        if (answer.status !== 201 && answer.status !== 400) faults.push(JSON.stringify(instant));
      }
      assert.deepEqual(faults, []);
    },
  );
});

test('agents.shows', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { get, list, me, remove } = clientOf(server);

  await t.test('one is found by id in any case, or by name', async () => {
    const { id } = await server.createAgent();
    // From before names were ASCII: it is kept, and works as ever.
    await server.sql('update agents set name = $1 where id = $2', ['team/ü 1', id]);
    for (const path of [`/${id}`, `/${id.toUpperCase()}`, `/${encodeURIComponent('team/ü 1')}`]) {
      const { status, body } = await get(path);
      assert.deepEqual([status, body.id], [200, id], path);
    }
  });

  await t.test('an id wins over a name', async () => {
    const { id } = await server.createAgent();
    const other = await server.createAgent();
    // No request makes such a name; the rule must not rest on that.
    await server.sql('update agents set name = $1 where id = $2', [id, other.id]);
    assert.equal((await get(`/${id}`)).body.id, id);
  });

  await t.test('one that does not exist is not found', async () => {
    for (const path of [
      '/nobody',
      '/01890a5d-ac96-774b-bcce-b302099a8057',
      '/%00',
      '/a%00b',
      "/'%20or%201=1--",
    ]) {
      assertRefused(await get(path), { status: 404, code: 'NOT_FOUND' }, path);
    }
  });

  await t.test('the use of a key shows, on the key and on its principal', async () => {
    const agent = await server.createAgent();
    assert.equal((await me(agent.key)).status, 200);
    // A job writes it.
    await until('its use is on record', async () => (await get(`/${agent.id}`)).body.last_active_at);
    const shown = await get(`/${agent.id}`);
    assert.match(shown.body.last_active_at ?? '', ISO_UTC);
    assert.equal(shown.body.keys[0]?.last_used_ip, '127.0.0.1');
    assert.equal(shown.body.keys[0]?.last_used_at, shown.body.last_active_at);
  });

  await t.test('the list holds all, the revoked ones included, each as a whole view', async () => {
    const agent = await server.createAgent();
    await remove(`/${agent.id}`);
    const { status, body } = await list();
    assert.equal(status, 200);
    assert.equal(body.next_cursor, null);
    assert.equal(body.items.length, await countOf(server, 'agents'));
    const one = body.items.find(({ id }) => id === agent.id);
    assert.deepEqual(one, (await get(`/${agent.id}`)).body);
    assert.equal(one?.active, false);
    assert.ok(body.items.every(({ api_key_prefix }) => /^ak_live_[0-9a-f]{16}$/.test(api_key_prefix)));
  });

  await t.test('pages together are the list, without gap or repetition', async () => {
    const all = (await list()).body.items.map(({ id }) => id);
    for (const limit of [1, 2, all.length, 1000]) {
      const seen: string[] = [];
      let query = `?limit=${limit}`;
      for (let pages = 0; pages <= all.length; pages += 1) {
        const { body } = await list(query);
        assert.ok(body.items.length <= limit);
        seen.push(...body.items.map(({ id }) => id));
        if (body.next_cursor === null) break;
        query = `?limit=${limit}&cursor=${body.next_cursor}`;
      }
      assert.deepEqual(seen, all, `limit ${limit}`);
    }
  });

  await t.test('a limit or cursor that is none is refused', async () => {
    const notAnId = Buffer.from('not an id').toString('base64url');
    for (const query of [
      ...[
        'limit=0',
        'limit=1001',
        'limit=-1',
        'limit=1.5',
        'limit=',
        'limit=x',
        'limit=01',
        'limit=1&limit=2',
      ],
      ...['cursor=', 'cursor=x', 'cursor=%00', `cursor=${notAnId}`, 'cursor=a&cursor=b', 'page=2', 'Limit=1'],
    ]) {
      assertRefused(await list(`?${query}`), { status: 400, code: 'VALIDATION_ERROR' }, query);
    }
  });
});

test('agents.changes', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { patch, get } = clientOf(server);
  const full = {
    description: 'd',
    email: 'e@example.org',
    allowed_scopes: ['secrets:read:*'],
    allowed_namespaces: ['a/b'],
    policy: { deny: ['x/y'] },
  };

  await t.test('what is named changes, what is not stays', async () => {
    const { id } = await server.createAgent(full);
    const first = (await get(`/${id}`)).body;
    const { status, body } = await patch(`/${id}`, { description: 'other' });
    assert.equal(status, 200);
    assert.deepEqual(body, { ...first, description: 'other' });
    const narrowed = await patch(`/${id}`, { allowed_namespaces: ['c/d'] });
    assert.deepEqual(narrowed.body.effective_scopes, ['secrets:read:c/d/*']);
    assert.deepEqual((await get(`/${id}`)).body, narrowed.body);
  });

  await t.test('null clears', async () => {
    for (const member of Object.keys(full)) {
      const { id } = await server.createAgent(full);
      const { body } = await patch(`/${id}`, { [member]: null });
      const shown: Record<string, unknown> = { ...body };
      for (const [name, value] of Object.entries(full)) {
        assert.deepEqual(shown[name], name === member ? null : value, `${member}: ${name}`);
      }
    }
  });

  await t.test('name and role do not change, and nothing unknown does', async () => {
    const { id, name } = await server.createAgent();
    for (const json of [
      { name: 'other' },
      { role: 'admin' },
      { active: false },
      { key_expires_at: FUTURE },
      { description: 'x', effective_scopes: ['secrets:*:*'] },
    ]) {
      const pointer = `/${Object.keys(json).at(-1)}`;
      assertRefused(
        await patch(`/${id}`, json),
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
    }
    const { body } = await get(`/${id}`);
    assert.deepEqual([body.name, body.role, body.description], [name, 'agent', null]);
  });

  await t.test('what would not be accepted at creation is not accepted later', async () => {
    const { id } = await server.createAgent({ allowed_scopes: ['secrets:read:a/b'] });
    for (const [json, code] of [
      [{ allowed_scopes: ['x'] }, 'INVALID_SCOPE'],
      [{ email: 'x' }, 'VALIDATION_ERROR'],
    ] as const) {
      assertRefused(await patch(`/${id}`, json), { status: 400, code }, JSON.stringify(json));
    }
  });

  await t.test('a change is one event that names what changed and not to what', async () => {
    const { id } = await server.createAgent();
    await patch(`/${id}`, { description: 'canary-91', policy: { deny: ['x/y'] } });
    const events = await server.sql<{ metadata: { changed: string[] }; text: string }>(
      "select metadata, audit_events::text as text from audit_events where event_type = 'agent.updated' and resource_id = $1",
      [id],
    );
    assert.equal(events.length, 1);
    assert.deepEqual(events[0]?.metadata.changed.sort(), ['description', 'policy']);
    assert.ok(!events[0]?.text.includes('canary-91'));
  });

  await t.test('one that does not exist, or no longer, is not found', async () => {
    const { id } = await server.createAgent();
    await clientOf(server).remove(`/${id}`);
    for (const path of ['/nobody', `/${id}`]) {
      assertRefused(await patch(path, { description: 'x' }), { status: 404, code: 'NOT_FOUND' });
    }
  });
});

test('agents.revokes', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { remove, get, me, addKey, create } = clientOf(server);

  await t.test('a principal’s end ends all its keys at once, although they are remembered', async () => {
    const agent = await server.createAgent();
    const second = (await addKey(agent.id)).body.api_key;
    for (const key of [agent.key, second]) assert.equal((await me(key)).status, 200);
    const answer = await remove(`/${agent.name}`);
    assert.deepEqual([answer.status, answer.text], [204, '']);
    for (const key of [agent.key, second]) {
      assertRefused(await me(key), { status: 401, code: 'UNAUTHORIZED' });
      const issued = await server.call({
        method: 'POST',
        url: '/token/issue',
        key,
        json: { plan: { steps: [{ action: 'a' }] } },
      });
      assertRefused(issued, { status: 401, code: 'AUTH_INVALID_KEY' });
    }
    assert.equal((await get(`/${agent.id}`)).body.active, false);
  });

  await t.test('again is 204 and no second event', async () => {
    const agent = await server.createAgent();
    for (let times = 0; times < 3; times += 1) {
      assert.equal((await remove(`/${agent.id}`)).status, 204);
    }
    const where = `audit_events where event_type = 'agent.revoked' and resource_id = '${agent.id}'`;
    assert.equal(await countOf(server, where), 1);
  });

  await t.test(
    'an admin that was revoked can do nothing any more, although its key is remembered',
    async () => {
      const admin = await server.createAgent({ role: 'admin' });
      const victim = await server.createAgent();
      assert.equal((await get(`/${victim.id}`, admin.key)).status, 200);
      assert.equal((await remove(`/${admin.id}`)).status, 204);
      for (const answer of [
        await create({ name: 'too late' }, admin.key),
        await remove(`/${victim.id}`, admin.key),
        await get(`/${victim.id}`, admin.key),
      ]) {
        assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' });
      }
      assert.equal((await get(`/${victim.id}`)).body.active, true);
    },
  );

  await t.test('nobody revokes themselves, by id or by name, and the attempt is on record', async () => {
    const admin = await server.createAgent({ role: 'admin', name: 'self' });
    for (const path of [`/${admin.id}`, '/self']) {
      assertRefused(await remove(path, admin.key), { status: 403, code: 'FORBIDDEN' });
    }
    assert.equal((await get('/self')).body.active, true);
    const where = `audit_events where actor_id = '${admin.id}' and event_type = 'auth.denied'`;
    assert.ok((await countOf(server, where)) >= 1, 'a refusal of a known credential is on record');
  });

  await t.test('one that does not exist is not found', async () => {
    for (const path of ['/nobody', '/01890a5d-ac96-774b-bcce-b302099a8057']) {
      assertRefused(await remove(path), { status: 404, code: 'NOT_FOUND' });
    }
  });
});

test('agents.keys', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { addKey, get, me, remove } = clientOf(server);

  await t.test('a further key is shown once and works beside the first', async () => {
    const agent = await server.createAgent();
    const { status, body, text } = await addKey(agent.name, { name: 'laptop', expires_at: FUTURE });
    assert.equal(status, 201, text);
    const { api_key, agent_id, ...view } = body;
    assert.match(api_key, API_KEY);
    assert.equal(agent_id, agent.id);
    assert.deepEqual(view, {
      id: api_key.slice(8, 24),
      name: 'laptop',
      prefix: api_key.slice(0, 24),
      created_at: view.created_at,
      expires_at: FUTURE,
      last_used_at: null,
      last_used_ip: null,
      revoked_at: null,
    });
    for (const key of [agent.key, api_key]) assert.equal((await me(key)).status, 200);
    const shown = await get(`/${agent.id}`);
    assert.deepEqual(
      shown.body.keys.map(({ id }) => id),
      [agent.keyId, view.id],
    );
    assert.ok(!shown.text.includes(api_key));
  });

  await t.test('a key needs neither name nor expiry, nor a body', async () => {
    const agent = await server.createAgent();
    for (const json of [{}, { name: null, expires_at: null }]) {
      const { status, body, text } = await addKey(agent.id, json);
      assert.equal(status, 201, text);
      assert.deepEqual([body.name, body.expires_at], [null, null]);
    }
    const url = `/v1/agents/${agent.id}/keys`;
    const bare = await server.call({ method: 'POST', url, key: server.adminKey });
    assert.equal(bare.status, 201, bare.text);
  });

  await t.test('what is not acceptable makes no key', async () => {
    const agent = await server.createAgent();
    const before = await countOf(server, 'api_keys');
    for (const [json, pointer] of [
      [{ expires_at: 'never' }, '/expires_at'],
      [{ name: '' }, '/name'],
      [{ name: 'n'.repeat(65) }, '/name'],
      [{ name: 'a\u0000' }, '/name'],
      [{ name: 'a\nb' }, '/name'],
      [{ name: 'a\u200bb' }, '/name'],
      [{ name: '\u2067a' }, '/name'],
      [{ role: 'admin' }, '/role'],
      [{ api_key: agent.key }, '/api_key'],
    ] as const) {
      const answer = await addKey(agent.id, json);
      assertRefused(
        answer,
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
    }
    assertRefused(await addKey('nobody'), { status: 404, code: 'NOT_FOUND' });
    await remove(`/${agent.id}`);
    assertRefused(await addKey(agent.id), { status: 404, code: 'NOT_FOUND' });
    assert.equal(await countOf(server, 'api_keys'), before);
  });

  await t.test('an expired key says so outside /v1, and is any refused key inside', async () => {
    for (const remembered of [false, true]) {
      const agent = await server.createAgent({ key_expires_at: FUTURE });
      if (remembered) assert.equal((await me(agent.key)).status, 200);
      await server.sql("update api_keys set expires_at = now() - interval '1 second' where key_id = $1", [
        agent.keyId,
      ]);
      assertRefused(await me(agent.key), { status: 401, code: 'UNAUTHORIZED' });
      const json = { plan: { steps: [{ action: 'a' }] } };
      const issued = await server.call({ method: 'POST', url: '/token/issue', key: agent.key, json });
      assertRefused(issued, { status: 401, code: 'AUTH_EXPIRED_KEY' });
      const health = await server.call({ method: 'GET', url: '/health', key: agent.key });
      assertRefused(health, { status: 401, code: 'AUTH_EXPIRED_KEY' });
    }
  });

  await t.test('a revoked key ends alone and at once, and again is 204', async () => {
    const agent = await server.createAgent();
    const second = (await addKey(agent.id)).body;
    for (const key of [agent.key, second.api_key]) assert.equal((await me(key)).status, 200);
    for (let times = 0; times < 2; times += 1) {
      assert.equal((await remove(`/${agent.id}/keys/${agent.keyId}`)).status, 204);
    }
    assertRefused(await me(agent.key), { status: 401, code: 'UNAUTHORIZED' });
    assert.equal((await me(second.api_key)).status, 200);
    const { body } = await get(`/${agent.id}`);
    assert.match(body.keys.find(({ id }) => id === agent.keyId)?.revoked_at ?? '', ISO_UTC);
    assert.equal(body.api_key_prefix, second.prefix, 'a live key is the one shown');
    const where = `audit_events where event_type = 'key.revoked' and resource_id = '${agent.keyId}'`;
    assert.equal(await countOf(server, where), 1);
  });

  await t.test('without a live key a prefix is still shown', async () => {
    const agent = await server.createAgent();
    await remove(`/${agent.id}/keys/${agent.keyId}`);
    assert.equal((await get(`/${agent.id}`)).body.api_key_prefix, agent.key.slice(0, 24));
  });

  await t.test('the key in use does not revoke itself, another of the same principal may', async () => {
    const admin = await server.createAgent({ role: 'admin' });
    const second = (await addKey(admin.id)).body;
    const refused = await remove(`/${admin.id}/keys/${admin.keyId}`, admin.key);
    assertRefused(refused, { status: 403, code: 'FORBIDDEN' });
    assert.equal((await me(admin.key)).status, 200);
    assert.equal((await remove(`/${admin.id}/keys/${admin.keyId}`, second.api_key)).status, 204);
    assertRefused(await me(admin.key), { status: 401, code: 'UNAUTHORIZED' });
  });

  await t.test('no key and no secret half is in any table', async () => {
    const agent = await server.createAgent();
    const added = (await addKey(agent.id)).body.api_key;
    const rows = await server.sql<{ row: string }>(
      'select api_keys::text as row from api_keys union all select agents::text from agents union all select audit_events::text from audit_events',
    );
    const kept = rows.map(({ row }) => row).join('\n');
    for (const key of [agent.key, added]) {
      assert.ok(kept.includes(key.slice(8, 24)), 'the public id is there');
      assert.ok(!kept.includes(key.slice(24, 64)));
    }
  });
});

test('agents.authenticates', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);

  for (const role of ['agent', 'approver'] as const) {
    await t.test(`a key of role ${role} may nothing here, and its attempts are on record`, async () => {
      const caller = await server.createAgent({ role });
      const victim = await server.createAgent();
      const attempts = [
        ['POST', '', 'POST /v1/agents', { name: 'x', role: 'admin' }],
        ['GET', '', 'GET /v1/agents'],
        ['GET', `/${caller.id}`, 'GET /v1/agents/:id'],
        ['PATCH', `/${caller.id}`, 'PATCH /v1/agents/:id', { description: 'x' }],
        ['DELETE', `/${victim.id}`, 'DELETE /v1/agents/:id'],
        ['POST', `/${caller.id}/keys`, 'POST /v1/agents/:id/keys', {}],
        ['DELETE', `/${victim.id}/keys/${victim.keyId}`, 'DELETE /v1/agents/:id/keys/:keyId'],
      ] as const;
      for (const [method, path, , json] of attempts) {
        const answer = await server.call({
          method,
          url: `/v1/agents${path}`,
          key: caller.key,
          ...(json === undefined ? {} : { json }),
        });
        assertRefused(answer, { status: 403, code: 'FORBIDDEN' }, `${method} ${path}`);
      }
      const recorded = await server.sql<{ resource_id: string; code: string }>(
        "select resource_id, metadata->>'code' as code from audit_events where event_type = 'auth.denied' and actor_id = $1",
        [caller.id],
      );
      assert.deepEqual(
        recorded.map(({ resource_id }) => resource_id).sort(),
        attempts.map(([, , resource]) => resource).sort(),
      );
      assert.ok(recorded.every(({ code }) => code === 'FORBIDDEN'));
      assert.equal((await server.call({ method: 'GET', url: '/v1/me', key: victim.key })).status, 200);
    });
  }

  await t.test('a wrong secret under a known id is on record as nobody’s', async () => {
    const { keyId } = await server.createAgent();
    const wrongSecret = formatApiKey({ environment: 'live', keyIdHex: keyId, secretHex: '0'.repeat(40) });
    const unknown = await server.call({ method: 'GET', url: '/v1/me', key: wrongSecret });
    assertRefused(unknown, { status: 401, code: 'UNAUTHORIZED' });
    const rows = await server.sql(
      "select actor_id, actor_type, resource_id, metadata->>'code' as code from audit_events where event_type = 'auth.denied' and resource_id = $1",
      [keyId],
    );
    assert.deepEqual(rows, [
      { actor_id: 'anonymous', actor_type: 'anonymous', resource_id: keyId, code: 'AUTH_INVALID_KEY' },
    ]);
  });
});
