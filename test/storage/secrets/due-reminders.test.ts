/** Of a version that became due an event tells once, whichever process comes first, and never of another's row. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createDueReminders } from '../../../src/storage/secrets/due-reminders.ts';
import { createSecretStore } from '../../../src/storage/secrets/secret-store.ts';
import { createBuildNotice } from '../../../src/use-cases/notices/build-notice.ts';
import { createTellOfDueSecrets } from '../../../src/use-cases/secrets/upkeep/tell-of-due-secrets.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS, useTestKek } from '../../support/test-seals.ts';
import { anEvent, storedAgent } from '../builders.ts';
import { BACKENDS, rows } from '../opened.ts';
import { anAdvance, keyGuard, storedSecret } from '../secret-builders.ts';

const buildNotice = createBuildNotice({ configured: true, newId: uuidv7 });

const tellIn = (database: Database, seals = TEST_SEALS) =>
  createTellOfDueSecrets({ reminders: createDueReminders(database, seals), newId: uuidv7, buildNotice });

/** What the webhook is owed, oldest first. */
const noticesIn = async (database: Database) =>
  (await rows<{ payload: string }>(database, 'select payload from webhook_outbox order by id')).map(
    ({ payload }) => JSON.parse(payload) as { type: string; data: { path: string; version: number } },
  );

const toldIn = (database: Database) =>
  rows<{ resource_id: string; version: number; days: number; actor_id: string }>(
    database,
    `select resource_id, (metadata ->> 'version')::int as version, (metadata ->> 'rotate_after_days')::int as days,
       actor_id from audit_events where event_type = 'secret.rotation_due' order by resource_id, version`,
  );

/** Half a day before its time, or after it. */
const shift = (database: Database, path: string, hours: number) =>
  rows(database, `update secrets set rotation_due_at = now() - make_interval(hours => $2) where path = $1`, [
    path,
    hours,
  ]);

for (const backend of BACKENDS) {
  suite(`reminders of rotation on ${backend.name}`, { skip: backend.skip }, () => {
    test('come once for each version that is due', async (t) => {
      const database = await backend.openMigrated(t);
      const agent = await storedAgent(database);
      const tell = tellIn(database);
      const attributes = { rotateAfterDays: 30 };
      const { record } = await storedSecret(database, agent, { path: 'a/DUE', attributes });
      await storedSecret(database, agent, { path: 'a/NEVER' });
      await storedSecret(database, agent, { path: 'a/LATER', attributes });
      await storedSecret(database, agent, { path: 'a/EXPIRED', attributes });
      await rows(database, `update secrets set expires_at = now() where path = 'a/EXPIRED'`);
      await shift(database, 'a/LATER', -1);
      for (const path of ['a/DUE', 'a/EXPIRED']) await shift(database, path, 1);
      for (const _ of [1, 2]) await tell();
      const first = { resource_id: 'a/DUE', version: 1, days: 30, actor_id: 'system' };
      assert.deepEqual(await toldIn(database), [first]);

      await createSecretStore(database, TEST_SEALS).change(
        { guard: keyGuard(agent), paths: [record.path] },
        () => ({ changes: [anAdvance(record, { attributes })], event: anEvent() }),
      );
      await tell();
      assert.deepEqual(await toldIn(database), [first], 'the new version is young');
      await shift(database, 'a/DUE', 1);
      for (const _ of [1, 2]) await tell();
      assert.deepEqual(await toldIn(database), [first, { ...first, version: 2 }]);
      assert.deepEqual(
        (await noticesIn(database)).map(({ type, data: { path, version } }) => [type, path, version]),
        [1, 2].map((version) => ['secret.rotation_due', 'a/DUE', version]),
      );
    });

    test('say nothing of a row that Writ did not write, which holds up nobody', async (t) => {
      const database = await backend.openMigrated(t);
      const agent = await storedAgent(database);
      for (const path of ['a/FORGED', 'a/GOOD']) {
        await storedSecret(database, agent, { path, attributes: { rotateAfterDays: 1 } });
        await shift(database, path, path === 'a/FORGED' ? 2 : 1);
      }
      await rows(database, `update secrets set access_tier = 'critical' where path = 'a/FORGED'`);
      await tellIn(database)();
      assert.deepEqual(
        (await toldIn(database)).map(({ resource_id }) => resource_id),
        ['a/GOOD'],
      );
      assert.deepEqual(
        (await noticesIn(database)).map(({ data }) => data.path),
        ['a/GOOD'],
      );
    });
  });
}

test('two processes that look at once tell of each version once', { skip: postgresSkip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const open = async () => {
    const database = await openPatiently(url, 4);
    t.after(() => database.close());
    return database;
  };
  const [one, other] = [await open(), await open()];
  await useTestKek(one);
  await rows(
    one,
    `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags, rotate_after_days, rotation_due_at)
     select gen_random_uuid(), 'many/' || n, 'many', n, 'custom', 'standard', '{}', 1, now() - interval '1 hour'
     from generate_series(1, 450) as n`,
  );
  const seals = { ...TEST_SEALS, fits: () => true };
  await Promise.all([one, other, one, other].map((database) => tellIn(database, seals)()));
  // What another held was left to it.
  assert.equal((await toldIn(one)).length, 450);
  assert.equal(new Set((await toldIn(one)).map(({ resource_id }) => resource_id)).size, 450);
  assert.equal(new Set((await noticesIn(one)).map(({ data }) => data.path)).size, 450);
  assert.equal((await noticesIn(one)).length, 450);
});
