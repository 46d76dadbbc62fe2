/** The administrator of the first start: whose key it is, who sees it, and what no later start makes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { runHere } from '../support/command-line.ts';
import { createClient } from '../support/issuing.ts';
import { createEmptyTestDatabase, createTestDatabase, postgresSkip as skip } from '../support/postgres.ts';
import { startServer } from '../support/processes.ts';
import { queryDatabase, refusedStart, START_ENV, startedOnce } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

test('a malformed BOOTSTRAP_ADMIN_KEY stops the start, unrepeated, before anything is made', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const { text } = generateApiKey();
  const mistyped = `${text.slice(0, -1)}${text.endsWith('0') ? '1' : '0'}`;
  for (const key of ['hunter2', mistyped]) {
    const refused = await refusedStart({
      DATABASE_URL: url,
      MASTER_KEY: TEST_MASTER_KEY,
      BOOTSTRAP_ADMIN_KEY: key,
    });
    assert.equal(refused.code, 2);
    assert.match(refused.said, /BOOTSTRAP_ADMIN_KEY/);
    assert.ok(!refused.said.includes(key));
  }
  assert.deepEqual(
    await queryDatabase(url, "select 1 from information_schema.tables where table_name = 'agents'"),
    [],
  );
});

test('BOOTSTRAP_ADMIN_KEY is used by the first start only, and printed by none', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { ...START_ENV, DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const first = generateApiKey().text;
  const second = generateApiKey().text;
  const made = await startServer(t, { ...env, LOG_LEVEL: 'trace', BOOTSTRAP_ADMIN_KEY: first });
  await made.stop();
  assert.doesNotMatch(made.stdout() + made.stderr(), /ak_live_|API key, shown this once/);
  const server = await startServer(t, { ...env, BOOTSTRAP_ADMIN_KEY: second });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  const status = async (key: string) => {
    const client = createClient(server.url, key);
    const answer = await client.send('GET', '/v1/me');
    client.close();
    return answer?.status;
  };
  assert.equal(await status(first), 200);
  assert.equal(await status(second), 401);
});

test('a revoked last administrator brings no new one by a start, and `writ key create` is the way back in', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  const key = generateApiKey();
  await startedOnce({ ...env, BOOTSTRAP_ADMIN_KEY: key.text });
  assert.equal((await runHere(['key', 'revoke', key.keyId], env)).code, 0);
  await queryDatabase(url, "update agents set revoked_at = clock_timestamp() where role = 'admin'");
  const server = await startServer(t, { ...START_ENV, ...env, BOOTSTRAP_ADMIN_KEY: generateApiKey().text });
  assert.doesNotMatch(server.stdout(), /ak_live_/);
  assert.deepEqual(await queryDatabase(url, 'select count(*)::int as n from agents'), [{ n: 1 }]);
  const made = await runHere(['key', 'create', '--role', 'admin', '--name', 'back', '--json'], env);
  const client = createClient(server.url, (JSON.parse(made.stdout) as { api_key: string }).api_key);
  t.after(() => client.close());
  assert.equal((await client.send('GET', '/v1/agents'))?.status, 200);
});
