/** A dump of the database, restored in another cluster whose transactions have other numbers: the trail is whole there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startCluster } from '../../support/cluster.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { postgresPrograms, programsSkip } from '../../support/postgres-programs.ts';
import { queryDatabase } from '../../support/refused-start.ts';
import { exporterOf, writOn } from './exports.ts';

const run = promisify(execFile);

test('pg_dump and pg_restore into another cluster', {
  skip: postgresSkip || onlyInFullRun || programsSkip,
}, async (t) => {
  const programs = postgresPrograms();
  const parent = await mkdtemp(join(tmpdir(), 'writ-test-restore-'));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const dump = join(parent, 'dump');
  const [old, other] = [await startCluster({ programs }), await startCluster({ programs })];
  t.after(() => old.remove());
  t.after(() => other.remove());
  const before = await writOn(t, old.url);
  // The numbers of the old cluster are far ahead of those of the new one.
  for (let time = 0; time < 300; time += 1) await queryDatabase(old.url, 'select pg_current_xact_id()');
  for (let time = 0; time < 5; time += 1) await before.act();
  const first = await exporterOf(before).read();
  for (let time = 0; time < 5; time += 1) await before.act();
  await run(join(programs, 'pg_dump'), ['--format', 'custom', '--file', dump, old.url]);
  for (let time = 0; time < 5; time += 1) await before.act();
  const late = await exporterOf(before).read();

  const restore = async (target: string) => {
    await queryDatabase(other.url, `create database ${target}`);
    const url = Object.assign(new URL(other.url), { pathname: `/${target}` }).href;
    await run(join(programs, 'pg_restore'), ['--dbname', url, '--exit-on-error', dump]);
    return url;
  };
  const after = await writOn(t, await restore('restored'));
  for (let time = 0; time < 5; time += 1) await after.act();
  const { read, ask } = exporterOf(after);
  const stored = (await after.sql<{ id: string }>('select id from audit_events')).map(({ id }) => id);
  const everything = await read();
  assert.deepEqual(
    stored.filter((id) => !everything.ids.includes(id)),
    [],
    'no event is left out, whatever number its transaction has',
  );
  // What went on from before the dump, and from after it, has everything between the two.
  for (const { ids, cursor } of [first, late]) {
    const next = await read(cursor);
    const together = new Set([...ids, ...next.ids]);
    assert.deepEqual(
      everything.ids.filter((id) => !together.has(id)),
      [],
    );
    assert.deepEqual(
      next.ids.filter((id) => ids.includes(id)),
      [],
      'and nothing comes twice',
    );
  }

  // The same dump beside it, on the same server: another database, and another epoch.
  const beside = await writOn(t, await restore('beside'));
  await beside.act();
  const present = await after.sql('select epoch::text from audit_epochs order by position desc limit 1');
  const besides = await beside.sql('select epoch::text from audit_epochs order by position desc limit 1');
  assert.deepEqual(present, besides, 'one server');
  const refused = await exporterOf(beside).ask(everything.cursor);
  assert.equal(refused.status, 409, 'a cursor of the other database');
  assert.equal((await ask(everything.cursor)).status, 200);
});
