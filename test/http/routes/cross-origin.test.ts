/**
 * Pages of any origin may read the published keys, which `writ/verify` needs in a browser, and nothing else: no other
 * answer has a header of the CORS protocol (Fetch standard, section 3.3), preflights included.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, type TestAnswer } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

const JWKS = '/.well-known/jwks.json';
const ORIGIN = { origin: 'https://app.example' };
const PREFLIGHT = {
  ...ORIGIN,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'x-api-key, content-type',
};

function corsHeaders({ headers }: TestAnswer): Record<string, string | undefined> {
  const found = Object.entries(headers).filter(
    ([name]) => name.startsWith('access-control-') || name === 'timing-allow-origin',
  );
  return Object.fromEntries(found);
}

test('who may read answers from other origins', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);

  await t.test(
    'the keys are for pages of every origin, without credentials, also when they did not change',
    async () => {
      const whole = await server.call({ method: 'GET', url: JWKS, headers: ORIGIN });
      assert.equal(whole.status, 200);
      assert.deepEqual(corsHeaders(whole), { 'access-control-allow-origin': '*' });
      const etag = whole.headers['etag'] ?? '';
      const same = await server.call({
        method: 'GET',
        url: JWKS,
        headers: { ...ORIGIN, 'if-none-match': etag },
      });
      assert.equal(same.status, 304);
      assert.deepEqual(corsHeaders(same), { 'access-control-allow-origin': '*' });
      const unasked = await server.call({ method: 'GET', url: JWKS });
      assert.deepEqual(
        corsHeaders(unasked),
        { 'access-control-allow-origin': '*' },
        'caches hold one answer for all',
      );
    },
  );

  await t.test('no other answer of any route is, whatever the key', async () => {
    assert.ok(server.routes.length > 30);
    const others = server.routes.filter(
      ({ method, url }) => !(url === JWKS && ['GET', 'HEAD'].includes(method)),
    );
    for (const { method, url } of others) {
      for (const key of [undefined, server.adminKey]) {
        const request = { method, url: url.replace('*', 'a/b').replaceAll(/:\w+/g, 'x'), headers: ORIGIN };
        const answer = await server.call({ ...request, ...(key === undefined ? {} : { key }) });
        assert.deepEqual(corsHeaders(answer), {}, `${method} ${url} ${answer.status}`);
      }
    }
  });

  await t.test('no preflight is granted, not even one for the keys', async () => {
    for (const url of [...new Set(server.routes.map((route) => route.url)), '/', '*', '/nowhere']) {
      const answer = await server.call({
        method: 'OPTIONS',
        url: url.replace(/:\w+/g, 'x'),
        headers: PREFLIGHT,
      });
      assert.deepEqual(corsHeaders(answer), {}, url);
      assert.ok(answer.status >= 400, `${url} ${answer.status}`);
    }
  });

  await t.test('a refusal at the address of the keys is not', async () => {
    for (const request of [
      { method: 'GET', url: `${JWKS}?x=1` },
      { method: 'POST', url: JWKS },
      { method: 'DELETE', url: JWKS },
    ]) {
      const answer = await server.call({ ...request, headers: ORIGIN });
      assert.ok(answer.status >= 400, answer.text);
      assert.deepEqual(corsHeaders(answer), {}, request.method);
    }
  });
});
