/**
 * `POST /v1/tokens/introspect` (contract section 5.5, RFC 7662): `introspection.answers`, `.reads`, `.authenticates`.
 * Whoever asks about a token that is none of their business learns no more than that it is not active for them.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  buildTestApp,
  type TestAnswer,
  type TestApp,
  type TestRequest,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { ENDED, tokenClient } from './token-calls.ts';

const READ = 'secrets:read:team/*';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const INACTIVE = { active: false };
const UNKNOWN_TOKEN = `ast_tok_${'A'.repeat(43)}`;

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Asked by `headers`; without more there is no body. */
function introspector({ call }: TestApp) {
  return (request: Partial<TestRequest>): Promise<TestAnswer<Record<string, unknown>>> =>
    call<Record<string, unknown>>({ method: 'POST', url: '/v1/tokens/introspect', ...request });
}

function assertInactive(answer: TestAnswer, about?: string): void {
  assert.equal(answer.status, 200, about);
  assert.deepEqual(answer.body, INACTIVE, about);
}

test('introspection.answers', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, end, read, store, usesOf } = tokenClient(server);
  const introspect = introspector(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });
  const other = await server.createAgent({ allowed_scopes: [READ] });
  await store('team/k');

  await t.test(
    'a live token is told exactly what is documented of itself, as are its agent and an admin',
    async () => {
      const spec = {
        scopes: [READ, 'namespaces:read'],
        max_uses: 5,
        allowed_ips: ['127.0.0.1', '2001:db8::/32'],
        description: 'nightly',
      };
      const issued = await make(agent.key, spec);
      assert.equal((await read(issued.token, 'team/k')).status, 200);
      const expected = {
        active: true,
        scope: `${READ} namespaces:read`,
        client_id: agent.id,
        sub: agent.id,
        token_type: 'Bearer',
        exp: Math.floor(Date.parse(issued.expires_at) / 1000),
        iat: Math.floor(Date.parse(issued.created_at) / 1000),
        jti: issued.token_id,
        max_uses: 5,
        uses_remaining: 4,
        allowed_ips: spec.allowed_ips,
        description: 'nightly',
      };
      const { token } = issued;
      for (const request of [
        { headers: bearer(token) },
        { headers: bearer(token), json: {} },
        { headers: bearer(token), json: { token } },
        { headers: bearer(token), json: { token: null, token_type_hint: null } },
        { key: agent.key, json: { token } },
        { key: agent.key, json: { token, token_type_hint: 'access_token' } },
        { key: server.adminKey, json: { token } },
      ]) {
        const answer = await introspect(request);
        assert.equal(answer.status, 200);
        assert.deepEqual(answer.body, expected);
        assert.equal(answer.headers['cache-control'], 'no-store');
        assert.ok(!answer.text.includes(token));
      }
    },
  );

  await t.test('what is not limited is null', async () => {
    const { token } = await make(agent.key, { scopes: [READ] });
    const { max_uses, uses_remaining, allowed_ips, description } = (
      await introspect({ headers: bearer(token) })
    ).body;
    assert.deepEqual([max_uses, uses_remaining, allowed_ips, description], [null, null, null, null]);
  });

  await t.test('it consumes no use and is not on record, however often it is asked', async () => {
    const issued = await make(agent.key, { scopes: [READ], max_uses: 1 });
    const events = () =>
      server.sql<{ count: string }>('select count(*) from audit_events where metadata::text like $1', [
        `%${issued.token_id}%`,
      ]);
    const before = await events();
    for (let times = 0; times < 5; times += 1) {
      assert.equal((await introspect({ headers: bearer(issued.token) })).body['uses_remaining'], 1);
      assert.equal(
        (await introspect({ key: agent.key, json: { token: issued.token } })).body['active'],
        true,
      );
    }
    assert.equal(await usesOf(issued), 0);
    assert.deepEqual(await events(), before);
    assert.equal((await read(issued.token, 'team/k')).status, 200, 'the one use is still there');
  });

  await t.test('a token that has ended is not active, and nothing more, for itself and for all', async () => {
    for (const state of Object.keys(ENDED) as (keyof typeof ENDED)[]) {
      const issued = await make(agent.key, { scopes: [READ], max_uses: 1 });
      await end(issued, state);
      assertInactive(await introspect({ headers: bearer(issued.token) }), state);
      assertInactive(
        await introspect({ headers: bearer(issued.token), json: { token: issued.token } }),
        state,
      );
      for (const key of [agent.key, server.adminKey]) {
        assertInactive(await introspect({ key, json: { token: issued.token } }), state);
      }
    }
  });

  await t.test('a token is not active any more once its last use is taken', async () => {
    const { token } = await make(agent.key, { scopes: [READ], max_uses: 1 });
    assert.equal((await introspect({ headers: bearer(token) })).body['active'], true);
    assert.equal((await read(token, 'team/k')).status, 200);
    assertInactive(await introspect({ headers: bearer(token) }));
  });

  await t.test('a token whose agent is revoked is not active', async () => {
    const leaving = await server.createAgent({ allowed_scopes: [READ] });
    const { token } = await make(leaving.key, { scopes: [READ] });
    await server.call({ method: 'DELETE', url: `/v1/agents/${leaving.id}`, key: server.adminKey });
    assertInactive(await introspect({ headers: bearer(token) }));
    assertInactive(await introspect({ key: server.adminKey, json: { token } }));
  });

  await t.test(
    'a token whose key is revoked is active: it does not end with the key that made it',
    async () => {
      const rotating = await server.createAgent({ allowed_scopes: [READ] });
      const { token } = await make(rotating.key, { scopes: [READ] });
      await server.sql('update api_keys set revoked_at = now() where key_id = $1', [rotating.keyId]);
      assert.equal((await introspect({ headers: bearer(token) })).body['active'], true);
    },
  );

  await t.test(
    'a scoped token learns nothing of another token, its sibling and what is none included',
    async () => {
      const [asking, sibling, foreign] = [
        await make(agent.key, { scopes: [READ] }),
        await make(agent.key, { scopes: [READ] }),
        await make(other.key, { scopes: [READ] }),
      ];
      for (const about of [
        sibling.token,
        foreign.token,
        UNKNOWN_TOKEN,
        agent.key,
        server.adminKey,
        '',
        ' ',
        sibling.token_id,
      ]) {
        assertInactive(
          await introspect({ headers: bearer(asking.token), json: { token: about } }),
          about.slice(0, 12),
        );
      }
    },
  );

  await t.test('an agent learns nothing of another’s token, nor of what is none', async () => {
    const own = await make(agent.key, { scopes: [READ] });
    const foreign = await make(other.key, { scopes: [READ] });
    const admins = await make(server.adminKey, { scopes: [READ] });
    for (const about of [
      foreign.token,
      admins.token,
      UNKNOWN_TOKEN,
      agent.key,
      '',
      own.token_id,
      `${own.token} `,
    ]) {
      assertInactive(await introspect({ key: agent.key, json: { token: about } }), about.slice(0, 12));
    }
    assert.equal(
      (await introspect({ key: server.adminKey, json: { token: foreign.token } })).body['sub'],
      other.id,
    );
  });

  await t.test('an API key that names no token has asked about nothing', async () => {
    for (const key of [agent.key, server.adminKey]) {
      for (const request of [{}, { json: {} }, { json: { token: null } }, { raw: '', headers: FORM }]) {
        assertInactive(await introspect({ key, ...request }));
      }
      assertInactive(await introspect({ key, json: { token_type_hint: 'access_token' } }));
    }
  });

  await t.test('an approver has no token to ask about', async () => {
    const approver = await server.createAgent({ role: 'approver' });
    const { token } = await make(agent.key, { scopes: [READ] });
    assertInactive(await introspect({ key: approver.key, json: { token } }));
    assertInactive(await introspect({ key: approver.key }));
  });
});

test('introspection.reads', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make } = tokenClient(server);
  const introspect = introspector(server);
  const { token, token_id } = await make(server.adminKey, { scopes: [READ] });
  const form = (raw: string | Uint8Array, headers: Readonly<Record<string, string>> = {}) =>
    introspect({ key: server.adminKey, raw, headers: { ...FORM, ...headers } });

  await t.test('a form says the same as JSON', async () => {
    for (const raw of [
      `token=${token}`,
      `token=${token}&token_type_hint=access_token`,
      `token_type_hint=&token=${token}`,
      `token=${token.replace('_', '%5F')}`,
      `%74oken=${token}`,
    ]) {
      assert.equal((await form(raw)).body['jti'], token_id, raw.replace(token, '…'));
    }
    for (const type of [
      'APPLICATION/X-WWW-FORM-URLENCODED',
      'application/x-www-form-urlencoded; charset=utf-8',
      'application/x-www-form-urlencoded;charset="UTF-8"',
    ]) {
      assert.equal((await form(`token=${token}`, { 'content-type': type })).body['jti'], token_id, type);
    }
  });

  await t.test('a form of the asking token, named or not, is about itself', async () => {
    for (const raw of ['', `token=${token}`]) {
      const answer = await introspect({ raw, headers: { ...FORM, ...bearer(token) } });
      assert.equal(answer.body['jti'], token_id);
    }
  });

  await t.test(
    'a name that a form repeats is refused, also with the same value or another spelling',
    async () => {
      for (const raw of [
        `token=${token}&token=${token}`,
        `token=${token}&token=${UNKNOWN_TOKEN}`,
        `token=${UNKNOWN_TOKEN}&token_type_hint=a&%74oken=${token}`,
        'token_type_hint=a&token_type_hint=b',
        'token&token',
      ]) {
        assertRefused(await form(raw), { status: 400, code: 'VALIDATION_ERROR' }, raw.slice(0, 20));
      }
    },
  );

  await t.test('a name that is not known is refused, in a form as in JSON', async () => {
    for (const [name, pointer] of [
      ['Token', '/Token'],
      ['client_id', '/client_id'],
      ['__proto__', '/__proto__'],
      ['constructor', '/constructor'],
      ['token[]', '/token[]'],
    ] as const) {
      const expected = { status: 400, code: 'VALIDATION_ERROR', details: { pointer } };
      assertRefused(await form(`token=${token}&${encodeURIComponent(name)}=x`), expected, name);
      if (name === '__proto__') continue;
      assertRefused(await introspect({ key: server.adminKey, json: { token, [name]: 'x' } }), expected, name);
    }
    assertRefused(await form('{"token":"x"}'), { status: 400, code: 'VALIDATION_ERROR' });
  });

  await t.test('a token that is no text is refused', async () => {
    for (const wrong of [7, true, [], [token], { token }]) {
      const answer = await introspect({ key: server.adminKey, json: { token: wrong } });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/token' } });
    }
  });

  await t.test('a query names no token', async () => {
    for (const headers of [bearer(token), { 'x-api-key': server.adminKey }]) {
      const answer = await introspect({ url: `/v1/tokens/introspect?token=${token}`, headers });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' });
    }
  });

  await t.test('another media type is refused', async () => {
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/x-www-form-urlencoded; charset=latin1',
      'application/x-www-form-urlencoded; boundary=x',
      'application/x-www-form-urlencodedx',
      'application/jwt',
      '',
    ]) {
      const answer = await form(`token=${token}`, { 'content-type': type });
      assertRefused(answer, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' }, type);
    }
    const packed = await form(`token=${token}`, { 'content-encoding': 'gzip' });
    assertRefused(packed, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
  });

  await t.test('a form is taken here and nowhere else', async () => {
    for (const request of [
      { method: 'POST', url: '/v1/tokens', raw: `scope=${READ}` },
      { method: 'POST', url: '/v1/secrets', raw: 'path=team/k&value=v' },
      { method: 'PUT', url: '/v1/secrets/team/k', raw: 'value=v' },
    ]) {
      const answer = await server.call({ ...request, key: server.adminKey, headers: FORM });
      assertRefused(answer, { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' }, request.url);
    }
  });

  await t.test('a form may be as large as JSON, and no larger', async () => {
    const raw = (length: number): string =>
      `token_type_hint=${'x'.repeat(length - 'token_type_hint='.length)}`;
    const mebibyte = 1024 * 1024;
    assertInactive(await form(raw(mebibyte)));
    assertRefused(await form(raw(mebibyte + 1)), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });
});

test('introspection.authenticates', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t, { TRUST_PROXY: '127.0.0.1' });
  const { make, end } = tokenClient(server);
  const introspect = introspector(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });

  await t.test('a credential that is not known learns nothing, whatever it asks about', async () => {
    const { token } = await make(agent.key, { scopes: [READ] });
    const invalid = { status: 401, code: 'TOKEN_INVALID' };
    for (const unknown of [UNKNOWN_TOKEN, token.slice(0, -1), `${token}A`, 'ast_tok_', 'ast_tok_!']) {
      assertRefused(await introspect({ headers: bearer(unknown) }), invalid, unknown.slice(0, 12));
      assertRefused(await introspect({ headers: bearer(unknown), json: { token } }), invalid);
    }
    const unauthorized = { status: 401, code: 'UNAUTHORIZED' };
    for (const headers of [{}, bearer('nonsense'), { 'x-api-key': agent.key, ...bearer(token) }]) {
      assertRefused(await introspect({ headers, json: { token } }), unauthorized);
    }
  });

  await t.test('a key is refused the moment it is revoked', async () => {
    const leaving = await server.createAgent({ allowed_scopes: [READ] });
    const { token } = await make(leaving.key, { scopes: [READ] });
    assert.equal((await introspect({ key: leaving.key, json: { token } })).body['active'], true);
    await server.sql('update api_keys set revoked_at = now() where key_id = $1', [leaving.keyId]);
    assertRefused(await introspect({ key: leaving.key, json: { token } }), {
      status: 401,
      code: 'UNAUTHORIZED',
    });
  });

  await t.test('the address list of the asking token holds, whether it is live or not', async () => {
    const issued = await make(agent.key, { scopes: [READ], max_uses: 1, allowed_ips: ['192.0.2.1'] });
    const from = (address: string) =>
      introspect({ headers: { ...bearer(issued.token), 'x-forwarded-for': address } });
    const denied = { status: 403, code: 'IP_NOT_ALLOWED' };
    assert.equal((await from('192.0.2.1')).body['active'], true);
    assertRefused(await from('192.0.2.2'), denied);
    for (const state of Object.keys(ENDED) as (keyof typeof ENDED)[]) {
      await end(issued, state);
      assertRefused(await from('192.0.2.2'), denied, state);
      assertInactive(await from('192.0.2.1'), state);
    }
  });

  await t.test('the address list binds the token, not those who may ask about it', async () => {
    const { token } = await make(agent.key, { scopes: [READ], allowed_ips: ['192.0.2.1'] });
    for (const key of [agent.key, server.adminKey]) {
      assert.equal((await introspect({ key, json: { token } })).body['active'], true);
    }
  });
});
