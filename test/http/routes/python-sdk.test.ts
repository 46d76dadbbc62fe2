/** What the Python SDK asks beside tokens (contract sections 4.7, 4.8). What it does with the answers: test/clients. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

test('the public key names the algorithm that is signed with', { skip: postgresSkip }, async (t) => {
  const { call } = await buildTestApp(t, { SIGNING_ALG: 'Ed25519' });
  const { body } = await call<Record<string, string>>({ method: 'GET', url: '/iap/public-key' });
  assert.equal(body['alg'], 'Ed25519');
});

test('the python sdk’s questions', { skip: postgresSkip }, async (t) => {
  const { call, createAgent, adminKey, sql } = await buildTestApp(t);

  await t.test('the public key is the active one of the JWKS, for anybody', async () => {
    const { status, body } = await call<Record<string, string>>({ method: 'GET', url: '/iap/public-key' });
    const jwks = await call<{ keys: { kid: string; x: string }[] }>({
      method: 'GET',
      url: '/.well-known/jwks.json',
    });
    const [published] = jwks.body.keys;
    assert.equal(status, 200);
    assert.deepEqual(body, {
      public_key: Buffer.from(published?.x ?? '', 'base64url').toString('hex'),
      kid: published?.kid,
      alg: 'EdDSA',
    });
  });

  await t.test('bootstrap names the principal of the key, whatever its role', async () => {
    for (const role of ['agent', 'approver', 'admin'] as const) {
      const { id, name, key } = await createAgent({ role });
      const { status, body } = await call({ method: 'POST', url: '/iap/sdk/bootstrap', key, json: {} });
      assert.equal(status, 200);
      assert.deepEqual(body, {
        agent: { id, name },
        org: { id: 'self-hosted', name: 'self-hosted' },
        mcps: [],
        toolMap: {},
      });
    }
  });

  await t.test('the lease lets nothing be recorded, and ends', async () => {
    const { status, body } = await call<Record<string, unknown>>({
      method: 'GET',
      url: '/observability/policy/lease',
      key: adminKey,
    });
    assert.equal(status, 200);
    const { expiresAt, ...rest } = body;
    assert.deepEqual(rest, {
      captureMode: 'off',
      revision: 0,
      contentCaptureAllowed: false,
      externalContentCaptureAllowed: false,
    });
    assert.ok(Date.parse(String(expiresAt)) > Date.now());
  });

  await t.test('a plan is never re-anchored: 403 with a reason, on record', async () => {
    const agent = await createAgent();
    for (const json of [
      { newPlan: { steps: [{ action: 'a' }] }, reason: 'plan grew', planId: 'p', intentReference: null },
      { anything: [1] },
      {},
    ]) {
      const answer = await call<Record<string, unknown>>({
        method: 'POST',
        url: '/iap/trust/reanchor',
        key: agent.key,
        json,
      });
      assertRefused(answer, { status: 403, code: 'FORBIDDEN' });
      assert.match(String(answer.body['reason']), /a signed plan does not change/i);
    }
    // Whatever is sent: nothing of it is read.
    for (const request of [
      { raw: '{"not json' },
      { raw: '{"a":1,"a":2}' },
      { raw: ' '.repeat(2 ** 20 + 1) },
      { raw: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      { raw: '{}', headers: { 'content-encoding': 'gzip' } },
      { raw: '{}', headers: { 'content-length': '9' } },
      { json: [1] },
      {},
    ])
      for (const url of ['/iap/trust/reanchor', '/iap/trust/reanchor?x=1'])
        assertRefused(await call({ method: 'POST', url, key: agent.key, ...request }), {
          status: 403,
          code: 'FORBIDDEN',
        });
    const events = await sql(
      "select event_type, resource_id from audit_events where actor_id = $1 and event_type = 'auth.denied'",
      [agent.id],
    );
    assert.deepEqual(events, [{ event_type: 'auth.denied', resource_id: 'POST /iap/trust/reanchor' }]);
  });
});
