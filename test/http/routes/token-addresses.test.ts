/**
 * From where a scoped token may be used (contract section 5.3): the socket's peer, or what a trusted proxy says of its
 * own. What a client writes itself opens nothing, and a refusal names the address that was seen.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, errorOf, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import vectors from '../../vectors/cidr.json' with { type: 'json' };
import { tokenClient } from './token-calls.ts';

const READ = 'secrets:read:team/*';
const PATH = 'team/k';
const DENIED = { status: 403, code: 'IP_NOT_ALLOWED' };

test('addresses.peer', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { issue, make, read, store, usesOf, events } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });
  await store(PATH);

  await t.test('every entry of the vectors is taken or refused as listed', async () => {
    for (const { entry, accept } of vectors.entries) {
      const answer = await issue(agent.key, { scopes: [READ], allowed_ips: [entry] });
      if (accept) assert.equal(answer.status, 201, entry);
      else assertRefused(answer, { status: 400, code: 'INVALID_IP_ALLOWLIST' }, JSON.stringify(entry));
    }
  });

  await t.test('every match of the vectors is decided as listed, and a refusal takes no use', async () => {
    for (const { allowed_ips, client, allow } of vectors.matches) {
      const token = await make(agent.key, { scopes: [READ], allowed_ips, max_uses: 1 });
      const answer = await read(token.token, PATH, { remoteAddress: client });
      if (allow) assert.equal(answer.status, 200, client);
      else assertRefused(answer, DENIED, client);
      assert.equal(await usesOf(token), allow ? 1 : 0, client);
    }
  });

  await t.test('one address in several forms is one address, and its neighbours are others', async () => {
    const { token } = await make(agent.key, {
      scopes: [READ],
      allowed_ips: ['192.0.2.1', '2001:db8::1', 'fe80::/64'],
    });
    for (const remoteAddress of [
      '192.0.2.1',
      '::ffff:192.0.2.1',
      '::FFFF:192.0.2.1',
      '::ffff:c000:201',
      '0:0:0:0:0:ffff:c000:0201',
      '2001:db8::1',
      '2001:DB8:0:0::1',
      'fe80::1%eth0',
      'fe80::1%25',
    ]) {
      assert.equal((await read(token, PATH, { remoteAddress })).status, 200, remoteAddress);
    }
    for (const remoteAddress of [
      '192.0.2.2',
      '192.0.2.0',
      '::192.0.2.1',
      '::ffff:0:192.0.2.1',
      '64:ff9b::192.0.2.1',
      '2002:c000:201::',
      '2001:db8::2',
      'fe80:0:0:1::1%eth0',
      '192.0.2.1%eth0',
      '192.0.2.01',
      'nonsense',
      '::1',
    ]) {
      assertRefused(await read(token, PATH, { remoteAddress }), DENIED, remoteAddress);
    }
  });

  await t.test('a refusal names the address that was seen, and nothing of the list', async () => {
    const { token } = await make(agent.key, { scopes: [READ], allowed_ips: ['192.0.2.77'] });
    for (const [remoteAddress, seen] of [
      ['198.51.100.9', '198.51.100.9'],
      ['::ffff:198.51.100.9', '198.51.100.9'],
      ['2001:0db8:0:0::5', '2001:db8::5'],
      ['fe80::1%eth0', 'fe80::1'],
    ] as const) {
      const answer = await read(token, PATH, { remoteAddress });
      assertRefused(answer, DENIED, remoteAddress);
      assert.ok(errorOf(answer).message?.includes(` ${seen}.`), `${remoteAddress} ${answer.text}`);
      assert.ok(!answer.text.includes('192.0.2.77'));
    }
  });

  await t.test('without a trusted proxy no header changes who is asking', async () => {
    const { token } = await make(agent.key, { scopes: [READ], allowed_ips: ['192.0.2.1'] });
    const claims = {
      'x-forwarded-for': '192.0.2.1',
      'x-real-ip': '192.0.2.1',
      'x-client-ip': '192.0.2.1',
      'true-client-ip': '192.0.2.1',
      'cf-connecting-ip': '192.0.2.1',
      forwarded: 'for=192.0.2.1',
    };
    assertRefused(await read(token, PATH, { headers: claims }), DENIED);
    assertRefused(await read(token, PATH, { headers: claims, remoteAddress: '203.0.113.5' }), DENIED);
    const other = { headers: { 'x-forwarded-for': '203.0.113.5' }, remoteAddress: '192.0.2.1' };
    assert.equal((await read(token, PATH, other)).status, 200);
  });

  await t.test('the list binds every use, from the first to the last', async () => {
    const { token } = await make(server.adminKey, {
      scopes: ['secrets:*:team/*', 'namespaces:read'],
      allowed_ips: ['192.0.2.1'],
    });
    for (const request of [
      { method: 'GET', url: '/v1/secrets/team/k' },
      { method: 'GET', url: '/v1/secrets/team' },
      { method: 'GET', url: '/v1/secrets?namespace=team' },
      { method: 'GET', url: '/v1/namespaces' },
      { method: 'POST', url: '/v1/secrets', json: { path: 'team/n', value: 'v' } },
      { method: 'POST', url: '/v1/secrets/import', json: { namespace: 'team', content: 'n=1' } },
      { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } },
      { method: 'POST', url: '/v1/secrets/team/k/rotate' },
      { method: 'DELETE', url: '/v1/secrets/team/k' },
      { method: 'POST', url: '/v1/tokens/introspect' },
    ] satisfies TestRequest[]) {
      const answer = await tokenClient(server).use(token, { ...request, remoteAddress: '192.0.2.2' });
      assertRefused(answer, DENIED, `${request.method} ${request.url}`);
    }
    assert.equal((await read(token, PATH, { remoteAddress: '192.0.2.1' })).status, 200);
  });

  await t.test('the address that was refused is on record', async () => {
    const { token, token_id } = await make(agent.key, { scopes: [READ], allowed_ips: ['192.0.2.1'] });
    const answer = await read(token, PATH, { remoteAddress: '198.51.100.9' });
    const rows = await events("metadata ->> 'credential' = $1", [token_id]);
    assert.deepEqual(
      rows.map(({ id, ...row }) => row),
      [
        {
          event_type: 'token.denied',
          actor_id: agent.id,
          actor_type: 'agent',
          resource_type: 'secret',
          resource_id: PATH,
          metadata: { code: 'IP_NOT_ALLOWED', credential: token_id },
          ip_address: '198.51.100.9',
          request_id: answer.headers['x-request-id'],
        },
      ],
    );
  });
});

test('addresses.forwarded', { skip: postgresSkip }, async (t) => {
  const PROXY = '192.0.2.10';
  const server = await buildTestApp(t, { TRUST_PROXY: `${PROXY}/32,10.0.0.0/8` });
  const { make, read, store } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: [READ] });
  await store(PATH);
  // Everything may ask but what the tests ask from, so the answer names whom the server takes it for.
  const { token: nowhere } = await make(agent.key, { scopes: [READ], allowed_ips: ['255.255.255.255'] });

  const seenAs = async (peer: string, forwarded?: string | readonly string[]): Promise<string> => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    const answer = await read(nowhere, PATH, { remoteAddress: peer, headers });
    assertRefused(answer, DENIED, `${peer} ${forwarded}`);
    return /from (.*)\.$/.exec(errorOf(answer).message ?? '')?.[1] ?? '';
  };

  await t.test('every row of the vectors is seen as listed', async () => {
    let rows = 0;
    for (const { trust_proxy, peer, xff, client } of vectors.forwarded) {
      if (trust_proxy !== '192.0.2.10/32' || !/^[0-9a-f.:]+$/.test(client)) continue;
      assert.equal(await seenAs(peer, xff), client, `${peer} ${xff}`);
      rows += 1;
    }
    assert.equal(rows, 3);
  });

  await t.test('the client is the right-most that no trusted proxy is', async () => {
    for (const [peer, forwarded, seen] of [
      [PROXY, undefined, PROXY],
      [PROXY, '198.51.100.7', '198.51.100.7'],
      [PROXY, '198.51.100.7,203.0.113.1', '203.0.113.1'],
      [PROXY, '198.51.100.7 ,\t203.0.113.1  ', '203.0.113.1'],
      [PROXY, '198.51.100.7, 10.1.2.3, 10.9.9.9', '198.51.100.7'],
      [PROXY, '203.0.113.1, 198.51.100.7, ::ffff:10.1.2.3', '198.51.100.7'],
      [PROXY, ['198.51.100.7', '203.0.113.1'], '203.0.113.1'],
      [PROXY, ['198.51.100.7, 203.0.113.1', '10.1.1.1'], '203.0.113.1'],
      [PROXY, '10.1.1.1, 10.2.2.2', '10.2.2.2'],
      [PROXY, 'nonsense, 198.51.100.7', '198.51.100.7'],
      [PROXY, ', 198.51.100.7', '198.51.100.7'],
      [PROXY, '::ffff:198.51.100.7', '198.51.100.7'],
      [PROXY, '2001:DB8:0::7', '2001:db8::7'],
      [PROXY, 'fe80::7%eth0', 'fe80::7'],
      [`::ffff:${PROXY}`, '198.51.100.7', '198.51.100.7'],
      ['10.0.0.1', '198.51.100.7', '198.51.100.7'],
      ['203.0.113.9', '198.51.100.7', '203.0.113.9'],
      ['203.0.113.9', PROXY, '203.0.113.9'],
      ['192.0.2.11', '198.51.100.7', '192.0.2.11'],
      [`::${PROXY}`, '198.51.100.7', '::c000:20a'],
    ] as const) {
      assert.equal(await seenAs(peer, forwarded), seen, `${peer} ${forwarded}`);
    }
  });

  await t.test(
    'what cannot be read is not skipped: it is refused, even where the proxy itself is allowed',
    async () => {
      const { token } = await make(agent.key, { scopes: [READ], allowed_ips: ['0.0.0.0/0', '::/0'] });
      const ask = (forwarded: string) =>
        read(token, PATH, { remoteAddress: PROXY, headers: { 'x-forwarded-for': forwarded } });
      assert.equal((await ask('198.51.100.7')).status, 200);
      for (const forwarded of [
        'unknown',
        '_hidden',
        '198.51.100.7:4711',
        '[2001:db8::7]',
        '[2001:db8::7]:4711',
        '198.51.100.07',
        '198.51.100',
        '198.51.100.0/24',
        'for=198.51.100.7',
        '198.51.100.7;203.0.113.1',
        '198.51.100.7 203.0.113.1',
        '198.51.100.7,',
        '198.51.100.7, , 10.1.1.1',
        '198.51.100.7, nonsense, 10.1.1.1',
        ',',
        '',
      ]) {
        assertRefused(await ask(forwarded), DENIED, JSON.stringify(forwarded));
      }
    },
  );

  await t.test('a header cannot put its own words into the answer', async () => {
    const seen = await seenAs(PROXY, `<script>alert(1)</script>${'x'.repeat(500)}`);
    assert.ok(seen.length <= 64, seen);
    assert.match(await seenAs(PROXY, 'caf\u00e9\u001b[2J'), /^[\x20-\x7e]*$/);
  });

  await t.test('a token from anywhere asks no question about addresses', async () => {
    const { token } = await make(agent.key, { scopes: [READ] });
    for (const forwarded of ['198.51.100.7', 'unknown', '']) {
      const answer = await read(token, PATH, {
        remoteAddress: PROXY,
        headers: { 'x-forwarded-for': forwarded },
      });
      assert.equal(answer.status, 200, forwarded);
    }
  });
});
