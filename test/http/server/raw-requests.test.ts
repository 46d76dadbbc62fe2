/** What comes over a real socket: the process outlives every sequence of bytes, and closes where it must. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { exchangeBytes } from '../../support/raw-exchange.ts';

test('over a socket', { skip: postgresSkip }, async (t) => {
  const { app, adminKey, call } = await buildTestApp(t, { REQUEST_TIMEOUT_MS: '2000' });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;

  const exchange = async (bytes: string | Uint8Array): Promise<string> =>
    (await exchangeBytes(port, bytes)).toString('latin1');
  const request = (line: string, headers: readonly string[] = [], body = ''): string =>
    [line, 'Host: writ', 'Connection: close', ...headers, '', body].join('\r\n');
  const bodyOf = (answer: string): unknown => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4));
  const assertAlive = async (): Promise<void> => {
    assert.match(await exchange(request('GET /health HTTP/1.1')), /^HTTP\/1\.1 200 /);
  };

  await t.test('an absolute-form target is read by its path', async () => {
    const key = `X-API-Key: ${adminKey}`;
    for (const target of ['http://writ/v1/me', 'HTTP://elsewhere:1/v1/me', 'https://u@h/v1/me']) {
      const answer = await exchange(request(`GET ${target} HTTP/1.1`, [key]));
      assert.match(answer, /^HTTP\/1\.1 200 /, target);
    }
    const bare = await exchange(request('GET http://writ HTTP/1.1', [key]));
    assert.match(bare, /^HTTP\/1\.1 404 /);
    const inside = await exchange(request('GET http://writ/v1/nothing HTTP/1.1', [key]));
    assert.deepEqual(Object.keys(bodyOf(inside) as object), ['error', 'detail', 'request_id']);
  });

  await t.test(
    'bytes that are no request, CONNECT and TRACE end the connection and nothing else',
    async () => {
      for (const bytes of [
        'garbage\r\n\r\n',
        Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
        '\0\0\0\0\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'GET /health HTTP/1.1\r\n\r\n',
        'GET /health HTTP/1.1\r\nHost: writ\r\nno colon\r\n\r\n',
        'GET /health HTTP/1.1\r\nHost: writ\r\nA: b\0c\r\n\r\n',
        `GET /health HTTP/1.1\r\nHost: writ\r\nA: ${'x'.repeat(40_000)}\r\n\r\n`,
        `GET /${'x'.repeat(40_000)} HTTP/1.1\r\nHost: writ\r\n\r\n`,
        'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}',
        'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Length: -1\r\n\r\n',
        'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}',
        'CONNECT writ:443 HTTP/1.1\r\nHost: writ\r\n\r\n',
        'TRACE /v1/me HTTP/1.1\r\nHost: writ\r\nConnection: close\r\n\r\n',
      ]) {
        const answer = await exchange(bytes);
        const about = `${bytes.toString().slice(0, 60)} → ${answer.slice(0, 200)}`;
        assert.doesNotMatch(answer, /^HTTP\/1\.1 [1235]/, about);
        assert.doesNotMatch(answer, /node_modules|\.js\b|\.ts\b|\bat \S+ \(/, about);
      }
      await assertAlive();
    },
  );

  await t.test('TRACE does not echo what was sent', async () => {
    const answer = await exchange(request('TRACE /v1/me HTTP/1.1', [`X-API-Key: ${adminKey}`]));
    assert.ok(!answer.includes(adminKey));
    assert.match(answer, /^(HTTP\/1\.1 4|$)/);
  });

  await t.test('a missing credential is answered before the body has come', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(
      'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{',
    );
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    assert.match(chunk.toString(), /^HTTP\/1\.1 401 /);
    await assertAlive();
  });

  await t.test('a client that goes away in the middle of its body harms nobody', async () => {
    for (let times = 0; times < 5; times += 1) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(
        `POST /token/issue HTTP/1.1\r\nHost: writ\r\nX-API-Key: ${adminKey}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"plan":`,
      );
      await once(socket, 'ready');
      socket.resetAndDestroy();
    }
    await assertAlive();
  });

  await t.test('an empty body is an absent one, whatever its headers say of it', async () => {
    const key = `X-API-Key: ${adminKey}`;
    const url = '/v1/secrets/bodies/K';
    const [chunked, none] = ['Transfer-Encoding: chunked', '0\r\n\r\n'];
    for (const type of [[], ['Content-Type: application/json'], ['Content-Type: text/plain']]) {
      const stored = await call({ method: 'PUT', url, key: adminKey, json: { value: 'v' } });
      assert.equal(stored.status, 201, stored.text);
      const answer = await exchange(request(`DELETE ${url} HTTP/1.1`, [key, chunked, ...type], none));
      assert.match(answer, /^HTTP\/1\.1 204 /, `${type} ${answer}`);
    }
    for (const [headers, body] of [
      [['Content-Length: 0', 'Content-Type: foo'], ''],
      [['Content-Length: 0', 'Content-Type: foo', 'Content-Encoding: gzip'], ''],
      [['Content-Type: text/plain'], ''],
      [[chunked], none],
      [[chunked, 'Content-Type: text/plain'], none],
    ] as const) {
      const answer = await exchange(request('POST /token/issue HTTP/1.1', [key, ...headers], body));
      assert.match(answer, /^HTTP\/1\.1 400 /, `${headers} ${answer}`);
      assert.equal((bodyOf(answer) as { error_code: string }).error_code, 'INVALID_PLAN', String(headers));
    }
  });

  await t.test('a chunked body of a type that is not taken is refused, and nothing happens', async () => {
    const url = '/v1/secrets/bodies/KEPT';
    await call({ method: 'PUT', url, key: adminKey, json: { value: 'kept' } });
    for (const headers of [[], ['Content-Type: foo'], ['Content-Type: text/plain']]) {
      const all = [`X-API-Key: ${adminKey}`, 'Transfer-Encoding: chunked', ...headers];
      const answer = await exchange(request(`DELETE ${url} HTTP/1.1`, all, '2\r\n{}\r\n0\r\n\r\n'));
      assert.match(answer, /^HTTP\/1\.1 415 /, `${headers} ${answer}`);
    }
    const read = await call<{ value: string }>({ method: 'GET', url, key: adminKey });
    assert.equal(read.body.value, 'kept');
  });

  await t.test('header names that differ in case are one credential that is repeated', async () => {
    const twice = [`X-API-Key: ${adminKey}`, `x-api-key: ${adminKey}`];
    assert.match(await exchange(request('GET /v1/me HTTP/1.1', twice)), /^HTTP\/1\.1 200 /);
    const bearers = [`Authorization: Bearer ${adminKey}`, `authorization: Bearer ${adminKey}`];
    assert.match(await exchange(request('GET /v1/me HTTP/1.1', bearers)), /^HTTP\/1\.1 401 /);
  });

  await t.test('an answer carries the documented headers', async () => {
    const answer = await exchange(request('GET /nothing HTTP/1.1', ['X-Request-Id: forged']));
    assert.match(answer, /\r\nx-request-id: [0-9a-f-]{36}\r\n/i);
    assert.doesNotMatch(answer, /forged|access-control|x-powered-by|\r\nserver:/i);
  });
});
