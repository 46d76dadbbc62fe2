/**
 * A request is authenticated once and authorized once, whatever its route takes: the credential's headers are read
 * once, `authorize` runs once, and a read's scopes are judged once.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, type TestRequest } from '../../support/app.ts';
import { countingEntered } from '../../support/entered-functions.ts';
import { A_PLAN } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Row {
  readonly what: string;
  readonly request: TestRequest;
  readonly status: number;
  /** How often each runs beside `authorize`. V8 counts an async function once more for each time it goes on. */
  readonly runs?: Readonly<Record<string, number>>;
}

test('authorize runs once per request', { skip: postgresSkip }, async (t) => {
  const { call, adminKey, createAgent } = await buildTestApp(t);
  const { key } = await createAgent({ allowed_scopes: ['secrets:*:team/*'] });
  const PATH = '/v1/secrets/team/k';
  const secret = await call({ method: 'PUT', url: PATH, key: adminKey, json: { value: 'v' } });
  assert.equal(secret.status, 201, secret.text);
  const issued = await call<{ token: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key,
    json: { scopes: ['secrets:*:team/*'] },
  });
  assert.equal(issued.status, 201, issued.text);
  const { token } = issued.body;
  const plan = await call<{ token: string }>({
    method: 'POST',
    url: '/token/issue',
    key,
    json: { plan: A_PLAN },
  });
  const jwt = { token: plan.body.token };
  const ONE_HEADER = { readCredential: 1 };
  const ONE_READ = { readCredential: 1, authorizeSecretOperation: 1, mayUse: 1, mayList: 1 };

  const rows: readonly Row[] = [
    {
      what: 'for anyone',
      request: { method: 'GET', url: '/.well-known/jwks.json' },
      status: 200,
      runs: { readCredential: 0 },
    },
    {
      what: 'a key if sent, without one',
      request: { method: 'POST', url: '/token/verify', json: jwt },
      status: 200,
      runs: ONE_HEADER,
    },
    {
      what: 'a key if sent, with one',
      request: { method: 'POST', url: '/token/verify', json: jwt, key },
      status: 200,
      runs: ONE_HEADER,
    },
    {
      what: 'a key that is read before the handler',
      request: { method: 'GET', url: '/v1/me', key },
      status: 200,
      runs: ONE_HEADER,
    },
    {
      what: 'a key that the write judges',
      request: { method: 'POST', url: '/v1/tokens', key, json: { scopes: ['secrets:read:team/k'] } },
      status: 201,
      runs: { ...ONE_HEADER, confirm: 0 },
    },
    {
      what: 'a key without the role',
      request: { method: 'GET', url: '/v1/agents', key },
      status: 403,
      runs: ONE_HEADER,
    },
    { what: 'a secret by key', request: { method: 'GET', url: PATH, key }, status: 200, runs: ONE_READ },
    {
      what: 'a secret by token',
      request: { method: 'GET', url: PATH, key: token },
      status: 200,
      runs: ONE_READ,
    },
    { what: 'it again', request: { method: 'GET', url: PATH, key: token }, status: 200, runs: ONE_READ },
    {
      what: 'a list',
      request: { method: 'GET', url: '/v1/secrets/team', key: token },
      status: 200,
      runs: { readCredential: 1, authorizeSecretOperation: 1, mayUse: 0, mayList: 1 },
    },
    {
      what: 'a namespace in place of an absent secret',
      request: { method: 'GET', url: '/v1/secrets/team/none', key: token },
      status: 404,
      runs: ONE_READ,
    },
    {
      what: 'a change',
      request: { method: 'PUT', url: PATH, key: token, json: { value: 'w' } },
      status: 200,
      runs: { readCredential: 1, authorizeSecretOperation: 1, mayUse: 1, mayList: 0 },
    },
    {
      what: 'a change that the body names',
      request: { method: 'POST', url: '/v1/secrets', key: token, json: { path: 'team/n', value: 'v' } },
      status: 201,
      runs: { readCredential: 1, authorizeSecretOperation: 1, mayUse: 1, mayList: 0 },
    },
    {
      what: 'introspection',
      request: { method: 'POST', url: '/v1/tokens/introspect', key: token, json: {} },
      status: 200,
      runs: { readCredential: 1, authorizeSecretOperation: 1, mayUse: 0, mayList: 0 },
    },
  ];

  const countEntered = await countingEntered(t);
  for (const { what, request, status, runs } of rows) {
    await t.test(what, async () => {
      const answers: number[] = [];
      const entered = await countEntered(async () => answers.push((await call(request)).status));
      assert.deepEqual(answers, [status]);
      const calls = (name: string): number =>
        entered.filter((entry) => entry.name === name).reduce((sum, entry) => sum + entry.calls, 0);
      const named = entered.filter(({ name }) => name === 'authorize').map(({ file }) => file);
      assert.deepEqual(named, ['http/admission/route-admission.ts']);
      const expected = { authorize: 1, ...runs };
      assert.deepEqual(
        Object.fromEntries(Object.keys(expected).map((name) => [name, calls(name)])),
        expected,
      );
    });
  }
});
