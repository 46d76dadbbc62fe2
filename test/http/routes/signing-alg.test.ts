/** `SIGNING_ALG` changes the name in a token's header and nothing else: what was signed under the other name lives on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { createVerifier, type JsonWebKeySet } from '../../../src/verify.ts';
import { assertRefused, buildTestApp, openTestApp, type TestApp } from '../../support/app.ts';
import { A_PLAN } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';

const JWKS = { method: 'GET', url: '/.well-known/jwks.json' };
const BODY = { plan: A_PLAN, expires_in: 300 };

interface Issued {
  readonly token: string;
  readonly step_proofs: readonly object[];
}

test('a server whose SIGNING_ALG was changed', { skip: postgresSkip }, async (t) => {
  const before = await buildTestApp(t);
  const after = await openTestApp(t, before.databaseUrl, { SIGNING_ALG: 'Ed25519' });
  const key = before.adminKey;
  const issue = ({ call }: TestApp, headers = {}) =>
    call<Issued>({ method: 'POST', url: '/token/issue', key, json: BODY, headers });
  const old = (await issue(before)).body;
  const fresh = (await issue(after)).body;
  const headerOf = ({ token }: Issued) =>
    JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as object;

  await t.test('signs under the new name, with the same key', () => {
    const { kid } = headerOf(old) as { kid: string };
    assert.deepEqual(headerOf(old), { alg: 'EdDSA', kid, typ: 'JWT' });
    assert.deepEqual(headerOf(fresh), { alg: 'Ed25519', kid, typ: 'JWT' });
  });

  await t.test('publishes a key that names no algorithm, under another entity tag', async () => {
    const was = await before.call<JSONWebKeySet>(JWKS);
    const is = await after.call<JSONWebKeySet>({
      ...JWKS,
      headers: { 'if-none-match': was.headers['etag'] ?? '' },
    });
    assert.equal(is.status, 200);
    const [published] = was.body.keys;
    assert.equal(published?.alg, 'EdDSA');
    const { alg: _, ...others } = published;
    assert.deepEqual(is.body.keys, [others]);
  });

  await t.test('its tokens and those of before pass here, by jose and by writ/verify', async () => {
    const jwks = (await after.call<JSONWebKeySet>(JWKS)).body;
    const { iss: issuer } = JSON.parse(
      Buffer.from(fresh.token.split('.')[1] ?? '', 'base64url').toString(),
    ) as { iss: string };
    const verifier = createVerifier({ jwks: jwks as JsonWebKeySet, issuer, audience: 'writ' });
    for (const { token, step_proofs: proofs } of [old, fresh]) {
      for (const { call } of [before, after]) {
        const answer = await call({ method: 'POST', url: '/token/verify', json: { token } });
        assert.equal((answer.body as { code: string }).code, 'VALID');
      }
      await jwtVerify(token, createLocalJWKSet(jwks), { issuer, audience: 'writ', typ: 'JWT' });
      const step = A_PLAN.steps[0] ?? {};
      await verifier.verifyStep(token, { stepIndex: 0, step, proof: proofs[0] });
    }
  });

  await t.test('refuses to repeat what was signed under the other name', async () => {
    const headers = { 'idempotency-key': 'across-the-change' };
    assert.equal((await issue(before, headers)).status, 200);
    assertRefused(await issue(after, headers), { status: 409, code: 'IDEMPOTENCY_KEY_REUSED' });
  });
});
