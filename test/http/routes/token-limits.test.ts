/**
 * How often may scoped tokens ask? (contract section 9): a principal's tokens count with its keys, and a token that
 * nobody knows counts as a failed credential of its address, while known ones from there are still served.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import {
  assertRefused,
  buildTestApp,
  openTestApp,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { tokenClient } from './token-calls.ts';

const LIMITS = { RATE_LIMIT_WINDOW_SECONDS: '600', TRUST_PROXY: '127.0.0.1' };
const READ = 'secrets:read:team/*';
const PATH = 'team/k';
const INVALID = { status: 401, code: 'TOKEN_INVALID' };

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });

function assertLimited(answer: TestAnswer, about?: string): void {
  assertRefused(answer, { status: 429, code: 'RATE_LIMITED' }, about);
  assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
  assert.ok(Number(answer.headers['retry-after']) <= 600);
}

/** Another one every time, in the right form, so that it is looked up. */
const unknownToken = (): string => `ast_tok_${randomBytes(32).toString('base64url')}`;

async function statuses(times: number, ask: () => Promise<TestAnswer>): Promise<number[]> {
  const seen: number[] = [];
  for (let index = 0; index < times; index += 1) seen.push((await ask()).status);
  return seen;
}

/** Two agents with tokens, made by a process whose counters are not those under test. */
async function prepare(t: Parameters<typeof buildTestApp>[0]) {
  const maker = await buildTestApp(t);
  const client = tokenClient(maker);
  const agent = await maker.createAgent({ allowed_scopes: [READ] });
  const other = await maker.createAgent({ allowed_scopes: [READ] });
  await client.store(PATH);
  const make = (key = agent.key, spec = {}) => client.make(key, { scopes: [READ], ...spec });
  const open = async (overrides: Parameters<typeof openTestApp>[2]) => {
    const server = await openTestApp(t, maker.databaseUrl, { ...LIMITS, ...overrides });
    return { server, ...tokenClient(server) };
  };
  return { maker, client, agent, other, make, open };
}

const me = ({ call }: TestApp, key: string, address: string) =>
  call({ method: 'GET', url: '/v1/me', key, ...from(address) });

test('rate limits', { skip: postgresSkip }, async (t) => {
  const { agent, other, make, open, client, maker } = await prepare(t);

  await t.test('a principal’s tokens and keys are counted together, from wherever they ask', async () => {
    const { server, read, use } = await open({ RATE_LIMIT_MAX: '6' });
    const [one, two, limited] = [await make(), await make(), await make(agent.key, { max_uses: 1 })];
    const foreign = await make(other.key);
    assert.deepEqual(await statuses(2, () => read(one.token, PATH, from('192.0.2.1'))), [200, 200]);
    assert.deepEqual(await statuses(2, () => read(two.token, PATH, from('192.0.2.2'))), [200, 200]);
    assert.equal((await me(server, agent.key, '192.0.2.3')).status, 200);
    const introspection = { method: 'POST', url: '/v1/tokens/introspect', ...from('192.0.2.4') };
    assert.equal((await use(one.token, introspection)).status, 200);
    for (const address of ['192.0.2.1', '192.0.2.9']) {
      for (const { token } of [one, two, limited]) assertLimited(await read(token, PATH, from(address)));
      assertLimited(await me(server, agent.key, address));
      assertLimited(await use(one.token, { ...introspection, ...from(address) }));
    }
    assert.equal((await read(foreign.token, PATH, from('192.0.2.1'))).status, 200, 'another principal');
    assert.equal(await client.usesOf(limited), 0, 'what is limited takes no use');
  });

  await t.test('refused uses count as well', async () => {
    const { read } = await open({ RATE_LIMIT_MAX: '4' });
    const { token } = await make();
    assert.deepEqual(await statuses(2, () => read(token, 'other/k', from('192.0.2.1'))), [403, 403]);
    assert.deepEqual(await statuses(2, () => read(token, 'team/absent', from('192.0.2.1'))), [404, 404]);
    assertLimited(await read(token, PATH, from('192.0.2.1')));
  });

  await t.test('the limit comes before everything else that is wrong', async () => {
    const { read } = await open({ RATE_LIMIT_MAX: '1' });
    const issued = await make(agent.key, { allowed_ips: ['192.0.2.1'] });
    assert.equal((await read(issued.token, PATH, from('192.0.2.1'))).status, 200);
    await client.end(issued, 'revoked');
    for (const [path, address] of [
      [PATH, '192.0.2.1'],
      ['team//k', '192.0.2.1'],
      ['other/k', '192.0.2.2'],
    ] as const) {
      assertLimited(await read(issued.token, path, from(address)), path);
    }
  });

  await t.test('an administrator’s tokens count with the administrator', async () => {
    const { server, read } = await open({ RATE_LIMIT_MAX: '2' });
    const { token } = await client.make(maker.adminKey, { scopes: [READ] });
    assert.equal((await me(server, maker.adminKey, '192.0.2.1')).status, 200);
    assert.equal((await read(token, PATH, from('192.0.2.2'))).status, 200);
    assertLimited(await me(server, maker.adminKey, '192.0.2.3'));
    assertLimited(await read(token, PATH, from('192.0.2.4')));
  });

  await t.test('unknown tokens are counted for their address, whichever they are', async () => {
    const { read } = await open({ RATE_LIMIT_MAX: '3' });
    const guess = (address: string) => read(unknownToken(), PATH, from(address));
    assert.deepEqual(await statuses(5, () => guess('192.0.2.1')), [401, 401, 401, 429, 429]);
    assert.equal((await guess('192.0.2.2')).status, 401);
  });
});

test('failed credentials', { skip: postgresSkip }, async (t) => {
  const { agent, make, open, client } = await prepare(t);

  await t.test(
    'after so many unknown tokens there are no further guesses, while a known one is served',
    async () => {
      const { server, read } = await open({ AUTH_FAILURE_MAX: '3' });
      const [known, fresh] = [await make(), await make()];
      const attacker = from('192.0.2.66');
      assert.equal((await read(known.token, PATH, from('192.0.2.1'))).status, 200);
      const guess = () => read(unknownToken(), PATH, attacker);
      assert.deepEqual(await statuses(5, guess), [401, 401, 401, 429, 429]);
      assertLimited(await read('ast_tok_nonsense', PATH, attacker), 'what has no form');
      assertLimited(
        await me(server, generateApiKey().text, '192.0.2.66'),
        'keys are guessed no further either',
      );
      assert.equal((await read(known.token, PATH, attacker)).status, 200, 'a token that was shown before');
      assertLimited(await read(fresh.token, PATH, attacker), 'a good token that nobody has shown yet');
      assert.equal(
        (await read(fresh.token, PATH, from('192.0.2.67'))).status,
        200,
        'the same from elsewhere',
      );
      assert.equal((await read(fresh.token, PATH, attacker)).status, 200, 'and now it is known');
    },
  );

  await t.test('tokens without the form, repeated guesses and wrong keys count alike', async () => {
    const { server, read } = await open({ AUTH_FAILURE_MAX: '4' });
    const attacker = from('192.0.2.66');
    const repeated = unknownToken();
    assertRefused(await read('ast_tok_', PATH, attacker), INVALID);
    assert.deepEqual(await statuses(2, () => read(repeated, PATH, attacker)), [401, 401]);
    assert.equal((await me(server, generateApiKey().text, '192.0.2.66')).status, 401);
    assertLimited(await read(unknownToken(), PATH, attacker));
  });

  await t.test('an IPv6 guesser is its /64, and writes itself no other address', async () => {
    const { read } = await open({ AUTH_FAILURE_MAX: '2' });
    const guess = (address: string) => read(unknownToken(), PATH, from(address));
    assert.equal((await guess('2001:db8::1')).status, 401);
    assert.equal((await guess('198.51.100.1, 2001:db8::2')).status, 401);
    assertLimited(await guess('198.51.100.2, 2001:db8::ffff:3'));
    assert.equal((await guess('2001:db8:0:1::1')).status, 401);
  });

  await t.test('a known token that is refused, or has ended, is no failed credential', async () => {
    const { read } = await open({ AUTH_FAILURE_MAX: '1' });
    const address = from('192.0.2.66');
    const issued = await make(agent.key, { max_uses: 1, allowed_ips: ['192.0.2.66', '192.0.2.1'] });
    const elsewhere = await make(agent.key, { allowed_ips: ['192.0.2.1'] });
    assert.deepEqual(await statuses(2, () => read(issued.token, 'other/k', address)), [403, 403]);
    assert.deepEqual(await statuses(2, () => read(issued.token, 'team//k', address)), [400, 400]);
    assert.deepEqual(await statuses(2, () => read(elsewhere.token, PATH, address)), [403, 403]);
    for (const state of ['exhausted', 'expired', 'revoked'] as const) {
      await client.end(issued, state);
      assert.deepEqual(await statuses(2, () => read(issued.token, PATH, address)), [401, 401], state);
    }
    assertRefused(await read(unknownToken(), PATH, address), INVALID, 'the first that counts');
    assertLimited(await read(unknownToken(), PATH, address));
  });

  await t.test('of a token that nobody knows there is nothing on record', async () => {
    const { server, read } = await open({ AUTH_FAILURE_MAX: '2' });
    const count = () => server.sql<{ count: string }>('select count(*) from audit_events');
    const before = await count();
    assert.deepEqual(
      await statuses(4, () => read(unknownToken(), PATH, from('192.0.2.5'))),
      [401, 401, 429, 429],
    );
    assert.deepEqual(await count(), before);
  });
});
