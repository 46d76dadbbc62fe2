/**
 * The master key is changed under two servers that serve: no request fails, and every token and secret stays what it is,
 * also where the command is killed in the middle and where the database fails over meanwhile.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { startCluster } from '../support/cluster.ts';
import { prepareStandby } from '../support/cluster-home.ts';
import { onlyInFullRun } from '../support/effort.ts';
import { errorCodeOf, until } from '../support/issuing.ts';
import { movableLine } from '../support/movable-line.ts';
import { createTestDatabase, postgresSkip } from '../support/postgres.ts';
import { postgresPrograms, programsSkip } from '../support/postgres-programs.ts';
import { startNode, startServer } from '../support/processes.ts';
import { CLI } from '../support/programs.ts';
import { queryDatabase } from '../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { TEST_KEK, TEST_SEALS } from '../support/test-seals.ts';
import { startRotationLoad } from './rotation-load.ts';

const NEW_MASTER_KEY = '7b'.repeat(32);
const NEW_KEK = createKeyEncryption(Buffer.from(NEW_MASTER_KEY, 'hex'));
/** What is put under the new key takes long enough to be interrupted. */
const STORED = 4000;
const PASSES_IN_A_FAILOVER = /^(UNAVAILABLE|OUTCOME_UNKNOWN|BUSY|AUDIT_UNAVAILABLE)$/;

const envOf = (databaseUrl: string, admin: string) => ({
  DATABASE_URL: databaseUrl,
  BOOTSTRAP_ADMIN_KEY: admin,
  PORT: '0',
  LOG_LEVEL: 'warn',
  RATE_LIMIT_MAX: '0',
  AUTH_FAILURE_MAX: '0',
  ACCEPT_UNSAFE_DURABILITY: '1',
});

/** Both know both keys, in the order of before and in that of after. */
async function twoServers(t: TestContext, databaseUrl: string, admin: string) {
  const env = envOf(databaseUrl, admin);
  return [
    await startServer(t, { ...env, MASTER_KEY: TEST_MASTER_KEY, MASTER_KEY_PREVIOUS: NEW_MASTER_KEY }),
    await startServer(t, { ...env, MASTER_KEY: NEW_MASTER_KEY, MASTER_KEY_PREVIOUS: TEST_MASTER_KEY }),
  ];
}

/** Notices that were delivered long ago: a row each, sealed as Writ would. */
async function storeNotices(databaseUrl: string): Promise<void> {
  const made = Array.from({ length: STORED }, () => {
    const id = uuidv7();
    const payload = '{}';
    return { id, payload, seal: TEST_SEALS.hexOf(JSON.stringify(['webhook_outbox', id, payload])) };
  });
  await queryDatabase(
    databaseUrl,
    `insert into webhook_outbox (id, payload, seal, delivered_at)
     select id, payload, decode(seal, 'hex'), now() from json_to_recordset('${JSON.stringify(made)}'::json)
       as made (id uuid, payload text, seal text)`,
  );
}

const rotate = (t: TestContext, databaseUrl: string) =>
  startNode(t, [CLI, 'kek', 'rotate', '--json'], {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: NEW_MASTER_KEY,
    MASTER_KEY_PREVIOUS: TEST_MASTER_KEY,
  });

async function assertAllUnderTheNewKey(databaseUrl: string): Promise<void> {
  const status = await queryDatabase(databaseUrl, 'select kek_id, state from master_keys order by state');
  assert.deepEqual(status, [
    { kek_id: NEW_KEK.kekId, state: 'active' },
    { kek_id: TEST_KEK.kekId, state: 'retired' },
  ]);
  for (const table of [
    'agents',
    'api_keys',
    'scoped_tokens',
    'secrets',
    'signing_keys',
    'settings',
    'approvals',
    'approval_votes',
    'webhook_outbox',
  ]) {
    const left = await queryDatabase(
      databaseUrl,
      `select 1 from ${table} where seal is not null and encode(substring(seal from 1 for 8), 'hex') <> '${NEW_KEK.kekId}'`,
    );
    assert.deepEqual(left, [], table);
  }
  const wraps = await queryDatabase(
    databaseUrl,
    `select kek_id from secret_versions union select kek_id from signing_keys where kek_id is not null`,
  );
  assert.deepEqual(wraps, [{ kek_id: NEW_KEK.kekId }]);
}

test('no request fails while the key is changed, though the command is killed in the middle', {
  skip: postgresSkip || onlyInFullRun,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const admin = generateApiKey().text;
  const servers = await twoServers(t, url, admin);
  await storeNotices(url);
  const load = await startRotationLoad(
    servers.map((server) => server.url),
    admin,
  );
  t.after(() => load.close());
  await until('a load', () => load.answered() > 100 || load.failed.length > 0);

  const first = await rotate(t, url);
  await until(
    'it has begun to re-wrap',
    () => first.stderr().includes('re-wrapping') || first.child.exitCode !== null,
  );
  await first.kill();
  const [between] = await queryDatabase(
    url,
    `select count(*) filter (where substring(seal from 1 for 8) = '\\x${TEST_KEK.kekId}')::int as old from webhook_outbox`,
  );
  assert.ok(Number(between?.['old']) > 0, 'it was killed in the middle');
  const one = load.answered();
  await until('requests go on between', () => load.answered() > one + 100 || load.failed.length > 0);

  // Two at once, of which one was to be enough.
  const again = [await rotate(t, url), await rotate(t, url)];
  assert.deepEqual(
    await Promise.all(again.map(({ ended }) => ended)),
    [0, 0],
    again.map(({ stderr }) => stderr()).join(),
  );
  await assertAllUnderTheNewKey(url);
  const events = await queryDatabase(url, `select 1 from audit_events where event_type = 'kek.activated'`);
  assert.equal(events.length, 1);
  const two = load.answered();
  await until('requests go on after it', () => load.answered() > two + 100 || load.failed.length > 0);
  await load.finish();
  await assertAllUnderTheNewKey(url);
});

test('the database fails over while the key is changed: the command goes on, and so do the servers', {
  skip: postgresSkip || onlyInFullRun || programsSkip,
}, async (t) => {
  const programs = postgresPrograms();
  const primary = await startCluster({ programs });
  t.after(() => primary.remove());
  const folder = await prepareStandby(primary.port, programs);
  t.after(() => rm(folder, { recursive: true, force: true }));
  const standby = await startCluster({ programs, dataDir: folder });
  t.after(() => standby.remove());
  const line = await movableLine(t, primary.port);
  const url = Object.assign(new URL(primary.url), { port: String(line.port) }).href;
  await queryDatabase(primary.url, "alter system set synchronous_standby_names = '*'");
  await queryDatabase(primary.url, 'select pg_reload_conf()');
  await until('the standby is synchronous', async () => {
    const [found] = await queryDatabase(primary.url, 'select sync_state from pg_stat_replication');
    return found?.['sync_state'] === 'sync';
  });
  const admin = generateApiKey().text;
  const servers = await twoServers(t, url, admin);
  await storeNotices(url);
  const load = await startRotationLoad(
    servers.map((server) => server.url),
    admin,
    // What was never written, or whose outcome nobody knows: not a word of keys or integrity.
    (answer) =>
      answer === undefined || (answer.status === 503 && PASSES_IN_A_FAILOVER.test(errorCodeOf(answer))),
  );
  t.after(() => load.close());
  await until('a load', () => load.answered() > 100 || load.failed.length > 0);
  const command = await rotate(t, url);
  await until('it is the active key', async () => {
    const [row] = await queryDatabase(primary.url, `select 1 from master_keys where state = 'retiring'`);
    return row !== undefined;
  });
  // As if the 10 s in which processes follow had gone by.
  await until('both servers follow', async () => {
    const [row] = await queryDatabase(
      primary.url,
      `select count(*)::int as n from scoped_tokens where substring(seal from 1 for 8) = '\\x${NEW_KEK.kekId}'`,
    );
    return Number(row?.['n']) > 40;
  });
  await queryDatabase(
    primary.url,
    `update master_keys set since = since - interval '10 s' where state = 'retiring'`,
  );
  await until(
    'it has begun to re-wrap',
    () => command.stderr().includes('re-wrapping') || command.child.exitCode !== null,
  );
  await primary.kill();
  await queryDatabase(standby.url, 'select pg_promote()');
  await queryDatabase(standby.url, "alter system set synchronous_standby_names = ''");
  await queryDatabase(standby.url, 'select pg_reload_conf()');
  line.lead(standby.port);
  assert.equal(await command.ended, 0, command.stderr());
  const before = load.answered();
  await until('requests go on after it', () => load.answered() > before + 100 || load.failed.length > 0);
  await load.finish();
  await assertAllUnderTheNewKey(standby.url);
});
