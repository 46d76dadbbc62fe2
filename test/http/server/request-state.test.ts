/**
 * The head of a request as RFC 9112 asks for it: what Node would answer with an empty 400, or not at all, is refused over
 * a real socket in the form of its endpoint, and nobody takes it for a grant (contract sections 1 and 3).
 */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { exchangeBytes } from '../../support/raw-exchange.ts';

test('the head of a request', { skip: postgresSkip }, async (t) => {
  const { app, adminKey } = await buildTestApp(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const ask = async (line: string, headers: readonly string[], body = '') => {
    const all = ['Connection: close', `X-API-Key: ${adminKey}`, ...headers];
    const text = (await exchangeBytes(port, [line, ...all, '', body].join('\r\n'))).toString();
    const [head = '', said = ''] = text.split('\r\n\r\n', 2);
    return {
      text,
      status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]),
      requestId: /\r\nx-request-id: (\S+)/i.exec(head)?.[1],
      body: JSON.parse(said || 'null') as Record<string, unknown> | null,
    };
  };
  const JSON_BODY = ['Content-Type: application/json', 'Content-Length: 2'];
  const faultyHosts: readonly (readonly string[])[] = [
    [],
    ['Host: a', 'Host: a'],
    ['Host: a', 'HOST: b'],
    ['Host: a b'],
    ['Host: a/b'],
    ['Host: u@a'],
    ['Host: a:b'],
    ['Host: a, b'],
    ['Host: [::1'],
    ['Host: a%zz'],
    ['Host: http://a'],
  ];

  await t.test('without one valid Host it is refused, in the envelope of its place', async () => {
    for (const hosts of faultyHosts) {
      const about = hosts.join(' ');
      const outside = await ask('GET /health HTTP/1.1', hosts);
      assert.equal(outside.status, 400, `${about} ${outside.text}`);
      assert.equal(outside.body?.['error_code'], 'VALIDATION_ERROR', about);
      assert.deepEqual(outside.body?.['details'], { header: 'Host' }, about);
      assert.equal(outside.body?.['allowed'], false, about);
      assert.equal(outside.body?.['request_id'], outside.requestId, about);
      assert.match(String(outside.body?.['message']), /Host/, about);
      const inside = await ask('GET /v1/me HTTP/1.1', hosts);
      assert.equal(inside.status, 400, about);
      assert.deepEqual(Object.keys(inside.body ?? {}), ['error', 'detail', 'request_id'], about);
      for (const path of ['/iap/verify-step', '/verify/action', '/iap/sdk/enforce', '/nothing', '/%']) {
        const refused = await ask(`POST ${path} HTTP/1.1`, [...hosts, ...JSON_BODY], '{}');
        assert.deepEqual([refused.status, refused.body?.['allowed']], [400, false], `${path} ${about}`);
      }
    }
  });

  await t.test('it is never a bad request where a client reads that as permission', async () => {
    for (const hosts of faultyHosts) {
      for (const target of [
        '/iap/enforce',
        '/iap/enforce?a=b',
        'http://writ/iap/enforce',
        '/iap/%65nforce',
      ]) {
        const { status, body } = await ask(`POST ${target} HTTP/1.1`, [...hosts, ...JSON_BODY], '{}');
        assert.equal(status, 200, target);
        const { reason, ...rest } = body ?? {};
        assert.deepEqual(rest, { allowed: false, action: 'block' });
        assert.match(String(reason), /Host/);
      }
    }
  });

  await t.test('every form of Host that there is is taken, and none is asked of HTTP/1.0', async () => {
    for (const host of [
      '',
      'a',
      'a.b:3000',
      'my_service',
      '127.0.0.1:1',
      '[::1]:3000',
      '[v1.a]',
      'a:',
      'a%41',
    ]) {
      assert.equal((await ask('GET /v1/me HTTP/1.1', [`Host: ${host}`])).status, 200, host);
    }
    assert.equal((await ask('GET /v1/me HTTP/1.0', [])).status, 200);
  });

  await t.test('chunks of HTTP/1.0 are refused, also where a client reads a 400 as permission', async () => {
    const chunked = ['Host: writ', 'Content-Type: application/json', 'Transfer-Encoding: chunked'];
    const chunks = '2\r\n{}\r\n0\r\n\r\n';
    const issue = await ask('POST /token/issue HTTP/1.0', chunked, chunks);
    assert.equal(issue.status, 400, issue.text);
    assert.deepEqual(issue.body?.['details'], { header: 'Transfer-Encoding' });
    const enforce = await ask('POST /iap/enforce HTTP/1.0', chunked, chunks);
    assert.deepEqual([enforce.status, enforce.body?.['allowed']], [200, false]);
  });

  await t.test('an expectation and an upgrade change nothing', async () => {
    const question = '{"tool_name":"t"}';
    const sent = ['Host: writ', 'Content-Type: application/json', `Content-Length: ${question.length}`];
    for (const headers of [
      ['Expect: a miracle'],
      ['Upgrade: websocket'],
      ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    ]) {
      const { status, body } = await ask('POST /iap/enforce HTTP/1.1', [...sent, ...headers], question);
      assert.deepEqual([status, body?.['allowed']], [200, true], headers.join());
    }
  });
});
