/** The months of the audit trail: made ahead, guarded each by itself, never in the way of a start or of an event. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import { keepAuditPartitions } from '../../../src/storage/audit/audit-partitions.ts';
import { buildTestApp, openTestApp } from '../../support/app.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { adminQuery, createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { BACKENDS, rows } from '../opened.ts';

const skip = postgresSkip;
const APPEND_ONLY = { code: '42501' };

const PLANT = `
  insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, created_at)
  values (gen_random_uuid(), 'secret.read', 'planted', 'agent', 'secret', 'a/K', '{}', $1) returning id`;

/** The month that runs and those after it, as the database counts them. */
const MONTHS = `
  select 'audit_events_' || to_char(month, 'YYYY_MM') as name, month from (
    select date_trunc('month', clock_timestamp() at time zone 'UTC') + make_interval(months => n) as month
    from generate_series(0, $1::int) as n
  ) as months order by month`;

const PARTITIONS = `
  select inhrelid::regclass::text as name from pg_inherits where inhparent = 'audit_events'::regclass order by 1`;

async function connected(url: string): Promise<{
  client: pg.Client;
  ask<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  months(ahead?: number): Promise<string[]>;
  partitions(): Promise<string[]>;
}> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  const ask = async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
    (await client.query<Row>(text, [...values])).rows;
  return {
    client,
    ask,
    months: async (ahead = 2) => (await ask<{ name: string }>(MONTHS, [ahead])).map(({ name }) => name),
    partitions: async () => (await ask<{ name: string }>(PARTITIONS)).map(({ name }) => name),
  };
}

for (const backend of BACKENDS) {
  test(`${backend.name}: this month and the next two have a partition, made once`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    assert.deepEqual(
      (await rows<{ name: string }>(database, PARTITIONS)).map(({ name }) => name),
      ['audit_events_default'],
    );
    const wanted = (await rows<{ name: string }>(database, MONTHS, [2])).map(({ name }) => name);
    for (const time of ['first', 'second']) {
      assert.equal(await keepAuditPartitions(database), 'kept', time);
      const found = (await rows<{ name: string }>(database, PARTITIONS)).map(({ name }) => name);
      assert.deepEqual(found, [...wanted, 'audit_events_default'], time);
    }
  });

  test(`${backend.name}: no month can be changed, by its own name or by the trail’s`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    await keepAuditPartitions(database);
    const [first] = await rows<{ name: string }>(database, MONTHS, [0]);
    await rows(database, PLANT, [new Date()]);
    await rows(database, PLANT, [new Date('2020-02-02T00:00:00Z')]);
    const filled = [first?.name, 'audit_events_default', 'audit_events'];
    const count = async () => rows(database, 'select count(*)::int as n from audit_events');
    assert.deepEqual(await count(), [{ n: 2 }]);
    for (const { name } of await rows<{ name: string }>(
      database,
      `${PARTITIONS.replace('order by 1', '')} union select 'audit_events'`,
    )) {
      for (const [statement, where] of [
        [`update ${name} set actor_id = 'other'`, ['', ' where false']],
        [`delete from ${name}`, ['', ' where false']],
        [`truncate ${name}`, ['', ' cascade']],
      ] as const) {
        for (const rest of where) {
          await assert.rejects(rows(database, statement + rest), refusedAppendOnly, statement + rest);
        }
      }
      // The row triggers hold by themselves: a statement may come through another table.
      if (!filled.includes(name)) continue;
      const found = await rows<{ name: string }>(
        database,
        `select tgname as name from pg_trigger where tgrelid = $1::regclass and (tgtype & 1) = 1 and not tgisinternal`,
        [name],
      );
      assert.deepEqual(found, [{ name: 'audit_events_no_row_change' }], name);
    }
    assert.deepEqual(await count(), [{ n: 2 }]);
  });
}

test('each month refuses changes by its row trigger alone, and by its statement triggers alone', {
  skip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { ask, client, months } = await connected(app.databaseUrl);
  t.after(() => client.end());
  for (const month of await months()) {
    await ask(PLANT, [`${month.slice(-7).replace('_', '-')}-15T00:00:00Z`]);
    for (const statement of [`update ${month} set actor_id = 'x'`, `delete from ${month}`]) {
      for (const disabled of ['audit_events_no_statement_change', 'audit_events_no_row_change']) {
        await ask(`alter table ${month} disable trigger ${disabled}`);
        await assert.rejects(ask(statement), APPEND_ONLY, `${statement} without ${disabled}`);
        await ask(`alter table ${month} enable trigger ${disabled}`);
      }
    }
    await assert.rejects(ask(`truncate ${month}`), APPEND_ONLY);
  }
});

test('events lie in the month of their moment in UTC, and the default partition stays empty', {
  skip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { ask, client, months } = await connected(app.databaseUrl);
  t.after(() => client.end());
  await client.query("set timezone = 'Pacific/Kiritimati'");
  const where = async (id: string | undefined) =>
    (
      await ask<{ name: string }>('select tableoid::regclass::text as name from audit_events where id = $1', [
        id,
      ])
    )[0]?.name;
  const made = await app.call({
    method: 'PUT',
    url: '/v1/secrets/a/K',
    key: app.adminKey,
    json: { value: 'v' },
  });
  assert.equal(made.status, 201);
  const [event] = await ask<{ id: string }>(
    "select id from audit_events where event_type = 'secret.created'",
  );
  const [now, next, afterNext] = await months();
  assert.equal(await where(event?.id), now);
  const [first] = await ask<{ last: string; first: string; beyond: string }>(
    `select to_char(month - interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as last,
       to_char(month, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as first,
       to_char(month + interval '2 months', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as beyond
     from (select date_trunc('month', clock_timestamp() at time zone 'UTC') + interval '1 month' as month) as next`,
  );
  for (const [moment, partition] of [
    [first?.last, now],
    [first?.first, next],
    [first?.beyond, 'audit_events_default'],
  ] as const) {
    const [planted] = await ask<{ id: string }>(PLANT, [moment]);
    assert.equal(await where(planted?.id), partition, moment);
  }
  assert.deepEqual(await ask(`select from only audit_events union all select from ${afterNext}`), []);
});

test('a month whose events lie in the default partition already stays there, and nothing stops', {
  skip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const { ask, client, months, partitions } = await connected(url);
  t.after(() => client.end());
  await ask(PLANT, [new Date()]);
  const app = await openTestApp(t, url);
  const [now, ...ahead] = await months();
  assert.deepEqual(await partitions(), [...ahead, 'audit_events_default']);
  const made = await app.call({
    method: 'PUT',
    url: '/v1/secrets/a/K',
    key: app.adminKey,
    json: { value: 'v' },
  });
  assert.equal(made.status, 201, made.text);
  assert.equal(await keepAuditPartitions(app.database), 'kept');
  assert.deepEqual(
    await ask(
      `select distinct tableoid::regclass::text as name from audit_events where created_at >= date_trunc('month', now())`,
    ),
    [{ name: 'audit_events_default' }],
    `there is no ${now}`,
  );
});

test('processes that keep the months at once make each of them once', { skip }, async (t) => {
  for (let round = 0; round < 3; round += 1) {
    const { url } = await createTestDatabase(t);
    const databases = await Promise.all(Array.from({ length: 6 }, () => openPatiently(url, 2)));
    t.after(() => Promise.all(databases.map((database) => database.close())));
    const outcomes = await Promise.all(databases.map((database) => keepAuditPartitions(database)));
    assert.deepEqual(
      outcomes,
      databases.map(() => 'kept'),
    );
    const { client, months, partitions } = await connected(url);
    t.after(() => client.end());
    assert.deepEqual(await partitions(), [...(await months()), 'audit_events_default']);
  }
});

test('a start beside somebody who reads the trail for long is no failure', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const { ask, client, months, partitions } = await connected(url);
  t.after(() => client.end());
  // What a backup does.
  await ask('begin');
  await ask('select count(*) from audit_events');
  const app = await openTestApp(t, url, {}, { lockMs: 250 });
  const made = await app.call({
    method: 'PUT',
    url: '/v1/secrets/a/K',
    key: app.adminKey,
    json: { value: 'v' },
  });
  assert.equal(made.status, 201, made.text);
  await ask('commit');
  assert.deepEqual(await partitions(), ['audit_events_default']);
  assert.equal(await keepAuditPartitions(app.database), 'kept');
  const [, ...ahead] = await months();
  assert.deepEqual(await partitions(), [...ahead, 'audit_events_default'], 'made when it was over');
});

test('a role that may not make months says so, and serves all the same', { skip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const role = `writ_test_${uuidv7().replaceAll('-', '')}`;
  const { ask, client, partitions } = await connected(url);
  await adminQuery(`create role ${role} login password 'serving'`);
  t.after(async () => {
    await ask(`drop owned by ${role}`);
    await client.end();
    await adminQuery(`drop role ${role}`);
  });
  await ask(`grant usage on schema public to ${role}`);
  await ask(`grant select, insert, update, delete on all tables in schema public to ${role}`);
  const serving = new URL(url);
  serving.username = role;
  serving.password = 'serving';
  const database = await openPatiently(serving.href, 2);
  t.after(() => database.close());
  assert.equal(await keepAuditPartitions(database), 'not_allowed');
  assert.deepEqual(await partitions(), ['audit_events_default']);
  // It serves all the same: its events lie in the default partition.
  const app = await openTestApp(t, serving.href);
  const made = await app.call({
    method: 'PUT',
    url: '/v1/secrets/a/K',
    key: app.adminKey,
    json: { value: 'v' },
  });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(await ask(`select distinct tableoid::regclass::text as name from audit_events`), [
    { name: 'audit_events_default' },
  ]);
  const owner = await openPatiently(url, 2);
  t.after(() => owner.close());
  assert.equal(await keepAuditPartitions(owner), 'kept');
  assert.equal(
    await keepAuditPartitions(database),
    'kept',
    'nothing is missing, so nothing is asked of the role',
  );
});

test('a month is detached as docs/operating.md says, and what is left goes on', { skip }, async (t) => {
  const text = await readFile(new URL('../../../docs/operating.md', import.meta.url), 'utf8');
  const [, statement = ''] =
    /### Months[\s\S]*?```sql\n(alter table audit_events detach partition [^`]*?)\n```/.exec(text) ??
    assert.fail('the document shows no statement');
  const app = await buildTestApp(t);
  const { ask, client, months, partitions } = await connected(app.databaseUrl);
  t.after(() => client.end());
  const [now = ''] = await months();
  const before = await ask<{ n: number }>('select count(*)::int as n from audit_events');
  assert.ok((before[0]?.n ?? 0) > 0, 'there is something to detach');
  await ask(statement.replaceAll(/audit_events_\d{4}_\d\d/g, now));
  assert.ok(!(await partitions()).includes(now), 'it is detached');
  assert.deepEqual(await ask(`select count(*)::int as n from ${now}`), before);
  assert.deepEqual(await ask('select count(*)::int as n from audit_events'), [{ n: 0 }]);
  // What was detached is still nobody's to change.
  for (const change of [`update ${now} set actor_id = 'x'`, `delete from ${now}`, `truncate ${now}`]) {
    await assert.rejects(ask(change), APPEND_ONLY, change);
  }
  const made = await app.call({
    method: 'PUT',
    url: '/v1/secrets/a/K',
    key: app.adminKey,
    json: { value: 'v' },
  });
  assert.equal(made.status, 201, made.text);
  await ask(`drop table ${now}`);
  assert.deepEqual(await ask('select count(*)::int as n from audit_events'), [{ n: 1 }]);
});

function refusedAppendOnly(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (/append-only/.test(current.message)) return true;
  }
  return false;
}
