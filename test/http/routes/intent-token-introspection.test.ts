/**
 * `POST /v1/tokens/introspect` about intent tokens (contract section 5.5, RFC 7662): the claims of a token whose row is
 * live, to its principal and to an admin, and to nobody else more than that it is not active.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, type TestRequest } from '../../support/app.ts';
import { A_PLAN } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { claimsIn } from '../../verify/signed-tokens.ts';

const INTROSPECT = '/v1/tokens/introspect';
const INACTIVE = { active: false };
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

async function opened(t: Parameters<typeof buildTestApp>[0]) {
  const server = await buildTestApp(t);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:read:team/*'] });
  const issue = async (json: object = {}, key = agent.key) => {
    const { body, text } = await server.call<{ token: string; token_id: string }>({
      method: 'POST',
      url: '/token/issue',
      key,
      json: { plan: A_PLAN, ...json },
    });
    assert.ok(body.token, text);
    return { jwt: body.token, jti: body.token_id };
  };
  const introspect = (request: Partial<TestRequest>) =>
    server.call<Record<string, unknown>>({ method: 'POST', url: INTROSPECT, ...request });
  return { server, agent, issue, introspect };
}

test('introspection of intent tokens', { skip: postgresSkip }, async (t) => {
  const { server, agent, issue, introspect } = await opened(t);
  const other = await server.createAgent({ allowed_scopes: ['secrets:read:team/*'] });
  const inactive = async (request: Partial<TestRequest>, about: string) => {
    const answer = await introspect(request);
    assert.equal(answer.status, 200, about);
    assert.deepEqual(answer.body, INACTIVE, about);
  };

  await t.test('its principal and an admin get the claims as signed, also of long plans', async () => {
    const steps = Array.from({ length: 300 }, (_, index) => ({ action: `a${index}` }));
    for (const { jwt } of [await issue({ user_id: 'someone' }), await issue({ plan: { steps } })]) {
      const expected = { active: true, token_type: 'Bearer', ...claimsIn(jwt) };
      for (const key of [agent.key, server.adminKey]) {
        const answer = await introspect({ key, json: { token: jwt, token_type_hint: 'access_token' } });
        assert.deepEqual(answer.body, expected);
        assert.equal(answer.headers['cache-control'], 'no-store');
        assert.ok(!answer.text.includes(jwt));
      }
    }
  });

  await t.test('nobody else learns that it is active', async () => {
    const { jwt } = await issue();
    await inactive({ key: other.key, json: { token: jwt } }, 'another agent');
    const scoped = await server.call<{ token: string }>({
      method: 'POST',
      url: '/v1/tokens',
      key: agent.key,
      json: { scopes: ['secrets:read:team/*'] },
    });
    const headers = { authorization: `Bearer ${scoped.body.token}` };
    await inactive({ headers, json: { token: jwt } }, 'a scoped token of its own principal');
    const none = await introspect({ json: { token: jwt } });
    assertRefused(none, { status: 401, code: 'UNAUTHORIZED' });
  });

  await t.test('what is no live token of ours is not active, and nothing more', async () => {
    const { jwt, jti } = await issue();
    const [header = '', payload = '', signature = ''] = jwt.split('.');
    const forged = Buffer.from(JSON.stringify({ ...claimsIn(jwt), sub: 'x' })).toString('base64url');
    for (const token of [
      '',
      'x',
      `${header}.${forged}.${signature}`,
      `${header}.${payload}.`,
      `${jwt} `,
      jti,
      'a'.repeat(600_000),
    ])
      await inactive({ key: server.adminKey, json: { token } }, token.slice(0, 40));
    const ends: Readonly<Record<string, string>> = {
      'the row has expired': 'update intent_tokens set expires_at = clock_timestamp() where jti = $1',
      'the row is revoked': 'update intent_tokens set revoked_at = clock_timestamp() where jti = $1',
      'there is no row': 'delete from intent_tokens where jti = $1',
    };
    for (const [what, statement] of Object.entries(ends)) {
      const ended = await issue();
      assert.equal((await introspect({ key: agent.key, json: { token: ended.jwt } })).body['active'], true);
      await server.sql(statement, [ended.jti]);
      await inactive({ key: agent.key, json: { token: ended.jwt } }, what);
    }
    const leaving = await server.createAgent();
    const left = await issue({}, leaving.key);
    await server.call({ method: 'DELETE', url: `/v1/agents/${leaving.id}`, key: server.adminKey });
    await inactive({ key: server.adminKey, json: { token: left.jwt } }, 'its agent is revoked');
  });
});

test('introspection with HTTP Basic', { skip: postgresSkip }, async (t) => {
  const { server, agent, issue, introspect } = await opened(t);
  const { jwt } = await issue();
  const raw = new URLSearchParams({ token: jwt, token_type_hint: 'access_token' }).toString();
  const ask = (authorization: Record<string, string>) =>
    introspect({ raw, headers: { ...FORM, ...authorization } });

  await t.test('key id and key open it, as they are and form-urlencoded to the last character', async () => {
    const escaped = (text: string) => text.replace(/./g, (one) => `%${one.charCodeAt(0).toString(16)}`);
    for (const credential of [
      basic(agent.keyId, agent.key),
      basic(escaped(agent.keyId), escaped(agent.key)),
      { authorization: basic(agent.keyId, agent.key).authorization.replace('Basic', 'bAsIc') },
      { ...basic(agent.keyId, agent.key), 'x-api-key': agent.key },
    ]) {
      const answer = await ask(credential);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.body['active'], true);
      assert.equal(answer.body['client_id'], agent.id);
    }
  });

  await t.test('anything else is 401 with both challenges', async () => {
    const other = await server.createAgent();
    const { authorization } = basic(agent.keyId, agent.key);
    const wrong: Readonly<Record<string, Record<string, string>>> = {
      'another key’s id': basic(other.keyId, agent.key),
      'the agent’s id': basic(agent.id, agent.key),
      'no user': basic('', agent.key),
      'no password': basic(agent.keyId, ''),
      'the two swapped': basic(agent.key, agent.keyId),
      'a mistyped key': basic(
        agent.keyId,
        agent.key.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
      ),
      'more behind the key': basic(agent.keyId, `${agent.key} `),
      'an escape that is none': basic(agent.keyId, `${agent.key}%`),
      'no colon': { authorization: `Basic ${Buffer.from(agent.key).toString('base64')}` },
      'no base64': { authorization: 'Basic ???' },
      'bits behind the last byte': { authorization: authorization.replace(/=*$/, 'A') },
      'another key beside it': { authorization, 'x-api-key': other.key },
      'nothing in it': { authorization: 'Basic ' },
      'another scheme': { authorization: authorization.replace('Basic', 'Digest') },
    };
    for (const [what, credential] of Object.entries(wrong)) {
      const answer = await ask(credential);
      assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' }, what);
      assert.equal(answer.headers['www-authenticate'], 'Bearer realm="writ", Basic realm="writ"', what);
    }
  });

  await t.test('a revoked key is refused', async () => {
    const leaving = await server.createAgent();
    await server.call({ method: 'DELETE', url: `/v1/agents/${leaving.id}`, key: server.adminKey });
    assertRefused(await ask(basic(leaving.keyId, leaving.key)), { status: 401, code: 'UNAUTHORIZED' });
  });

  await t.test('no other endpoint takes it', async () => {
    const headers = basic(agent.keyId, agent.key);
    for (const [method, url] of [
      ['GET', '/v1/me'],
      ['GET', '/v1/tokens'],
      ['POST', '/v1/tokens'],
      ['GET', '/v1/secrets/team/k'],
      ['POST', '/token/issue'],
      ['POST', '/token/verify'],
    ] as const) {
      const answer = await server.call({ method, url, headers, ...(method === 'POST' ? { json: {} } : {}) });
      assert.equal(answer.status, 401, `${method} ${url} ${answer.text}`);
      assert.equal(answer.headers['www-authenticate'], 'Bearer realm="writ"', url);
    }
  });
});
