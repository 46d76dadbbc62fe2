/**
 * What never became a request (bytes that no parser takes, a head that is too large, a body that stalls) is refused
 * over a real socket in the envelope of a refusal, and so that nobody takes it for a grant (contract section 3).
 */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { exchangeBytes } from '../../support/raw-exchange.ts';
import type { Overrides } from '../../support/test-config.ts';

const skip = postgresSkip;

interface Said {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Readonly<Record<string, unknown>>;
}

async function listening(t: TestContext, overrides: Overrides = {}) {
  const { app, adminKey } = await buildTestApp(t, overrides);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    adminKey,
    exchange: async (bytes: string | Uint8Array, afterAnswer?: string): Promise<string> =>
      (await exchangeBytes(port, bytes, afterAnswer)).toString(),
  };
}

/** One answer and nothing beside it. */
function readAnswer(text: string): Said {
  const end = text.indexOf('\r\n\r\n');
  const [line = '', ...fields] = text.slice(0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3}) [A-Z]/.exec(line)?.[1]);
  const headers = new Map(
    fields.map((field) => {
      const [name = '', value = ''] = field.split(/: (.*)/);
      return [name.toLowerCase(), value];
    }),
  );
  const body = text.slice(end + 4);
  assert.equal(headers.get('content-length'), String(Buffer.byteLength(body)), text.slice(0, 500));
  return { status, headers, body: JSON.parse(body) as Said['body'] };
}

function assertRefusal(text: string, wanted: { status: number; message: RegExp }, about: string): void {
  const { status, headers, body } = readAnswer(text);
  assert.equal(status, wanted.status, `${about}: ${text.slice(0, 200)}`);
  assert.equal(headers.get('content-type'), 'application/json; charset=utf-8', about);
  assert.equal(headers.get('cache-control'), 'no-store', about);
  assert.equal(headers.get('connection'), 'close', about);
  const requestId = headers.get('x-request-id') ?? '';
  assert.match(requestId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, about);
  const { message } = body;
  assert.match(String(message), wanted.message, about);
  assert.deepEqual(
    body,
    {
      success: false,
      error: message,
      error_code: 'VALIDATION_ERROR',
      message,
      request_id: requestId,
      allowed: false,
      reason: message,
    },
    about,
  );
}

test('a request that stalls is told so with 408, wherever it stalls', { skip }, async (t) => {
  const { adminKey, exchange } = await listening(t, { REQUEST_TIMEOUT_MS: '100' });
  const stalled = { status: 408, message: /did not arrive in time/ };
  const head = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: writ\r\nX-API-Key: ${adminKey}\r\nContent-Type: application/json\r\n`;
  for (const bytes of [
    `${head('/token/issue')}Content-Length: 100\r\n\r\n{"plan":`,
    `${head('/iap/verify-step')}Content-Length: 100\r\n\r\n`,
    `${head('/iap/trust/delegate')}Transfer-Encoding: chunked\r\n\r\n5\r\n{"nam`,
    head('/token/issue'),
    'GET /hea',
  ]) {
    assertRefusal(await exchange(bytes), stalled, bytes);
  }
});

test('a head that is too large is refused with 431, in a header as in the target', { skip }, async (t) => {
  const { adminKey, exchange } = await listening(t);
  const tooLarge = { status: 431, message: /headers of the request are too large/ };
  const filler = 'x'.repeat(40_000);
  for (const bytes of [
    `GET /health HTTP/1.1\r\nHost: writ\r\nX-API-Key: ${adminKey}\r\nA: ${filler}\r\n\r\n`,
    `GET /${filler} HTTP/1.1\r\nHost: writ\r\n\r\n`,
    `POST /verify/action HTTP/1.1\r\nHost: writ\r\n${`A: ${'x'.repeat(100)}\r\n`.repeat(400)}\r\n`,
  ]) {
    assertRefusal(await exchange(bytes), tooLarge, bytes.slice(0, 60));
  }
});

test('bytes that are no request are refused with 400, and nothing of them comes back', {
  skip,
}, async (t) => {
  const { exchange } = await listening(t);
  const unreadable = { status: 400, message: /not an HTTP request that can be read/ };
  for (const bytes of [
    'PLANTED garbage\r\n\r\n',
    '\0\0\0\0\r\n\r\n',
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
    'GET /PLANTED HTTP/9.9\r\n\r\n',
    'GET /health HTTP/1.1\r\nHost: writ\r\nPLANTED no colon\r\n\r\n',
    'GET /health HTTP/1.1\r\nHost: writ\r\nA: PLANTED\0b\r\n\r\n',
    'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Length: -1\r\n\r\n',
    'POST /token/issue HTTP/1.1\r\nHost: writ\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}',
  ]) {
    const answer = await exchange(bytes);
    assertRefusal(answer, unreadable, bytes.toString());
    assert.doesNotMatch(answer, /PLANTED|HPE_|node_modules|\bat \S+ \(/);
  }
});

test('a body that is malformed, or late, is refused as its endpoint refuses', { skip }, async (t) => {
  const { adminKey, exchange } = await listening(t, { REQUEST_TIMEOUT_MS: '300' });
  const refuses = async (path: string, body: string) =>
    readAnswer(
      await exchange(
        `POST ${path} HTTP/1.1\r\nHost: writ\r\nX-API-Key: ${adminKey}\r\nContent-Type: application/json\r\n` +
          `Transfer-Encoding: chunked\r\n\r\n${body}`,
      ),
    );
  const [malformed, late] = ['zz\r\n', '2\r\n{"'];
  // Its client reads a 400 as permission, however the path is written.
  for (const path of ['/iap/enforce', '/%69ap/enforce?a', 'http://writ/iap/enforce']) {
    const { status, body } = await refuses(path, malformed);
    assert.equal(status, 200, path);
    assert.deepEqual({ ...body, reason: '' }, { allowed: false, action: 'block', reason: '' }, path);
  }
  const slow = await refuses('/iap/enforce', late);
  assert.deepEqual([slow.status, slow.body['allowed'], slow.body['action']], [408, false, 'block']);
  for (const [body, status] of [
    [malformed, 400],
    [late, 408],
  ] as const) {
    const inside = await refuses('/v1/tokens', body);
    assert.equal(inside.status, status);
    assert.deepEqual(Object.keys(inside.body), ['error', 'detail', 'request_id']);
    assert.equal((await refuses('/token/issue', body)).body['allowed'], false);
  }
});

test('what comes after a request is never its answer', { skip }, async (t) => {
  const { adminKey, exchange } = await listening(t, { REQUEST_TIMEOUT_MS: '300' });
  const asked =
    `POST /iap/enforce HTTP/1.1\r\nHost: writ\r\nX-API-Key: ${adminKey}\r\n` +
    'Content-Type: application/json\r\n';
  const question = '{"tool_name":"t"}';
  const whole = `${asked}Content-Length: ${question.length}\r\n\r\n${question}`;
  const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);
  for (const after of ['garbage\r\n\r\n', 'garbage\r\n\r\ngarbage\r\n\r\n', '\0\0']) {
    assert.deepEqual(statuses(await exchange(whole + after)), ['200'], after);
  }
  // A refusal that came before the body is not followed by another one.
  for (const body of ['zz\r\n', '2\r\n{"']) {
    const head = 'POST /token/issue HTTP/1.1\r\nHost: writ\r\nTransfer-Encoding: chunked\r\n\r\n';
    assert.deepEqual(statuses(await exchange(head, body)), ['401'], body);
  }
  // One that is answered without its body has its answer.
  const unread = `GET /health HTTP/1.1\r\nHost: writ\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`;
  assert.deepEqual(statuses(await exchange(unread)), ['200']);
});

test('CONNECT is answered and connects with nothing', { skip }, async (t) => {
  const { exchange } = await listening(t);
  const { status, body } = readAnswer(await exchange('CONNECT writ:443 HTTP/1.1\r\nHost: writ\r\n\r\n'));
  assert.deepEqual([status, body['error_code'], body['allowed']], [404, 'NOT_FOUND', false]);
});

test('each refusal has an id of its own', { skip }, async (t) => {
  const { exchange } = await listening(t);
  const ids = new Set<unknown>();
  for (let asked = 0; asked < 3; asked += 1) {
    ids.add(readAnswer(await exchange('garbage\r\n\r\n')).body['request_id']);
  }
  assert.equal(ids.size, 3);
});
