/** One address that asks and never reads: its server goes on, in a small heap, and nobody else notices. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { onPostgres } from '../support/command-line.ts';
import { onlyInFullRun } from '../support/effort.ts';
import { type Client, createClient, printedKey } from '../support/issuing.ts';
import { postgresSkip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';

const skip = postgresSkip || onlyInFullRun;
const DESCRIPTION = 'GET /v1/openapi.json HTTP/1.1\r\nHost: writ\r\n\r\n';

async function victim(t: TestContext) {
  const server = await startServer(t, {
    ...(await onPostgres(t)),
    PORT: '0',
    ACCEPT_UNSAFE_DURABILITY: '1',
    RATE_LIMIT_MAX: '0',
    NODE_OPTIONS: '--max-old-space-size=256',
  });
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  const open = async (): Promise<Socket> => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { server, client, open };
}

async function issue(client: Client, times: number): Promise<void> {
  for (let index = 0; index < times; index += 1) {
    const answer = await client.issue();
    assert.equal(answer?.status, 200, answer?.text);
  }
}

test('1,200 requests on one connection that reads nothing', { skip }, async (t) => {
  const { server, client, open } = await victim(t);
  await issue(client, 20);
  const socket = await open();
  socket.write(DESCRIPTION.repeat(1200));
  await issue(client, 200);
  assert.equal(server.child.exitCode, null);
});

test('1,500 connections that each ask for 300 kB and read nothing', { skip }, async (t) => {
  const { server, client, open } = await victim(t);
  await issue(client, 20);
  for (let index = 0; index < 1500; index += 1) {
    const socket = await open();
    socket.write(DESCRIPTION.repeat(2));
  }
  await issue(client, 200);
  assert.equal(server.child.exitCode, null);
});
