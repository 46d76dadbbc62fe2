/** Many processes starting at once on one empty database make one of everything, and all of them serve. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { newId } from '../../src/platform/ids.ts';
import { provision } from '../../src/start/provision.ts';
import { MASTER_KEY_FILE_ROUNDS, PROVISIONS, START_PROCESSES } from '../support/effort.ts';
import { createClient, insist, printedKey, until, untilHeldUp } from '../support/issuing.ts';
import { openPatiently } from '../support/patient-database.ts';
import { createEmptyTestDatabase, postgresSkip } from '../support/postgres.ts';
import { type StartedProcess, type StartedServer, startNode } from '../support/processes.ts';
import { SERVER } from '../support/programs.ts';
import { holdStarts } from '../support/start-lock.ts';
import { configOf } from '../support/test-config.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

/** Only a whole line: a chunk may end in the middle of the port. */
const ADDRESS = /listening on (http:\/\/\S+)\n/;
/** More than these need not wait at the same moment: on a busy machine the last one comes late. */
const AT_ONCE = 4;

test(`${START_PROCESSES} processes started at once make one schema, one administrator and one active signing key`, {
  skip: postgresSkip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const started = await startAll(t, { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY }, START_PROCESSES);
  const printed = started.filter((server) => server.stdout().includes('ak_live_'));
  assert.equal(printed.length, 1, 'exactly one process prints a key');
  const key = printedKey(printed[0]?.stdout() ?? '');
  const served = await Promise.all(started.map((server) => issueOnce(server, key)));
  assert.deepEqual(served, Array(START_PROCESSES).fill(200), 'all serve the one key');
  const published = await Promise.all(started.map(publishedKeys));
  assert.equal(new Set(published).size, 1, 'all publish the same signing keys');
  assert.deepEqual(await inventory(url), { ...ONE_OF_EVERYTHING, issued: START_PROCESSES });
});

test(`${PROVISIONS.atOnce} starts at once on one empty database provision it once, ${PROVISIONS.rounds} times`, {
  skip: postgresSkip,
}, async (t) => {
  for (let round = 1; round <= PROVISIONS.rounds; round += 1) {
    const { url } = await createEmptyTestDatabase(t);
    const config = configOf({ DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY });
    const { waiting, proceed } = await holdStarts(t, url);
    const starts = Array.from({ length: PROVISIONS.atOnce }, async () => {
      const database = await openPatiently(url, 2);
      t.after(() => database.close());
      return provision({ database, config, newId });
    });
    await untilHeldUp('all wait for their turn', starts, async () => (await waiting()) === starts.length);
    await proceed();
    const provisioned = await Promise.all(starts);
    const keys = provisioned.map(({ newAdminKey }) => newAdminKey).filter((key) => key !== undefined);
    assert.equal(keys.length, 1, `round ${round}: one start has made the administrator`);
    assert.equal(new Set(provisioned.map(({ masterKeys }) => masterKeys.active().kekId)).size, 1);
    assert.equal(new Set(provisioned.map(({ issuer, audience }) => `${issuer} ${audience}`)).size, 1);
    assert.deepEqual(await inventory(url), { ...ONE_OF_EVERYTHING, issued: 0 });
  }
});

test('two processes that start without a master key file agree on one file of mode 0600, and serve', {
  skip: postgresSkip,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-master-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (let round = 0; round < MASTER_KEY_FILE_ROUNDS; round += 1) {
    const { url } = await createEmptyTestDatabase(t);
    const MASTER_KEY_FILE = join(folder, `round-${round}`, 'master.key');
    const started = await startAll(t, { DATABASE_URL: url, MASTER_KEY_FILE }, 2);
    const key = printedKey(started.map((server) => server.stdout()).join(''));
    assert.deepEqual(await Promise.all(started.map((server) => issueOnce(server, key))), [200, 200]);
    assert.equal(new Set(await Promise.all(started.map(publishedKeys))).size, 1);
    assert.match(await readFile(MASTER_KEY_FILE, 'utf8'), /^[0-9a-f]{64}\n$/);
    assert.equal((await stat(MASTER_KEY_FILE)).mode & 0o777, 0o600);
    await Promise.all(started.map((server) => server.kill()));
  }
});

/** They wait for their turn together, so that they race however slowly the machine starts them. */
async function startAll(
  t: TestContext,
  env: Record<string, string> & { DATABASE_URL: string },
  processes: number,
): Promise<StartedServer[]> {
  const { waiting, proceed } = await holdStarts(t, env.DATABASE_URL);
  const all = { ...env, PORT: '0', LOG_LEVEL: 'silent', DATABASE_POOL_MAX: '2' };
  const started = await Promise.all(Array.from({ length: processes }, () => startNode(t, [SERVER], all)));
  const isDone = (server: StartedProcess) => address(server) !== undefined || server.child.exitCode !== null;
  const isHeldUp = async () => (await waiting()) >= Math.min(processes, AT_ONCE);
  await until('they wait for their turn', async () => started.some(isDone) || (await isHeldUp()));
  assert.ok(!started.some(isDone), 'none starts before its turn');
  await proceed();
  return Promise.all(
    started.map(async (server) => {
      await until('the address, or an end', () => isDone(server), 1_200_000);
      const url = address(server);
      assert.ok(url !== undefined, `ended with ${server.child.exitCode}: ${server.stderr()}`);
      return { ...server, url };
    }),
  );
}

const address = (server: StartedProcess) => ADDRESS.exec(server.stdout())?.[1];

async function issueOnce(server: StartedServer, key: string): Promise<number | undefined> {
  const client = createClient(server.url, key);
  const answer = await insist(() => client.issue());
  client.close();
  return answer?.status;
}

async function publishedKeys(server: StartedServer): Promise<string> {
  return (await fetch(`${server.url}/.well-known/jwks.json`)).text();
}

const ONE_OF_EVERYTHING = {
  migrations: 0,
  admins: 1,
  keys: 1,
  active: 1,
  signing_keys: 1,
  checks: 1,
  settings: 2,
  created: 1,
};

async function inventory(url: string): Promise<Record<string, number> | undefined> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, number>>(`
      select (select count(*) - count(distinct hash) from schema_migrations)::int as migrations,
        (select count(*) from agents where role = 'admin')::int as admins,
        (select count(*) from api_keys)::int as keys,
        (select count(*) from signing_keys where state = 'active')::int as active,
        (select count(*) from signing_keys)::int as signing_keys,
        (select count(*) from master_keys)::int as checks,
        (select count(*) from settings)::int as settings,
        (select count(*) from audit_events where event_type = 'agent.created')::int as created,
        (select count(*) from audit_events where event_type = 'intent.issued')::int as issued`);
    return rows[0];
  } finally {
    await client.end();
  }
}
