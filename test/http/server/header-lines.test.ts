/**
 * The number of header lines has a bound that is told, so that none is dropped in silence: least of all the line in which
 * a proxy says whom it speaks for (contract sections 1 and 5.3).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { MAX_HEADER_LINES } from '../../../src/http/server/request-state.ts';
import { buildTestApp } from '../../support/app.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { exchangeBytes } from '../../support/raw-exchange.ts';
import { tokenClient } from '../routes/token-calls.ts';
import { proxiesSkip, startProxies } from './reverse-proxies.ts';

const PATH = '/v1/secrets/team/k';

test('the lines of a head', { skip: postgresSkip }, async (t) => {
  const { port, token, usesOf } = await behindAProxy(t);
  const authorization = `Authorization: Bearer ${token}`;
  const forwarded = 'X-Forwarded-For: 203.0.113.9';
  const ask = async (line: string, headers: readonly string[], rest = ''): Promise<string> =>
    (await exchangeBytes(port, `${[line, 'Host: writ', ...headers].join('\r\n')}\r\n\r\n${rest}`)).toString();
  const read = (headers: readonly string[]) =>
    ask(`GET ${PATH} HTTP/1.1`, ['Connection: close', authorization, ...headers]);
  /** A read has three lines of its own. */
  const filling = (lines: number, line = 'a: b') => Array.from({ length: lines }, () => line);

  await t.test('the proxy itself may read, and whom it speaks for may not', async () => {
    assert.deepEqual(statuses(await read([])), ['200']);
    assert.deepEqual(statuses(await read([forwarded])), ['403']);
  });

  await t.test('lines before X-Forwarded-For never make a client pass for the proxy', async () => {
    const uses = await usesOf();
    for (const lines of [MAX_HEADER_LINES - 3, 500, 996, 997, 998, 1000, 1001, 1500, 2500]) {
      const answer = await read([...filling(lines), forwarded]);
      assert.deepEqual(statuses(answer), ['431'], `${lines} ${answer}`);
    }
    // Nor do lines of that name, of names that Node keeps once, or of no use to anybody.
    for (const line of ['X-Forwarded-For: 127.0.0.1', 'Host: writ', 'Age: 1', 'Cookie: a', 'X-API-Key: k']) {
      assert.deepEqual(statuses(await read([...filling(900, line).slice(0, 500), forwarded])), ['431'], line);
    }
    assert.equal(await usesOf(), uses);
  });

  await t.test('as many as are allowed are read, all of them', async () => {
    const room = MAX_HEADER_LINES - 3;
    assert.deepEqual(statuses(await read(filling(room))), ['200']);
    assert.deepEqual(statuses(await read([...filling(room - 1), forwarded])), ['403']);
    assert.deepEqual(statuses(await read(filling(room + 1))), ['431']);
  });

  await t.test('X-Forwarded-For in several lines, or long, is one list in its order', async () => {
    const line = (value: string) => `X-Forwarded-For: ${value}`;
    for (const values of [
      ['127.0.0.1', '203.0.113.9'],
      ['203.0.113.9', '127.0.0.1'],
      [...filling(100, '127.0.0.1'), '203.0.113.9', '127.0.0.1'],
      ['127.0.0.1', ''],
      ['', '127.0.0.1'],
      [''],
      ['  \t '],
      ['', ''],
      ['127.0.0.1', '', '127.0.0.1'],
      [`203.0.113.9${', 127.0.0.1'.repeat(1200)}`],
      [`127.0.0.1${', 203.0.113.9'.repeat(1000)}`],
    ]) {
      assert.deepEqual(statuses(await read(values.map(line))), ['403'], values.join('|').slice(0, 80));
    }
    assert.deepEqual(statuses(await read(['X-Forwarded-For:'])), ['403']);
    assert.deepEqual(statuses(await read([line('203.0.113.9'), line('127.0.0.1, 127.0.0.1')])), ['403']);
    assert.deepEqual(statuses(await read(filling(100, line('127.0.0.1')))), ['200']);
  });

  await t.test('it is refused in the form of its endpoint, and never as permission', async () => {
    const many = ['Content-Type: application/json', 'Content-Length: 2', ...filling(200)];
    for (const path of ['/iap/enforce', '/iap/verify-step', '/token/issue', '/nothing', '/health', '/%']) {
      const answer = await ask(`POST ${path} HTTP/1.1`, many, '{}');
      assert.deepEqual(statuses(answer), ['431'], path);
      const { allowed, error_code: code, action, message } = bodyOf(answer);
      assert.deepEqual([allowed, code], [false, 'VALIDATION_ERROR'], path);
      assert.equal(action, path === '/iap/enforce' ? 'block' : undefined, path);
      assert.match(String(message), /at most 128 header lines/, path);
      assert.match(answer, /\r\nconnection: close\r\n/i, path);
    }
    const inside = await read(filling(200));
    assert.deepEqual(Object.keys(bodyOf(inside)), ['error', 'detail', 'request_id']);
  });

  await t.test('of requests in a row each has lines of its own, and nothing follows a refusal', async () => {
    const one = (headers: readonly string[]) =>
      `${[`GET ${PATH} HTTP/1.1`, 'Host: writ', authorization, ...headers].join('\r\n')}\r\n\r\n`;
    const good = one(filling(100));
    const answers = async (...requests: string[]) =>
      statuses((await exchangeBytes(port, requests.join(''))).toString());
    assert.deepEqual(await answers(good, good, one(['Connection: close'])), ['200', '200', '200']);
    // The parser of later versions of Node.js refuses so many lines itself, and may end the connection with that.
    const refusal = (told: readonly string[]) => told.length === 0 || told.join() === '431';
    const [first, ...after] = await answers(good, one([...filling(1500), forwarded]), good);
    assert.ok(first === '200' && refusal(after), `${first} ${after}`);
    const [denied, ...rest] = await answers(one([...filling(100), forwarded]), one(filling(1500)), good);
    assert.ok(denied === '403' && refusal(rest), `${denied} ${rest}`);
  });

  await t.test('what comes as a trailer is not read as a header', async () => {
    const asked = (trailers: readonly string[], headers: readonly string[] = []) =>
      ask(
        `PUT ${PATH} HTTP/1.1`,
        [
          'Connection: close',
          authorization,
          'Content-Type: application/json',
          'Transfer-Encoding: chunked',
          ...headers,
        ],
        `f\r\n{"value":"new"}\r\n0\r\n${[...trailers, '', ''].join('\r\n')}`,
      );
    const local = 'X-Forwarded-For: 127.0.0.1';
    assert.deepEqual(statuses(await asked([local], [forwarded])), ['403']);
    assert.deepEqual(statuses(await asked([forwarded])), ['200']);
    assert.match(statuses(await asked([...filling(1500), local], [forwarded])).join(), /^(?:403|431)$/);
    assert.deepEqual(statuses(await asked(filling(10_000))), ['431']);
  });
});

test('through real reverse proxies', { skip: postgresSkip || onlyInFullRun || proxiesSkip }, async (t) => {
  const { port: serverPort, token, usesOf } = await behindAProxy(t);
  const uses = await usesOf();
  for (const { name, port } of await startProxies(t, serverPort)) {
    /** From another address of this machine than the proxy's, which alone is believed and alone may read. */
    const read = (lines: number, localAddress = '127.0.0.2') =>
      statusOf({
        port,
        localAddress,
        headers: ['Host', 'writ', 'Authorization', `Bearer ${token}`, ...numbered(lines)],
      });
    assert.equal(await read(0, '127.0.0.1'), 200, name);
    assert.equal(await read(0), 403, name);
    assert.equal(await read(90), 403, name);
    for (const lines of [MAX_HEADER_LINES, 900, 995, 996, 997, 998, 999, 1000, 1500]) {
      assert.equal(await read(lines), 431, `${name} ${lines}`);
    }
    // The connection to the server that was closed is not the end of the proxy.
    assert.equal(await read(0), 403, name);
  }
  assert.equal(await usesOf(), uses + 2);
});

const numbered = (lines: number): string[] =>
  Array.from({ length: lines }, (_, index) => [`a${index}`, 'b']).flat();

async function statusOf(options: RequestOptions & { headers: string[] }): Promise<number | undefined> {
  const asked = request({ host: '127.0.0.1', path: PATH, agent: false, ...options });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return answer.statusCode;
}

/** A server that believes this machine, and a token for this machine alone. */
async function behindAProxy(t: TestContext) {
  const server = await buildTestApp(t, { TRUST_PROXY: '127.0.0.1/32', RATE_LIMIT_MAX: '0' });
  const { make, store, usesOf } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:*:team/*'] });
  await store('team/k');
  const issued = await make(agent.key, {
    scopes: ['secrets:read:team/*', 'secrets:write:team/*'],
    allowed_ips: ['127.0.0.1/32'],
    max_uses: 1000,
  });
  await server.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.app.server.address() as AddressInfo;
  return { port, token: issued.token, usesOf: () => usesOf(issued) };
}

const statuses = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status);

const bodyOf = (text: string): Record<string, unknown> =>
  JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
