/** What is set on a role or a database does not win over what every session of Writ needs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Database } from '../../../src/storage/engine/database.ts';
import { openDatabase } from '../../../src/storage/engine/open-database.ts';
import { adminQuery, createEmptyTestDatabase, postgresSkip as skip } from '../../support/postgres.ts';
import { BACKENDS, rows } from '../opened.ts';

const SHOWN = `select current_setting('synchronous_commit') as shown`;

async function shownBy(database: Database): Promise<unknown> {
  return (await rows(database, SHOWN))[0]?.['shown'];
}

for (const backend of BACKENDS) {
  test(`${backend.name}: a session waits for its commits`, { skip: backend.skip }, async (t) => {
    assert.equal(await shownBy(await backend.openEmpty(t)), 'on');
  });
}

test('synchronous_commit is on in every new session, whatever was set on the database after the start', {
  skip,
}, async (t) => {
  const { url } = await createEmptyTestDatabase(t);
  const name = new URL(url).pathname.slice(1);
  const open = async (acceptUnsafeDurability: boolean) => {
    const database = await openDatabase({
      databaseUrl: url,
      dataDir: '',
      poolMax: 1,
      acceptUnsafeDurability,
    });
    t.after(() => database.close());
    return database;
  };
  const running = await open(false);
  assert.equal(await shownBy(running), 'on');
  for (const [set, pinned] of [
    ['off', 'on'],
    ['local', 'on'],
    ['remote_write', 'on'],
    // More than is asked for.
    ['remote_apply', 'remote_apply'],
  ] as const) {
    await adminQuery(`alter database ${name} set synchronous_commit = ${set}`);
    await rows(running, 'select pg_terminate_backend(pg_backend_pid())').catch(() => {});
    assert.equal(await shownBy(running), pinned, set);
    assert.equal(
      await shownBy(await open(true)),
      set,
      'who accepts unsafe durability has what is configured',
    );
  }
});
