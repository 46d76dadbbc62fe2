/**
 * An export that goes on where another ended has every event that came between, or is refused: after a restart of the
 * server, on a copy of its folder, after a restore, with processes that run on meanwhile.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuditReader } from '../../../src/storage/audit/audit-reader.ts';
import type { Database } from '../../../src/storage/engine/database.ts';
import { BEGIN_EPOCH } from '../../../src/storage/engine/history.ts';
import { openDatabase } from '../../../src/storage/engine/open-database.ts';
import { createAuditTrailReading } from '../../../src/use-cases/audit/read-audit-trail.ts';
import { auditFilter } from '../../support/audit-filter.ts';
import { startCluster } from '../../support/cluster.ts';
import { makeTestRunFolder } from '../../support/cluster-home.ts';
import { until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { BACKENDS, rows } from '../opened.ts';
import { exporterOf, writOn } from './exports.ts';

const INSERT = `
  insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
  values (gen_random_uuid(), 'secret.read', 'planted', 'agent', 'secret', $1, '{}')`;
const EPOCHS = 'select position, epoch::text, id from audit_epochs order by position';

for (const backend of BACKENDS) {
  test(`${backend.name}: one epoch begins in one history, however many find it`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    await Promise.all(Array.from({ length: 8 }, () => database.query(BEGIN_EPOCH, [])));
    const begun = await rows(database, EPOCHS);
    assert.deepEqual(
      begun.map(({ position }) => position),
      [1],
    );
    await rows(database, INSERT, ['a/K']);
    const events = await rows(database, 'select epoch::text from audit_events');
    assert.deepEqual(events, [{ epoch: begun[0]?.['epoch'] }]);
    for (const statement of ['update audit_epochs set position = 2', 'delete from audit_epochs']) {
      await assert.rejects(rows(database, statement), /./, statement);
    }
  });

  test(`${backend.name}: events of another history are all there, whatever numbers their transactions have`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    const { all, since } = storeExports(database);
    // As a migration leaves those from before there were epochs, and a dump those of the server that it is from.
    for (const epoch of ['-infinity', '2020-02-02 02:02:02.020202+00']) {
      await rows(
        database,
        `${INSERT.replace('resource_id, metadata', 'resource_id, metadata, xact, epoch').replace("'{}'", "'{}', '999999999999', $2::timestamptz")}`,
        [`of ${epoch}`, epoch],
      );
    }
    await rows(
      database,
      "insert into audit_epochs (position, epoch, history) values (0, '2020-02-02 02:02:02.020202+00', 'another')",
    );
    const before = ['of -infinity', 'of 2020-02-02 02:02:02.020202+00'];
    const first = await all();
    assert.deepEqual(first.names, before);
    await rows(database, INSERT, ['of now']);
    const second = await since(first.cursor);
    assert.deepEqual(second.names, ['of now']);
    assert.deepEqual((await since(second.cursor)).names, []);
    assert.deepEqual((await all()).names, [...before, 'of now']);
  });
}

/** Exports past the app. */
function storeExports(database: Database) {
  const { export: begin } = createAuditTrailReading(createAuditReader(database));
  type Horizon = Awaited<ReturnType<typeof begin>>['horizon'];
  const read = async (from?: Horizon) => {
    const { horizon, batches } = await begin(auditFilter(), from);
    const names: string[] = [];
    for await (const events of batches) names.push(...events.map((event) => event.resource_id));
    return { cursor: horizon, names: names.sort() };
  };
  return { all: () => read(), since: (from: Horizon) => read(from) };
}

test('PGlite: a folder that is copied back begins another epoch, and knows none that it never had', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'writ-test-epochs-'));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const dataDir = join(parent, 'data');
  const during = async <T>(work: (database: Database) => Promise<T>): Promise<T> => {
    const database = await openDatabase({ databaseUrl: undefined, dataDir, poolMax: 1 });
    try {
      await database.exclusively((migrate) => migrate());
      await database.query(BEGIN_EPOCH, []);
      return await work(database);
    } finally {
      await database.close();
    }
  };
  const first = await during(async (database) => {
    await rows(database, INSERT, ['first']);
    return storeExports(database).all();
  });
  cpSync(dataDir, join(parent, 'copy'), { recursive: true });
  const lost = await during(async (database) => {
    for (const name of ['lost', 'lost as well', 'lost too']) await rows(database, INSERT, [name]);
    return storeExports(database).since(first.cursor);
  });
  assert.deepEqual(lost.names, ['lost', 'lost as well', 'lost too']);
  rmSync(dataDir, { recursive: true });
  renameSync(join(parent, 'copy'), dataDir);
  await during(async (database) => {
    await rows(database, INSERT, ['again']);
    const { all, since } = storeExports(database);
    assert.deepEqual(
      (await since(first.cursor)).names,
      ['again'],
      'complete, although its transaction is the number of a lost one',
    );
    await assert.rejects(since(lost.cursor), { code: 'CURSOR_OUTDATED' });
    assert.deepEqual((await all()).names, ['again', 'first']);
  });
});

test('a restart and a copy of the folder: every event is in an export that goes on, or the cursor is refused', {
  skip: postgresSkip,
}, async (t) => {
  const parent = await makeTestRunFolder();
  t.after(() => rm(parent, { recursive: true, force: true }));
  const [folder, copy] = [join(parent, 'original'), join(parent, 'copy')];
  const original = await startCluster({ dataDir: folder });
  t.after(() => original.remove());
  const writ = await writOn(t, original.url);
  const { read, ask } = exporterOf(writ);
  await writ.act();
  const first = await read();
  await writ.act();
  await original.stop('immediate');
  await original.start();
  // The same process: it finds the other run of the server by itself.
  await until('an event after the crash', () =>
    writ.act().then(
      () => true,
      () => false,
    ),
  );
  const second = await read(first.cursor);
  const everything = await read();
  assert.deepEqual(
    [...first.ids, ...second.ids].sort(),
    everything.ids.slice(0, -1).sort(),
    'together all of them, and none twice, but the event of the second export, which comes last',
  );
  assert.equal((await writ.sql(EPOCHS)).length, 2);

  await original.stop();
  execFileSync('cp', ['-Rp', folder, copy]);
  await original.start();
  await until('an event that the copy lacks', () =>
    writ.act().then(
      () => true,
      () => false,
    ),
  );
  const lost = await read(everything.cursor);
  assert.ok(lost.ids.length > 0);
  await original.stop();

  const restored = await startCluster({ dataDir: copy });
  t.after(() => restored.remove());
  const elsewhere = await writOn(t, restored.url);
  for (let time = 0; time < 5; time += 1) await elsewhere.act();
  const later = exporterOf(elsewhere);
  const present = await later.read();
  const had = { ids: [...first.ids, ...second.ids], cursor: second.cursor };
  for (const [exportsSince, { ids, cursor }] of [first, had, everything].entries()) {
    const next = await later.read(cursor);
    // The last ones are of the exports since `present`, itself included.
    const rest = next.ids.slice(0, -1 - exportsSince);
    assert.deepEqual([...ids, ...rest].sort(), [...present.ids].sort());
  }
  const refused = await later.ask(lost.cursor);
  assert.equal(refused.status, 409, refused.text);
  assert.match(refused.text, /CURSOR_OUTDATED/);
  assert.equal((await ask(lost.cursor)).status, 503, 'the original is stopped');
});
