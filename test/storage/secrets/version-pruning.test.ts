/** Old versions go by rule and with an event, and never one that the rule keeps, whoever works on the secret meanwhile. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createVersionPruning } from '../../../src/storage/secrets/version-pruning.ts';
import { createPruneVersions } from '../../../src/use-cases/secrets/upkeep/prune-versions.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { resealRows, TEST_SEALS } from '../../support/test-seals.ts';
import { storedAgent } from '../builders.ts';
import { BACKENDS, rows } from '../opened.ts';
import { storedSecret } from '../secret-builders.ts';

const RULE = { kept: 3, keptDays: 30 };

const pruneIn = (database: Database, rule = RULE) =>
  createPruneVersions({ pruning: createVersionPruning(database, TEST_SEALS), newId: uuidv7, rule });

/** A secret at `path` whose versions were written so many days ago, in their order. */
async function aSecretOf(database: Database, path: string, daysAgo: readonly number[]): Promise<string> {
  const { record } = await storedSecret(database, await storedAgent(database), { path });
  await rows(
    database,
    `insert into secret_versions (secret_id, version, wrapped_key, kek_id, nonce, ciphertext)
     select secret_id, n, wrapped_key, kek_id, nonce, ciphertext
     from secret_versions cross join generate_series(2, $2::int) as n where secret_id = $1 and version = 1`,
    [record.id, daysAgo.length],
  );
  await rows(
    database,
    `update secret_versions set created_at = clock_timestamp() - make_interval(hours => 24 * ($2::int[])[version])
     where secret_id = $1`,
    [record.id, daysAgo],
  );
  await rows(database, 'update secrets set version = $2 where id = $1', [record.id, daysAgo.length]);
  await resealRows((text, values = []) => rows(database, text, values), 'secrets', 'id = $1', [record.id]);
  return record.id;
}

async function versionsOf(database: Database, id: string): Promise<number[]> {
  const found = await rows<{ version: number }>(
    database,
    'select version from secret_versions where secret_id = $1 order by version',
    [id],
  );
  return found.map(({ version }) => version);
}

const prunedIn = (database: Database) =>
  rows<{ path: string; from: number; to: number; count: number }>(
    database,
    `select resource_id as path, (metadata ->> 'from')::int as "from", (metadata ->> 'to')::int as "to",
       (metadata ->> 'count')::int as count from audit_events
     where event_type = 'secret.versions_pruned' order by created_at, id`,
  );

for (const backend of BACKENDS) {
  suite(`old versions on ${backend.name}`, { skip: backend.skip }, () => {
    test('go once their successors are old and enough newer ones are there; each secret has an event', async (t) => {
      const database = await backend.openMigrated(t);
      const prune = pruneIn(database);
      const old = await aSecretOf(database, 'a/OLD', [90, 80, 70, 60, 50]);
      const few = await aSecretOf(database, 'a/FEW', [90, 80, 70]);
      const busy = await aSecretOf(database, 'a/BUSY', [900, 29, 28, 27, 26]);
      const mixed = await aSecretOf(database, 'a/MIXED', [90, 80, 20, 10, 5]);
      assert.equal(await prune(), 3);
      assert.deepEqual(await versionsOf(database, old), [3, 4, 5]);
      assert.deepEqual(await versionsOf(database, few), [1, 2, 3]);
      assert.deepEqual(await versionsOf(database, busy), [1, 2, 3, 4, 5]);
      assert.deepEqual(await versionsOf(database, mixed), [2, 3, 4, 5]);
      assert.deepEqual(await prunedIn(database), [
        { path: 'a/OLD', from: 1, to: 2, count: 2 },
        { path: 'a/MIXED', from: 1, to: 1, count: 1 },
      ]);
      assert.equal(await prune(), 0, 'and then nothing more');
      assert.equal((await prunedIn(database)).length, 2);
    });

    test('all stay where the rule says so, and go by their number alone where no days are kept', async (t) => {
      const database = await backend.openMigrated(t);
      const id = await aSecretOf(database, 'a/K', [90, 80, 70, 60]);
      assert.equal(await pruneIn(database, { kept: 0, keptDays: 0 })(), 0);
      assert.equal(await pruneIn(database, { kept: 4, keptDays: 0 })(), 0);
      assert.deepEqual(await versionsOf(database, id), [1, 2, 3, 4]);
      assert.equal(await pruneIn(database, { kept: 1, keptDays: 0 })(), 3);
      assert.deepEqual(await versionsOf(database, id), [4]);
    });

    test('go in bounded batches until all are gone', async (t) => {
      const database = await backend.openMigrated(t);
      const many = await aSecretOf(
        database,
        'a/MANY',
        Array.from({ length: 230 }, () => 40),
      );
      for (let index = 0; index < 25; index += 1) await aSecretOf(database, `b/K${index}`, [90, 80, 70, 60]);
      assert.equal(await pruneIn(database)(), 227 + 25);
      assert.deepEqual(await versionsOf(database, many), [228, 229, 230]);
      assert.deepEqual(
        (await prunedIn(database)).filter(({ path }) => path === 'a/MANY').map(({ count }) => count),
        [50, 50, 50, 50, 27],
      );
    });

    test('stay where the row of the secret is not what Writ wrote', async (t) => {
      const database = await backend.openMigrated(t);
      const id = await aSecretOf(database, 'a/FORGED', [90, 80, 70]);
      await rows(database, 'update secrets set version = 1000 where id = $1', [id]);
      assert.equal(await pruneIn(database)(), 0);
      assert.deepEqual(await versionsOf(database, id), [1, 2, 3]);
    });
  });
}

test('a secret that somebody holds is left for the next run, and two runs at once remove nothing twice', {
  skip: postgresSkip,
}, async (t) => {
  const { url } = await createTestDatabase(t);
  const open = async () => {
    const database = await openPatiently(url, 4);
    t.after(() => database.close());
    return database;
  };
  const [one, other] = [await open(), await open()];
  const held = await aSecretOf(one, 'a/HELD', [90, 80, 70, 60]);
  for (let index = 0; index < 30; index += 1) await aSecretOf(one, `b/K${index}`, [90, 80, 70, 60]);
  const holder = new pg.Client({ connectionString: url });
  await holder.connect();
  t.after(() => holder.end());
  await holder.query('begin');
  await holder.query('select 1 from secrets where id = $1 for update', [held]);
  const removed = await Promise.all([one, other, one].map((database) => pruneIn(database)()));
  assert.equal(
    removed.reduce((sum, count) => sum + count, 0),
    30,
  );
  assert.deepEqual(await versionsOf(one, held), [1, 2, 3, 4]);
  await holder.query('rollback');
  assert.equal(await pruneIn(other)(), 1);
  const events = await prunedIn(one);
  assert.deepEqual([events.length, new Set(events.map(({ path }) => path)).size], [31, 31]);
});
