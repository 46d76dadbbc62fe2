/** What is in flight does not escape a revocation: races of administrators, put in order by locks that a test holds. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { createAgentStore } from '../../../src/storage/principals/agent-store.ts';
import { untilHeldUp } from '../../support/issuing.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { anAgent, aWrite, storedAgent } from '../builders.ts';

/** The most that a test has waiting at once. */
const SESSIONS = 2;

async function opened(t: TestContext) {
  const { url } = await createTestDatabase(t);
  const open = async () => {
    const database = await openPatiently(url, SESSIONS);
    t.after(() => database.close());
    return database;
  };
  const database = await open();
  const connect = async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    t.after(() => client.end());
    return client;
  };
  const observer = await connect();
  const waiting = async (): Promise<number> => {
    const { rows } = await observer.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rows[0]?.n ?? 0;
  };
  return { database, agents: createAgentStore(database, TEST_SEALS), open, connect, waiting };
}

test('two administrators who revoke each other at once do not both succeed', {
  skip: postgresSkip,
}, async (t) => {
  const { database, agents, connect, waiting } = await opened(t);
  const one = await storedAgent(database, { role: 'admin' });
  const two = await storedAgent(database, { role: 'admin' });
  const holder = await connect();
  await holder.query('begin');
  await holder.query('select 1 from agents where id = any($1) for update', [[one.id, two.id]]);
  const both = [agents.revoke(two.id, aWrite(one.key.keyId)), agents.revoke(one.id, aWrite(two.key.keyId))];
  await untilHeldUp('both wait', both, async () => (await waiting()) === 2);
  await holder.query('rollback');
  await Promise.allSettled(both);
  const left = await database.orm('read', (orm) =>
    orm.execute(`select id from agents where role = 'admin' and revoked_at is null`),
  );
  assert.notEqual((left as unknown as { rows: unknown[] }).rows.length, 0, 'an administrator is left');
});

test('a change that is under way when its administrator is revoked does not happen afterwards', {
  skip: postgresSkip,
}, async (t) => {
  const { database, agents, open, connect, waiting } = await opened(t);
  const admin = await storedAgent(database, { role: 'admin' });
  const wanted = anAgent();
  const holder = await connect();
  await holder.query('begin');
  // The change finds its administrator live, then waits for this name.
  await holder.query(`insert into agents (id, name, role) values (gen_random_uuid(), $1, 'agent')`, [
    wanted.name,
  ]);
  const change = agents.create(wanted, aWrite(admin.key.keyId)).catch((error: unknown) => error);
  await untilHeldUp('the change waits', [change], async () => (await waiting()) === 1);
  // It gives up soon: the change that it may have to wait for is held up until it has ended.
  const revoker = createAgentStore(await open(), TEST_SEALS)
    .revoke(admin.id, aWrite())
    .catch((error: unknown) => error);
  const revoked = await revoker;
  await holder.query('rollback');
  const outcome = await change;
  if (revoked === 'revoked') {
    assert.notEqual(outcome, 'created', 'made after its administrator was revoked');
    assert.equal(await agents.find(wanted.id), undefined);
  }
});
