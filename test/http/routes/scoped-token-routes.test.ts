/**
 * `POST /v1/tokens` (contract section 5.1): `tokens.accepts`, `.records`, `.authenticates`. What was asked is granted as
 * asked; only the SHA-256 of a token is kept. What is refused is in `scoped-token-refusals.test.ts`.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { assertRefused, buildTestApp, openTestApp, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { tokenClient } from './token-calls.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const TOKEN = /^ast_tok_[A-Za-z0-9_-]{43}$/;
const READ = 'secrets:read:team/*';

const countOf = async ({ sql }: TestApp, what: string): Promise<number> =>
  Number((await sql<{ count: string }>(`select count(*) from ${what}`))[0]?.count);

const lifetimeSeconds = (body: { created_at: string; expires_at: string }): number =>
  (Date.parse(body.expires_at) - Date.parse(body.created_at)) / 1000;

test('tokens.accepts', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { issue, make, store, use, read } = tokenClient(server);
  const agent = await server.createAgent({
    allowed_scopes: [READ, 'secrets:*:app/x/*', 'secrets:write:w/*'],
  });

  await t.test('the answer is exactly what is documented', async () => {
    const spec = {
      scopes: [READ, 'secrets:write:app/x/*'],
      ttl_seconds: 900,
      max_uses: 7,
      allowed_ips: ['192.0.2.0/24', '2001:db8::1'],
      require_approval: false,
      description: 'for the nightly job',
    };
    const { status, headers, body } = await issue(agent.key, spec);
    assert.equal(status, 201);
    assert.equal(headers['cache-control'], 'no-store');
    const { token, token_id, created_at, expires_at } = body;
    assert.match(token, TOKEN);
    assert.match(token_id, UUID);
    for (const time of [created_at, expires_at]) assert.match(time, ISO_UTC);
    assert.deepEqual(body, {
      token,
      value: token,
      token_id,
      scope: `${READ} secrets:write:app/x/*`,
      scopes: spec.scopes,
      expires_at,
      created_at,
      ttl_seconds: 900,
      max_uses: 7,
      uses_remaining: 7,
      allowed_ips: spec.allowed_ips,
      description: spec.description,
      agent_id: agent.id,
      requires_approval: false,
    });
    assert.equal(lifetimeSeconds(body), 900);
  });

  await t.test(
    'without more than scopes it lives an hour, from anywhere, as often as one likes',
    async () => {
      const { body } = await issue(agent.key, { scopes: [READ] });
      const { ttl_seconds, max_uses, uses_remaining, allowed_ips, description } = body;
      assert.deepEqual(
        { ttl_seconds, max_uses, uses_remaining, allowed_ips, description },
        { ttl_seconds: 3600, max_uses: null, uses_remaining: null, allowed_ips: null, description: null },
      );
      assert.equal(lifetimeSeconds(body), 3600);
    },
  );

  await t.test('each spelling alone, both with one value, and null for the other mean the same', async () => {
    const plain = { scopes: [READ], ttl_seconds: 900, allowed_ips: ['192.0.2.1'] };
    for (const spec of [
      plain,
      { scope: READ, ttl: 900, ip_allowlist: ['192.0.2.1'] },
      { ...plain, scope: READ, ttl: '15m', ip_allowlist: ['192.0.2.1'] },
      { ...plain, scope: null, ttl: null, ip_allowlist: null },
      {
        scopes: null,
        scope: READ,
        ttl_seconds: null,
        ttl: '900',
        allowed_ips: null,
        ip_allowlist: ['192.0.2.1'],
      },
    ]) {
      const { scopes, ttl_seconds, allowed_ips } = await make(agent.key, { scopes: undefined, ...spec });
      assert.deepEqual({ scopes, ttl_seconds, allowed_ips }, plain, JSON.stringify(spec));
    }
  });

  await t.test('null is absent in every optional member', async () => {
    const nulls = Object.fromEntries(
      [
        'scope',
        'ttl',
        'ttl_seconds',
        'max_uses',
        'allowed_ips',
        'ip_allowlist',
        'require_approval',
        'description',
      ].map((name) => [name, null]),
    );
    const body = await make(agent.key, { scopes: [READ], ...nulls });
    assert.deepEqual(
      [body.ttl_seconds, body.max_uses, body.allowed_ips, body.description, body.requires_approval],
      [3600, null, null, null, false],
    );
  });

  await t.test(
    'every ttl of the vectors is the seconds or the refusal listed, and never another time',
    async () => {
      for (const row of vectors.ttl) {
        const about = JSON.stringify(row.body).slice(0, 60);
        const answer = await issue(agent.key, { scopes: [READ], ...row.body });
        if (row.error !== undefined) {
          assertRefused(answer, { status: 400, code: row.error }, about);
          continue;
        }
        assert.equal(answer.status, 201, about);
        assert.deepEqual(
          [answer.body.ttl_seconds, lifetimeSeconds(answer.body)],
          [row.seconds, row.seconds],
          about,
        );
      }
    },
  );

  await t.test('bounds belong to what is allowed', async () => {
    const paths = Array.from({ length: 64 }, (_, index) => `secrets:read:team/k${index}`);
    const addresses = Array.from({ length: 64 }, (_, index) => `192.0.2.${index}`);
    for (const spec of [
      { max_uses: 1 },
      { max_uses: 1_000_000 },
      { description: '' },
      { description: '😀'.repeat(500) },
      { scopes: paths },
      { allowed_ips: addresses },
      { allowed_ips: ['0.0.0.0/0', '::/0', '::ffff:192.0.2.1', '::ffff:10.0.0.0/104'] },
      { ttl_seconds: 300 },
      { ttl_seconds: 86_400 },
    ]) {
      const body: Readonly<Record<string, unknown>> = {
        ...(await make(agent.key, { scopes: [READ], ...spec })),
      };
      for (const [name, value] of Object.entries(spec)) assert.deepEqual(body[name], value, name);
    }
  });

  await t.test(
    'a vendor name stands for the caller’s own scopes as far as they hold that action',
    async () => {
      for (const [vendor, expected] of [
        ['read:secrets', [READ, 'secrets:read:app/x/*']],
        ['write:secrets', ['secrets:write:app/x/*', 'secrets:write:w/*']],
        ['rotate:secrets', ['secrets:write:app/x/*', 'secrets:write:w/*']],
        ['import:secrets', ['secrets:write:app/x/*', 'secrets:write:w/*']],
      ] as const) {
        assert.deepEqual((await make(agent.key, { scopes: [vendor] })).scopes, expected, vendor);
      }
      assert.deepEqual((await make(server.adminKey, { scopes: ['read:secrets'] })).scopes, [
        'secrets:read:*',
      ]);
    },
  );

  await t.test('a vendor name may stand for a scope that is longer than any that is asked', async () => {
    const pattern = `${'a'.repeat(128)}/`.repeat(4) + 'b'.repeat(74);
    assert.equal(`secrets:*:${pattern}`.length, 600);
    const { key } = await server.createAgent({
      allowed_scopes: [`secrets:*:${pattern}`, 'secrets:*:ns/*'],
    });
    await store('ns/K');
    const { token, scopes } = await make(key, { scopes: ['read:secrets'] });
    assert.deepEqual(scopes, [`secrets:read:${pattern}`, 'secrets:read:ns/*']);
    const answer = await read(token, 'ns/K');
    assert.deepEqual([answer.status, answer.body.value], [200, 'value of ns/K'], answer.text);
    assertRefused(await read(token, 'elsewhere/K'), { status: 403, code: 'SCOPE_DENIED' });
  });

  await t.test('whoever holds a read scope may ask for namespaces:read', async () => {
    assert.deepEqual((await make(agent.key, { scopes: ['namespaces:read'] })).scopes, ['namespaces:read']);
  });

  await t.test('a scope that is asked twice, or in two ways, is there once', async () => {
    const { scope, scopes } = await make(agent.key, { scopes: [READ, 'read:secrets', READ] });
    assert.deepEqual(scopes, [READ, 'secrets:read:app/x/*']);
    assert.equal(scope, scopes.join(' '));
  });

  await t.test('a description is kept as it was sent', async () => {
    const texts = [
      'NULL',
      'null',
      '{}',
      '{a,b}',
      '"',
      '\\',
      '\\N',
      "'; drop table x; --",
      ' blank ',
      'é😀',
      '$1',
      '%s',
    ];
    for (const description of texts) {
      const { token_id } = await make(agent.key, { scopes: [READ], description });
      const url = `/v1/tokens/${token_id}`;
      const { body } = await server.call<{ description: string }>({ method: 'GET', url, key: agent.key });
      assert.equal(body.description, description);
    }
  });

  await t.test(
    'of many that are issued at once each is as it was asked, and the refused ones are none',
    async () => {
      const leaving = await server.createAgent({ allowed_scopes: [READ] });
      assert.equal((await issue(leaving.key, { scopes: [READ] })).status, 201);
      await server.sql('update api_keys set revoked_at = now() where key_id = $1', [leaving.keyId]);
      const specs = Array.from({ length: 12 }, (_, index) => ({
        scopes: index % 2 === 0 ? [READ] : [`secrets:read:team/k${index}`, READ],
        max_uses: index % 3 === 0 ? null : index,
        allowed_ips: index % 4 === 0 ? null : Array.from({ length: index }, (_, host) => `192.0.2.${host}`),
        description: index % 5 === 0 ? null : `number ${index}`,
        ttl_seconds: 300 + index,
      }));
      const [answers, refused] = await Promise.all([
        Promise.all(specs.map((spec) => issue(agent.key, spec))),
        Promise.all(specs.slice(0, 4).map((spec) => issue(leaving.key, spec))),
      ]);
      for (const answer of refused) assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' });
      assert.equal(new Set(answers.map(({ body }) => body.token)).size, specs.length);
      for (const [index, { body }] of answers.entries()) {
        const url = `/v1/tokens/${body.token_id}`;
        const kept = await server.call<Record<string, unknown>>({ method: 'GET', url, key: agent.key });
        for (const [name, value] of Object.entries(specs[index] ?? {})) {
          assert.deepEqual(kept.body[name], value, `${index} ${name}`);
        }
        const used = await use(body.token, {
          method: 'POST',
          url: '/v1/tokens/introspect',
          remoteAddress: '192.0.2.0',
        });
        assert.equal((used.body as { jti?: string }).jti, body.token_id);
      }
    },
  );

  await t.test('an administrator’s token is the administrator’s', async () => {
    const [admin] = await server.sql<{ id: string }>("select id from agents where role = 'admin'");
    assert.equal((await make(server.adminKey)).agent_id, admin?.id);
  });

  await t.test('every request makes a token of its own, also under one Idempotency-Key', async () => {
    const again = () =>
      server.call<{ token: string; token_id: string }>({
        method: 'POST',
        url: '/v1/tokens',
        key: agent.key,
        json: { scopes: [READ] },
        headers: { 'idempotency-key': 'the-same' },
      });
    const [one, other] = [await again(), await again()];
    assert.deepEqual([one.status, other.status], [201, 201]);
    assert.notEqual(one.body.token, other.body.token);
    assert.notEqual(one.body.token_id, other.body.token_id);
  });

  await t.test(
    'one sensitive secret does not close its namespace: a scope with * over it is issued',
    async () => {
      await store('team/guarded', { access_tier: 'critical' });
      for (const scope of [READ, 'secrets:read:team/guard*', 'secrets:read:*/guarded']) {
        const key = scope === 'secrets:read:*/guarded' ? server.adminKey : agent.key;
        assert.equal((await issue(key, { scope })).status, 201, scope);
      }
    },
  );

  await t.test(
    'an exactly named secret that is standard, or is not there, needs nobody’s approval',
    async () => {
      await store('team/plain');
      for (const scope of ['secrets:read:team/plain', 'secrets:read:team/absent']) {
        assert.equal((await issue(agent.key, { scope })).status, 201, scope);
      }
    },
  );
});

test('tokens.records', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { issue, events } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });

  await t.test('an issued token is on record with who asked, for what, and how far it reaches', async () => {
    const spec = {
      scopes: [READ],
      max_uses: 3,
      allowed_ips: ['127.0.0.1'],
      description: 'for the nightly run',
    };
    const { body, headers } = await issue(agent.key, spec);
    const rows = await events("event_type = 'token.issued' and resource_id = $1", [body.token_id]);
    assert.deepEqual(
      rows.map(({ id, ...row }) => row),
      [
        {
          event_type: 'token.issued',
          actor_id: agent.id,
          actor_type: 'agent',
          resource_type: 'scoped_token',
          resource_id: body.token_id,
          metadata: {
            key_id: agent.keyId,
            scopes: [READ],
            expires_at: body.expires_at,
            max_uses: 3,
            allowed_ips: ['127.0.0.1'],
            description: 'for the nightly run',
          },
          ip_address: '127.0.0.1',
          request_id: headers['x-request-id'],
        },
      ],
    );
  });

  await t.test('of a token only the SHA-256 is kept: no table holds it in any form', async () => {
    const { body } = await issue(agent.key, { scopes: [READ], description: 'not searched for' });
    const { token, token_id } = body;
    const random = token.slice('ast_tok_'.length);
    const forms = (text: string): string[] => [
      text,
      Buffer.from(text).toString('hex'),
      Buffer.from(text).toString('base64').replace(/=+$/, ''),
      Buffer.from(text).toString('base64url'),
    ];
    const hidden = [token, random].flatMap(forms);
    hidden.push(Buffer.from(random, 'base64url').toString('hex'));
    for (const text of hidden) assert.deepEqual(await tablesHolding(server, text), [], text.slice(0, 12));
    // The search finds what is there.
    const digest = createHash('sha256').update(token).digest('hex');
    assert.deepEqual(await tablesHolding(server, digest), ['scoped_tokens']);
    const holding = await tablesHolding(server, token_id);
    assert.ok(holding.includes('scoped_tokens') && holding.some((name) => name.startsWith('audit_events')));
  });
});

/** Tables with a row whose text form holds `text`, in upper or lower case. */
async function tablesHolding({ sql }: TestApp, text: string): Promise<string[]> {
  const tables = await sql<{ schema: string; name: string }>(
    `select table_schema as schema, table_name as name from information_schema.tables
     where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`,
  );
  assert.ok(tables.length >= 12);
  const found: string[] = [];
  for (const { schema, name } of tables) {
    const [row] = await sql<{ held: boolean }>(
      `select exists (select from "${schema}"."${name}" row where strpos(lower(row::text), lower($1)) > 0) as held`,
      [text],
    );
    if (row?.held) found.push(name);
  }
  return found.sort();
}

test('tokens.authenticates', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { issue, make, use, events } = tokenClient(server);
  const { sql, createAgent, call, adminKey } = server;
  const unauthorized = { status: 401, code: 'UNAUTHORIZED' };

  await t.test('a scoped token issues no token, and is not even looked up', async (t) => {
    const { token } = await make(adminKey, { scopes: ['secrets:*:*', 'namespaces:read'], max_uses: 5 });
    const query = t.mock.method(server.database, 'query');
    const lookUps = (): number =>
      query.mock.calls.filter(({ arguments: [statement] }) => /token|key/.test(statement.name)).length;
    for (const request of [
      { method: 'POST', url: '/v1/tokens', json: { scopes: ['secrets:read:a/b'] } },
      { method: 'GET', url: '/v1/tokens' },
      { method: 'GET', url: '/v1/me' },
    ]) {
      assertRefused(await use(token, request), unauthorized, request.url);
      assertRefused(await call({ ...request, key: token }), unauthorized, request.url);
    }
    assert.equal(lookUps(), 0);
    // Where it may be used it is looked up: the count sees that.
    assert.equal((await use(token, { method: 'GET', url: '/v1/namespaces' })).status, 200);
    assert.ok(lookUps() > 0);
  });

  await t.test('an approver issues none, and that is on record', async () => {
    const approver = await createAgent({ role: 'approver' });
    for (const json of [{ scopes: [READ] }, { nonsense: 1 }]) {
      assertRefused(await issue(approver.key, json), { status: 403, code: 'FORBIDDEN' });
    }
    const rows = await events('actor_id = $1', [approver.id]);
    assert.deepEqual(
      rows.map(({ actor_type, metadata }) => [actor_type, metadata['code'], metadata['credential']]),
      [['approver', 'FORBIDDEN', approver.keyId]],
    );
  });

  await t.test(
    'a key that is remembered is refused the moment it is revoked, whatever else is wrong',
    async (t) => {
      const other = await openTestApp(t, server.databaseUrl);
      const onOther = tokenClient(other);
      const agent = await createAgent({ allowed_scopes: [READ] });
      const good = { scopes: [READ] };
      for (const client of [{ issue }, onOther])
        assert.equal((await client.issue(agent.key, good)).status, 201);
      await sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
      const before = await countOf(server, 'scoped_tokens');
      const bodies = [
        good,
        { scopes: ['secrets:read:other/*'] },
        { scopes: ['nonsense'] },
        { scopes: [READ], ttl: 1 },
        {},
      ];
      for (const client of [onOther, { issue }]) {
        for (const body of bodies) assertRefused(await client.issue(agent.key, body), unauthorized);
      }
      assert.equal(await countOf(server, 'scoped_tokens'), before);
    },
  );

  await t.test('a key that expires, and one whose principal is revoked, is refused as soon', async () => {
    const [expiring, leaving] = [
      await createAgent({ allowed_scopes: [READ] }),
      await createAgent({ allowed_scopes: [READ] }),
    ];
    for (const { key } of [expiring, leaving])
      assert.equal((await issue(key, { scopes: [READ] })).status, 201);
    await sql("update api_keys set expires_at = now() - interval '1 second' where key_id = $1", [
      expiring.keyId,
    ]);
    assert.equal(
      (await call({ method: 'DELETE', url: `/v1/agents/${leaving.id}`, key: adminKey })).status,
      204,
    );
    for (const { key } of [expiring, leaving])
      assertRefused(await issue(key, { scopes: [READ] }), unauthorized);
  });

  await t.test(
    'a principal that was narrowed or widened meanwhile is judged by its row, on every process',
    async (t) => {
      const other = await openTestApp(t, server.databaseUrl);
      const onOther = tokenClient(other);
      const agent = await createAgent({ allowed_scopes: [READ] });
      const allow = async (
        allowed_scopes: readonly string[],
        allowed_namespaces: readonly string[] | null = null,
      ) => {
        const json = { allowed_scopes, allowed_namespaces };
        const answer = await call({ method: 'PATCH', url: `/v1/agents/${agent.id}`, key: adminKey, json });
        assert.equal(answer.status, 200, answer.text);
      };
      const denied = { status: 403, code: 'SCOPE_DENIED' };
      // The other process remembers the key, and the principal as it is now.
      assert.equal((await onOther.issue(agent.key, { scopes: [READ] })).status, 201);
      await allow(['secrets:read:team/a']);
      assertRefused(await onOther.issue(agent.key, { scopes: [READ] }), denied, 'narrowed');
      await allow(['secrets:read:team/*', 'secrets:write:new/*']);
      const widened = await onOther.issue(agent.key, { scopes: ['secrets:write:new/k', READ] });
      assert.equal(widened.status, 201, 'widened');
      await allow(['secrets:*:*'], ['elsewhere']);
      assertRefused(await onOther.issue(agent.key, { scopes: ['secrets:write:new/k'] }), denied, 'cut');
      const vendor = await onOther.issue(agent.key, { scopes: ['read:secrets'] });
      assert.deepEqual(
        vendor.body.scopes,
        ['secrets:read:elsewhere/*'],
        'a vendor name means the scopes of now',
      );
      await allow([]);
      assertRefused(await onOther.issue(agent.key, { scopes: ['read:secrets'] }), denied, 'nothing is left');
    },
  );

  await t.test('a token belongs to the principal of the key, whichever of its keys is used', async () => {
    const [one, other] = [
      await createAgent({ allowed_scopes: [READ] }),
      await createAgent({ allowed_scopes: [READ] }),
    ];
    const second = await call<{ id: string; api_key: string }>({
      method: 'POST',
      url: `/v1/agents/${one.id}/keys`,
      key: adminKey,
      json: {},
    });
    const made = [
      await make(one.key, { scopes: [READ] }),
      await make(second.body.api_key, { scopes: [READ] }),
      await make(other.key, { scopes: [READ] }),
    ];
    assert.deepEqual(
      made.map((token) => token.agent_id),
      [one.id, one.id, other.id],
    );
    const recorded = await sql<{ key_id: string }>(
      'select key_id from scoped_tokens where id = any($1) order by id',
      [made.map((token) => token.token_id)],
    );
    assert.deepEqual(
      recorded.map((row) => row.key_id),
      [one.keyId, second.body.id, other.keyId],
    );
  });
});
