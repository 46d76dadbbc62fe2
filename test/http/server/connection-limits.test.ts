/** One connection has one request worked on at a time, and answers that nobody reads are bounded. No database. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { MAX_WAITING_REQUESTS, takeRequestsInTurn } from '../../../src/http/server/requests-in-turn.ts';
import { type UnreadLimits, watchUnreadAnswers } from '../../../src/http/server/unread-answers.ts';
import { until } from '../../support/issuing.ts';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: writ\r\n\r\n`;

async function serving(t: TestContext, handle: RequestListener, limits?: Partial<UnreadLimits>) {
  const cutOff: number[] = [];
  let nowMs = 0;
  const unread = watchUnreadAnswers({
    limits: { maxBytes: 1e9, silenceMs: 60_000, minBytesPerSecond: 1000, ...limits },
    monotonicMs: () => nowMs,
    onCutOff: () => void cutOff.push(nowMs),
  });
  const server = createServer({ ServerResponse: unread.Response }, handle);
  takeRequestsInTurn(server, () => void cutOff.push(nowMs));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    t.after(() => socket.destroy());
    return socket;
  };
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { open, unread, cutOff, pass };
}

/** Until the other side closes, or everything that is wanted has come. */
async function readAll(socket: Socket, enough: (text: string) => boolean = () => false): Promise<string> {
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (enough(text)) break;
  }
  return text;
}

test('requests that one connection pipelines are worked on one after the other, in their order', async (t) => {
  let atOnce = 0;
  const seen: [string | undefined, number][] = [];
  const { open } = await serving(t, async (request, response) => {
    atOnce += 1;
    seen.push([request.url, atOnce]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    atOnce -= 1;
    response.end(`answer to ${request.url}`);
  });
  const socket = await open();
  const paths = Array.from({ length: 30 }, (_, index) => `/${index}`);
  socket.write(paths.slice(0, 20).map(get).join(''));
  setTimeout(() => socket.write(paths.slice(20).map(get).join('')), 20);
  const text = await readAll(socket, (read) => read.includes('answer to /29'));
  assert.deepEqual(
    text.match(/answer to \/\d+/g),
    paths.map((path) => `answer to ${path}`),
  );
  assert.deepEqual(
    seen,
    paths.map((path) => [path, 1]),
  );
});

test('two connections do not wait for each other, and a connection goes on after a pause', async (t) => {
  let hold: (() => void) | undefined;
  const { open } = await serving(t, (request, response) => {
    if (request.url === '/held') hold = () => void response.end('held');
    else response.end(`answer to ${request.url}`);
  });
  const [held, other] = [await open(), await open()];
  held.write(get('/held') + get('/behind'));
  await until('the first is worked on', async () => hold !== undefined);
  for (const path of ['/1', '/2']) {
    other.write(get(path));
    await until(`${path} is answered`, async () => String(other.read() ?? '').includes(`answer to ${path}`));
  }
  hold?.();
  const text = await readAll(held, (read) => read.includes('/behind'));
  assert.match(text, /held[\s\S]*answer to \/behind/);
});

test('a connection with more requests waiting than it may have is closed, and nobody else notices', async (t) => {
  let begun = 0;
  const { open, cutOff } = await serving(t, (request, response) => {
    begun += 1;
    if (request.url !== '/held') response.end('x');
  });
  const [flood, other] = [await open(), await open()];
  flood.write(get('/held') + get('/').repeat(MAX_WAITING_REQUESTS));
  other.write(get('/other'));
  await once(other, 'data');
  assert.deepEqual([begun, cutOff.length, flood.closed], [2, 0, false]);
  flood.write(get('/').repeat(1000));
  flood.resume();
  await once(flood, 'close');
  assert.equal(begun, 2, 'nothing that waited was worked on');
  assert.ok(cutOff.length > 0);
  other.write(get('/again'));
  await once(other, 'data');
});

const MEBIBYTE = Buffer.alloc(1024 * 1024, 'x');

/** Larger than what two systems keep for a connection. */
const unreadable: RequestListener = (request, response) => {
  if (request.url === '/short') response.end('short');
  else for (let index = 0; index < 16; index += 1) response.write(MEBIBYTE);
  if (request.url !== '/short') response.end();
};

test('a connection that takes nothing of its answer is closed after a time', async (t) => {
  const { open, unread } = await serving(t, unreadable, { silenceMs: 300 });
  const [silent, reading] = [await open(), await open()];
  silent.pause();
  silent.write(get('/long'));
  reading.write(get('/long'));
  let read = 0;
  reading.on('data', (chunk) => {
    read += chunk.length;
  });
  await until('the one that reads has all of it', async () => read > 16 * MEBIBYTE.length);
  assert.ok(unread.bytes() > MEBIBYTE.length, 'the other has not');
  await until('it is closed', async () => {
    unread.closeSlowReaders();
    return unread.bytes() === 0;
  });
});

test('one that takes too little on the whole is closed as well', async (t) => {
  const { open, unread, cutOff, pass } = await serving(t, unreadable, { silenceMs: 60_000 });
  const slow = await open();
  slow.pause();
  slow.write(get('/long'));
  await until('something is unread', async () => unread.bytes() > 0);
  const seconds = unread.bytes() / 1000;
  pass(60_000 + seconds * 1000 - 1);
  unread.closeSlowReaders();
  assert.equal(cutOff.length, 0);
  pass(2);
  unread.closeSlowReaders();
  assert.equal(cutOff.length, 1);
  assert.equal(unread.bytes(), 0);
  slow.resume();
  await once(slow, 'close');
});

test('beyond the sum of all, the one that has read nothing for longest goes first', async (t) => {
  const { open, unread, cutOff, pass } = await serving(t, unreadable, { maxBytes: 40 * MEBIBYTE.length });
  const sockets: Socket[] = [];
  const ask = async (): Promise<Socket> => {
    const socket = await open();
    socket.pause();
    const before = unread.bytes();
    socket.write(get('/long'));
    sockets.push(socket);
    await until('it is unread', async () => unread.bytes() !== before || cutOff.length > 0);
    pass(1000);
    return socket;
  };
  while (cutOff.length === 0) await ask();
  assert.ok(sockets.length >= 3 && unread.bytes() <= 20 * MEBIBYTE.length);
  const lost = new Set<Socket>();
  for (const socket of sockets) socket.once('close', () => lost.add(socket)).resume();
  await until('those are gone', async () => lost.size === cutOff.length);
  for (const [index, socket] of sockets.entries())
    assert.equal(lost.has(socket), index < cutOff.length, `${index}`);
});
