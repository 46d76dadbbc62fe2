/** What a start demands of the database before it serves: rights, migrations, durability, version. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { SENT_COLUMNS } from '../../../src/storage/audit/audit-store.ts';
import { startCluster } from '../../support/cluster.ts';
import { runHere } from '../../support/command-line.ts';
import { createClient, insist, printedKey, until } from '../../support/issuing.ts';
import { createEmptyTestDatabase, postgresSkip as skip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { queryDatabase, refusedStart, START_ENV } from '../../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

/** What the serving role needs; nothing of it lets the role change a table's shape or an event. */
const GRANTS = `
  grant usage on schema public to serving;
  grant select, insert, update on all tables in schema public to serving;
  grant delete on idempotency_keys to serving;
  revoke all on schema_migrations, audit_epochs, audit_events, audit_events_default from serving;
  grant select, insert on audit_epochs to serving;
  grant select on schema_migrations to serving;
  grant select on audit_events to serving;
  grant insert (${SENT_COLUMNS.join(', ')}) on audit_events to serving`;

test('a role that owns nothing is sent to `writ migrate` first, and serves after it with minimal grants', {
  skip,
}, async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.remove());
  const owner = { DATABASE_URL: cluster.url, MASTER_KEY: TEST_MASTER_KEY };
  await queryDatabase(cluster.url, 'create role serving login');
  const url = new URL(cluster.url);
  url.username = 'serving';
  const serving = { DATABASE_URL: url.href, MASTER_KEY: TEST_MASTER_KEY };

  const refused = await refusedStart(serving);
  assert.equal(refused.code, 2);
  assert.match(refused.said, /`writ migrate`/);
  const asServing = await runHere(['migrate'], serving);
  assert.equal(asServing.code, 2);
  assert.match(asServing.stderr, /as the owner/);

  const migrated = await runHere(['migrate', '--json'], owner);
  assert.equal(migrated.code, 0, migrated.stderr);
  assert.ok((JSON.parse(migrated.stdout) as { applied: number }).applied >= 1);
  await queryDatabase(cluster.url, GRANTS);

  const server = await startServer(t, { ...START_ENV, ...serving });
  const client = createClient(server.url, printedKey(server.stdout()));
  t.after(() => client.close());
  assert.equal((await insist(() => client.issue())).status, 200);
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  for (const statement of [
    'drop trigger audit_events_no_row_change on audit_events',
    'delete from audit_events',
  ]) {
    await assert.rejects(queryDatabase(url.href, statement), { code: '42501' });
  }

  // A migration that is pending again stops the next start of the same role.
  await queryDatabase(
    cluster.url,
    'delete from schema_migrations where id = (select max(id) from schema_migrations)',
  );
  const later = await refusedStart(serving);
  assert.equal(later.code, 2);
  assert.match(later.said, /`writ migrate`/);
});

test('a database migrated by a newer version is left alone', { skip }, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
  assert.equal((await runHere(['migrate'], env)).code, 0);
  await queryDatabase(url, "insert into schema_migrations (hash, created_at) values ('of the future', 0)");
  const refused = await refusedStart(env);
  assert.equal(refused.code, 2);
  assert.match(refused.said, /newer Writ/);
});

test('a database with durability off is refused by the name of the setting, unless that is accepted', {
  skip,
}, async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.remove());
  const env = { DATABASE_URL: cluster.url, MASTER_KEY: TEST_MASTER_KEY };
  const turn = async (setting: string, value: 'on' | 'off'): Promise<void> => {
    await queryDatabase(cluster.url, `alter system set ${setting} = ${value}`);
    await queryDatabase(cluster.url, 'select pg_reload_conf()');
    const shown = async () => (await queryDatabase(cluster.url, `show ${setting}`))[0]?.[setting];
    await until(`${setting} is ${value}`, async () => (await shown()) === value);
  };
  const settings = ['fsync', 'full_page_writes'];
  for (const setting of settings) {
    await turn(setting, 'off');
    const refused = await refusedStart(env);
    assert.equal(refused.code, 2);
    assert.match(refused.said, new RegExp(`runs with ${setting} off.*ACCEPT_UNSAFE_DURABILITY=1`, 's'));
    await turn(setting, 'on');
  }
  for (const setting of settings) await turn(setting, 'off');
  const refused = await refusedStart(env);
  assert.match(refused.said, new RegExp(`runs with ${settings.join(', ')} off`));
  assert.deepEqual(
    await queryDatabase(cluster.url, "select 1 from information_schema.tables where table_name = 'agents'"),
    [],
    'nothing was made',
  );
  const server = await startServer(t, { ...START_ENV, ...env, ACCEPT_UNSAFE_DURABILITY: '1' });
  assert.equal((await fetch(`${server.url}/ready`)).status, 200);
  assert.equal(await server.stop(), 0);
  for (const setting of settings) await turn(setting, 'on');
  // Every session of Writ sets it for itself, so a start is as safe as ever.
  await turn('synchronous_commit', 'off');
  await assertWatched(t, { ...START_ENV, ...env, LOG_LEVEL: 'info' }, { url: cluster.url, turn });
});

/** A server that runs sees what is turned off under it, says so, and is ready again once that is undone. */
async function assertWatched(
  t: TestContext,
  env: Record<string, string>,
  cluster: { url: string; turn: (setting: string, value: 'on' | 'off') => Promise<void> },
): Promise<void> {
  const server = await startServer(t, env);
  const isReady = async () => (await fetch(`${server.url}/ready`)).status === 200;
  assert.ok(await isReady());
  for (const setting of ['fsync', 'full_page_writes']) {
    await cluster.turn(setting, 'off');
    await until(`/ready says no to ${setting}`, async () => !(await isReady()));
    await until('the log says why', async () =>
      server.stdout().includes(`PostgreSQL runs with ${setting} off, so it can lose acknowledged writes`),
    );
    await cluster.turn(setting, 'on');
    await until('/ready says yes again', isReady);
  }
  // Set on the role, it does not reach the sessions of Writ, old or new.
  await queryDatabase(cluster.url, 'alter role postgres set synchronous_commit = off');
  await queryDatabase(
    cluster.url,
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like 'writ%'`,
  );
  await until('/ready says yes with new connections', isReady);
  await queryDatabase(cluster.url, 'alter role postgres reset synchronous_commit');
  assert.equal(await server.stop(), 0);
}
