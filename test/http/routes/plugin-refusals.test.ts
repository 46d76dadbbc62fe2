/**
 * The endpoints that plug-ins ask before they let a tool run (contract section 3): every answer that is not a grant says
 * `allowed: false`, also where the question never reached its handler.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, type TestAnswer, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { issueWith } from './verification-calls.ts';

/** What a published plug-in must be able to read in every answer that is not a grant. */
function assertNoGrant(answer: TestAnswer, status: number, about: string): void {
  const body = answer.body as { allowed?: unknown; reason?: unknown; message?: unknown };
  assert.equal(answer.status, status, `${about} ${answer.text}`);
  assert.equal(body.allowed, false, `${about} ${answer.text}`);
  assert.ok(typeof body.reason === 'string' && body.reason.length > 0, about);
  assert.equal(body.reason, body.message);
}

test('the vendors’ ways of asking', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const issued = await issueWith(server, server.adminKey);
  const asked = { token: issued.token, step_index: 0, tool_name: 'read', proof: issued.step_proofs[0].proof };
  for (const [url, keyed] of [
    ['/iap/verify-step', true],
    ['/iap/sdk/enforce', true],
    ['/verify/action', false],
  ] as const) {
    const key = keyed ? { key: server.adminKey } : {};
    const ask = (request: Partial<TestRequest>) => server.call({ method: 'POST', url, ...key, ...request });

    await t.test(
      `${url} refuses a question that is another endpoint’s, with allowed: false and a reason`,
      async () => {
        for (const json of [{}, { allowed: true }, { token: issued.token }, { plan: {} }]) {
          const answer = await ask({ json });
          assertNoGrant(answer, 400, JSON.stringify(json));
          assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' });
        }
      },
    );

    await t.test(`${url} says so in errors of every kind`, async () => {
      assertNoGrant(await ask({ raw: '{"token":' }), 400, 'bad JSON');
      assertNoGrant(await ask({ raw: '{"a":1,"a":2}' }), 400, 'a member twice');
      assertNoGrant(await ask({ raw: '{}', headers: { 'content-type': 'text/plain' } }), 415, 'media type');
      assertNoGrant(await ask({ raw: '{}', headers: { 'content-encoding': 'gzip' } }), 415, 'encoding');
      assertNoGrant(await ask({ raw: ' '.repeat(2 ** 20 + 1) }), 413, 'too large');
      assertNoGrant(await ask({ raw: '{}', headers: { 'content-length': '9' } }), 400, 'length');
      assertNoGrant(await ask({}), 400, 'no body');
      assertNoGrant(await ask({ json: asked, url: `${url}?x=1` }), 400, 'a query');
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        assertNoGrant(await ask({ method }), 404, method);
        assertNoGrant(await ask({ method, url: `${url}?x=1` }), 404, `${method} with a query`);
      }
    });

    if (keyed) {
      await t.test(`${url} says so to whoever has no good key`, async () => {
        for (const headers of [{}, { 'x-api-key': 'nonsense' }, { authorization: 'Basic YTpi' }]) {
          const answer = await server.call({ method: 'POST', url, json: asked, headers });
          assertNoGrant(answer, 401, JSON.stringify(headers));
        }
      });
    }

    await t.test(`${url} says so in another spelling of its path as well`, async () => {
      const spellings = [
        url.replace('v', '%76'),
        url.replace('/iap', '/%69ap').replace('/action', '/%61ction'),
        url.replace('f', '%66').replace('o', '%6F'),
        `http://writ.example${url}`,
      ].filter((spelling) => spelling !== url);
      assert.ok(spellings.length >= 2);
      for (const spelling of spellings) {
        const answer = await ask({ json: {}, url: spelling });
        assert.ok(answer.status === 400 || answer.status === 404, answer.text);
        assertNoGrant(answer, answer.status, spelling);
      }
    });
  }

  await t.test('say so when there are too many requests', async (t) => {
    const limited = await buildTestApp(t, { RATE_LIMIT_MAX: '1', RATE_LIMIT_WINDOW_SECONDS: '600' });
    for (const url of ['/iap/verify-step', '/iap/sdk/enforce', '/verify/action']) {
      const ask = () => limited.call({ method: 'POST', url, json: asked });
      await ask();
      assertNoGrant(await ask(), 429, url);
    }
  });

  await t.test('say so when the server is at fault', async (t) => {
    const broken = await buildTestApp(t);
    await broken.call({ method: 'GET', url: '/v1/me', key: broken.adminKey });
    await broken.sql('alter table api_keys rename to elsewhere');
    for (const url of ['/iap/verify-step', '/iap/sdk/enforce']) {
      assertNoGrant(await broken.call({ method: 'POST', url, json: asked, key: broken.adminKey }), 500, url);
    }
  });
});
