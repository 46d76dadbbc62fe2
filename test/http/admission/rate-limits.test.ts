/**
 * How often may one ask? (contract section 9): per principal once it is known, before that per address (IPv6 by /64),
 * and failed credentials per address. What is remembered as good is served while guessing goes on beside it.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { assertRefused, buildTestApp, type TestAnswer, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

const WINDOW = { RATE_LIMIT_WINDOW_SECONDS: '600' };
const PROXY = { TRUST_PROXY: '127.0.0.1' };

/** From a client behind the trusted proxy. */
const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });

function assertLimited(answer: TestAnswer, about?: string): void {
  assertRefused(answer, { status: 429, code: 'RATE_LIMITED' }, about);
  assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
  assert.ok(Number(answer.headers['retry-after']) <= 600);
  assert.equal(answer.headers['www-authenticate'], undefined);
}

async function statuses(times: number, ask: () => Promise<TestAnswer>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < times; index += 1) seen.push((await ask()).status);
  return seen;
}

/** Another unknown key every time, in the right form, so that it is asked for in the database. */
const guess = ({ call }: TestApp, request: Partial<Parameters<TestApp['call']>[0]> = {}) =>
  call({
    method: 'GET',
    url: '/v1/me',
    ...request,
    headers: { 'x-api-key': generateApiKey().text, ...request.headers },
  });

test('requests', { skip: postgresSkip }, async (t) => {
  await t.test(
    'one address gets its number of answers, then 429; another address still gets its own',
    async (t) => {
      const { call } = await buildTestApp(t, { ...WINDOW, ...PROXY, RATE_LIMIT_MAX: '3' });
      const ask = (address: string) => () =>
        call({ method: 'GET', url: '/.well-known/jwks.json', ...from(address) });
      assert.deepEqual(await statuses(5, ask('192.0.2.1')), [200, 200, 200, 429, 429]);
      assertLimited(await ask('192.0.2.1')());
      assert.deepEqual(await statuses(4, ask('192.0.2.2')), [200, 200, 200, 429]);
    },
  );

  await t.test('the limit is one for all endpoints', async (t) => {
    const { call } = await buildTestApp(t, { ...WINDOW, RATE_LIMIT_MAX: '2' });
    assert.equal((await call({ method: 'GET', url: '/health' })).status, 200);
    assert.equal((await call({ method: 'GET', url: '/.well-known/jwks.json' })).status, 200);
    assertLimited(await call({ method: 'GET', url: '/v1/health' }));
    assertLimited(await call({ method: 'POST', url: '/token/issue', json: {} }));
  });

  await t.test('an IPv6 client is its /64, however it changes its address', async (t) => {
    const { call } = await buildTestApp(t, { ...WINDOW, ...PROXY, RATE_LIMIT_MAX: '2' });
    const ask = (address: string) => call({ method: 'GET', url: '/health', ...from(address) });
    assert.equal((await ask('2001:db8:0:1::1')).status, 200);
    assert.equal((await ask('2001:db8:0:1:ffff:ffff:ffff:ffff')).status, 200);
    assertLimited(await ask('2001:db8:0:1:abcd::9'));
    assert.equal((await ask('2001:db8:0:2::1')).status, 200);
    assert.equal((await ask('::ffff:192.0.2.9')).status, 200);
    assert.equal((await ask('192.0.2.9')).status, 200);
    assertLimited(await ask('::ffff:192.0.2.9'), 'a mapped address is the IPv4 address');
  });

  await t.test('what a client writes into X-Forwarded-For itself makes it nobody else', async (t) => {
    const { call } = await buildTestApp(t, { ...WINDOW, ...PROXY, RATE_LIMIT_MAX: '2' });
    const ask = (forwarded: string, remoteAddress: string) =>
      call({ method: 'GET', url: '/health', headers: { 'x-forwarded-for': forwarded }, remoteAddress });
    assert.equal((await ask('198.51.100.1', '203.0.113.5')).status, 200);
    assert.equal((await ask('198.51.100.2', '203.0.113.5')).status, 200);
    assertLimited(await ask('198.51.100.3', '203.0.113.5'), 'not sent by the proxy');
    assert.equal((await ask('198.51.100.1, 203.0.113.7', '127.0.0.1')).status, 200);
    assert.equal((await ask('198.51.100.2, 203.0.113.7', '127.0.0.1')).status, 200);
    assertLimited(await ask('198.51.100.3, 203.0.113.7', '127.0.0.1'), 'left of what the proxy wrote');
  });

  await t.test(
    'a principal is counted by itself: over all its keys and addresses, beside others',
    async (t) => {
      const server = await buildTestApp(t, { ...WINDOW, ...PROXY, RATE_LIMIT_MAX: '6' });
      const { call, createAgent, adminKey } = server;
      const [one, other] = [await createAgent(), await createAgent()];
      const second = await call<{ api_key: string }>({
        method: 'POST',
        url: `/v1/agents/${one.id}/keys`,
        key: adminKey,
        json: {},
      });
      const ask = (key: string, address: string) =>
        call({ method: 'GET', url: '/v1/me', ...from(address), key });
      assert.deepEqual(await statuses(3, () => ask(one.key, '192.0.2.1')), [200, 200, 200]);
      assert.deepEqual(await statuses(3, () => ask(second.body.api_key, '192.0.2.2')), [200, 200, 200]);
      assertLimited(await ask(one.key, '192.0.2.3'));
      assertLimited(await ask(second.body.api_key, '192.0.2.1'));
      assert.equal((await ask(other.key, '192.0.2.1')).status, 200, 'another principal behind one address');
    },
  );

  await t.test('nothing is limited where the limit is 0', async (t) => {
    const { call } = await buildTestApp(t, { ...WINDOW, RATE_LIMIT_MAX: '0' });
    const seen = await statuses(30, () => call({ method: 'GET', url: '/health' }));
    assert.ok(seen.every((status) => status === 200));
  });
});

test('failed credentials', { skip: postgresSkip }, async (t) => {
  await t.test(
    'after so many, unknown ones from there are 429 while a remembered key is served',
    async (t) => {
      const server = await buildTestApp(t, { ...WINDOW, ...PROXY, AUTH_FAILURE_MAX: '3' });
      const { call, adminKey, createAgent } = server;
      const attacker = from('192.0.2.66');
      const agent = await createAgent();
      const fresh = await createAgent();
      const me = (key: string) => call({ method: 'GET', url: '/v1/me', key, ...attacker });
      assert.equal((await me(agent.key)).status, 200);
      assert.deepEqual(await statuses(3, () => guess(server, attacker)), [401, 401, 401]);
      assertLimited(await guess(server, attacker), 'a fourth guess');
      assertLimited(await me('nonsense'), 'what is no key at all');
      assert.equal((await me(agent.key)).status, 200, 'a remembered key from the same address');
      assert.equal((await me(adminKey)).status, 200, 'one that was verified from elsewhere');
      assertLimited(await me(fresh.key), 'a good key that nobody has shown yet');
      const elsewhere = await call({ method: 'GET', url: '/v1/me', key: fresh.key, ...from('192.0.2.67') });
      assert.equal(elsewhere.status, 200);
    },
  );

  await t.test('malformed keys, wrong secrets and repeated guesses count alike', async (t) => {
    for (const headers of [
      { 'x-api-key': 'nonsense' },
      { authorization: 'Basic YTpi' },
      { authorization: `Bearer ast_tok_${'A'.repeat(43)}` },
      { 'x-api-key': generateApiKey().text },
    ]) {
      const { call } = await buildTestApp(t, { ...WINDOW, AUTH_FAILURE_MAX: '2' });
      const ask = () => call({ method: 'GET', url: '/v1/me', headers });
      assert.deepEqual(await statuses(4, ask), [401, 401, 429, 429], JSON.stringify(headers).slice(0, 40));
    }
  });

  await t.test('a request without a credential guesses nothing and does not count', async (t) => {
    const server = await buildTestApp(t, { ...WINDOW, AUTH_FAILURE_MAX: '2' });
    const missing = () => server.call({ method: 'GET', url: '/v1/me' });
    assert.deepEqual(await statuses(5, missing), [401, 401, 401, 401, 401]);
    assert.equal((await guess(server)).status, 401);
  });

  await t.test('an IPv6 guesser is its /64', async (t) => {
    const server = await buildTestApp(t, { ...WINDOW, ...PROXY, AUTH_FAILURE_MAX: '2' });
    assert.equal((await guess(server, from('2001:db8::1'))).status, 401);
    assert.equal((await guess(server, from('2001:db8::2'))).status, 401);
    assertLimited(await guess(server, from('2001:db8::ffff:3')));
    assert.equal((await guess(server, from('2001:db8:0:1::1'))).status, 401);
  });

  await t.test('endpoints without a credential are served all the same', async (t) => {
    const server = await buildTestApp(t, { ...WINDOW, AUTH_FAILURE_MAX: '1' });
    assert.equal((await guess(server)).status, 401);
    for (const url of ['/health', '/ready', '/.well-known/jwks.json']) {
      assert.equal((await server.call({ method: 'GET', url })).status, 200, url);
    }
  });

  await t.test('each limit says which it is, and which setting', async (t) => {
    const server = await buildTestApp(t, { ...WINDOW, RATE_LIMIT_MAX: '5', AUTH_FAILURE_MAX: '1' });
    const said = async (ask: () => Promise<TestAnswer>): Promise<string> => {
      let answer = await ask();
      while (answer.status !== 429) answer = await ask();
      return (answer.body as { error: { message: string } }).error.message;
    };
    const { call, adminKey: key } = server;
    assert.match(
      await said(() => call({ method: 'GET', url: '/v1/me', key })),
      /^Too many requests of this principal.*RATE_LIMIT_MAX/,
    );
    assert.match(
      await said(() => guess(server)),
      /^Too many wrong credentials from this address.*AUTH_FAILURE_MAX/,
    );
    assert.match(
      await said(() => call({ method: 'GET', url: '/v1/health' })),
      /^Too many requests from this address.*RATE_LIMIT_MAX/,
    );
  });
});
