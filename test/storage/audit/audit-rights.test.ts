/** The serving role of docker/grants.sql adds events, and says nothing of when and in which transaction. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Cluster, startCluster } from '../../support/cluster.ts';
import { runHere } from '../../support/command-line.ts';
import { createClient, insist, printedKey } from '../../support/issuing.ts';
import { postgresSkip as skip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { queryDatabase, START_ENV } from '../../support/refused-start.ts';
import { applyServingGrants, servingUrl } from '../../support/serving-role.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

const MISSING_RIGHT = { code: '42501' };
const SENT = 'id, event_type, actor_id, actor_type, resource_type, resource_id, metadata';
const VALUES = `gen_random_uuid(), 'secret.read', 'planted', 'agent', 'secret', 'a/K', '{}'`;

/** Of an older set-up: everything on every table that is and will be. */
const WIDE = `
  grant all on all tables in schema public to writ_app;
  alter default privileges in schema public grant select, insert, update, delete on tables to writ_app`;

let cluster: Cluster;
let owner: string;
before(async () => {
  if (skip !== false) return;
  cluster = await startCluster();
  await queryDatabase(cluster.url, 'create database writ');
  owner = Object.assign(new URL(cluster.url), { pathname: '/writ' }).href;
  assert.equal((await migrate()).code, 0);
  await applyServingGrants(owner);
});
after(() => cluster?.remove());

const migrate = () => runHere(['migrate'], { DATABASE_URL: owner, MASTER_KEY: TEST_MASTER_KEY });
const asServing = (statement: string) => queryDatabase(servingUrl(owner), statement);

async function months(): Promise<string[]> {
  const found = await queryDatabase(
    owner,
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'audit_events'::regclass",
  );
  return found.map(({ name }) => String(name));
}

async function assertNarrow(): Promise<void> {
  await asServing(`insert into audit_events (${SENT}) values (${VALUES})`);
  for (const [column, value] of [
    ['created_at', "now() - interval '1 year'"],
    ['xact', "'3'"],
    ['epoch', "'2020-02-02'"],
  ] as const) {
    await assert.rejects(
      asServing(`insert into audit_events (${SENT}, ${column}) values (${VALUES}, ${value})`),
      MISSING_RIGHT,
      column,
    );
  }
  const names = await months();
  assert.ok(names.length >= 4, names.join());
  for (const name of names) {
    for (const statement of [
      `insert into ${name} (${SENT}, created_at) values (${VALUES}, '2020-02-02')`,
      `insert into ${name} (${SENT}) values (${VALUES})`,
      `select id from ${name}`,
      `delete from ${name}`,
    ]) {
      await assert.rejects(asServing(statement), MISSING_RIGHT, statement);
    }
  }
  for (const statement of [
    "update audit_events set actor_id = 'x'",
    'update audit_epochs set position = position + 1',
    'delete from audit_epochs',
    "insert into audit_epochs (position, epoch, history) values (1000, now(), 'mine')",
    'delete from audit_events',
    'truncate audit_events',
    'create trigger mine before insert on audit_events execute function audit_events_refuse_change()',
  ]) {
    await assert.rejects(asServing(statement), MISSING_RIGHT, statement);
  }
}

test('a server with the serving role writes its events, and the role can give none of them a time or a place', {
  skip,
}, async (t) => {
  const env = { ...START_ENV, DATABASE_URL: servingUrl(owner), MASTER_KEY: TEST_MASTER_KEY };
  const server = await startServer(t, env);
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  assert.equal((await insist(() => client.issue())).status, 200);
  const written = await asServing("select 1 from audit_events where event_type = 'intent.issued'");
  assert.equal(written.length, 1);
  await assertNarrow();
});

test('`writ migrate` takes back what an older set-up granted, on months that it makes as well', {
  skip,
}, async () => {
  const [last] = (await months())
    .filter((name) => !name.endsWith('default'))
    .sort()
    .slice(-1);
  await queryDatabase(owner, `drop table ${last}`);
  await queryDatabase(owner, WIDE);
  await queryDatabase(owner, 'create role reporting');
  await queryDatabase(owner, 'grant select, update on audit_events to reporting');
  assert.equal((await migrate()).code, 0);
  assert.ok((await months()).includes(String(last)));
  await assertNarrow();
  const kept = await queryDatabase(
    owner,
    `select has_table_privilege('reporting', 'audit_events', 'select') as reads,
      has_table_privilege('reporting', 'audit_events', 'update') as changes,
      has_any_column_privilege('reporting', 'audit_events', 'insert') as adds`,
  );
  assert.deepEqual(kept, [{ reads: true, changes: false, adds: false }]);
});

test('the grants that the image runs after every start give nothing ahead of what they name', {
  skip,
}, async () => {
  await queryDatabase(owner, WIDE);
  await applyServingGrants(owner);
  await assertNarrow();
  await queryDatabase(owner, 'create table made_later (x int)');
  await assert.rejects(asServing('select x from made_later'), MISSING_RIGHT);
});

test('what the role sets on itself does not reach a session of Writ', { skip }, async (t) => {
  for (const setting of [
    'search_path = elsewhere',
    "datestyle = 'SQL, DMY'",
    'extra_float_digits = -15',
    "default_transaction_isolation = 'serializable'",
    'synchronous_commit = off',
    'statement_timeout = 1',
    // Last: after it, the role changes nothing.
    'default_transaction_read_only = on',
  ]) {
    await asServing(`alter role writ_app set ${setting}`);
  }
  const env = { ...START_ENV, DATABASE_URL: servingUrl(owner), MASTER_KEY: TEST_MASTER_KEY };
  const server = await startServer(t, env);
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  await queryDatabase(owner, 'alter role writ_app reset all');
});
