/** Guarantees that a test meets the server that is started after another one has made its database. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { createClient } from './issuing.ts';
import { startServer } from './processes.ts';

/** Of a start that prints no key: there is an administrator. */
export async function clientOfNextStart(t: TestContext, env: Record<string, string>, key: string) {
  const server = await startServer(t, { ...env, PORT: '0' });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  const client = createClient(server.url, key);
  t.after(() => client.close());
  return client;
}
