/**
 * Guarantees that a first start from the template of the build has the database that migrations make, that a template
 * which does not fit or is damaged is not used, and that a start which is cut off leaves nothing that is taken for whole.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Database } from '../../../src/storage/engine/database.ts';
import { makeEmbeddedTemplate, openEmbedded } from '../../../src/storage/engine/embedded.ts';
import {
  TEMPLATE_FILE,
  templateFits,
  unpackTemplate,
} from '../../../src/storage/engine/embedded-template.ts';
import { readMigrationState } from '../../../src/storage/engine/migrations.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { emptied, rows } from '../opened.ts';

/** Everything that the migrations make, and nothing of one database alone. */
const SHAPE = `
  select 'column' as kind, table_name || '.' || column_name as name, data_type || ' ' || is_nullable as what
    from information_schema.columns where table_schema = 'public'
  union all select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
  union all select 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace
  union all select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
    from pg_trigger where not tgisinternal
  order by 1, 2, 3`;

describe('the template', () => {
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'writ-test-template-'));
    file = join(folder, 'template.br');
    // To make a database takes seconds of a processor. Where there was no template that fits, a short run has made one.
    if (onlyInFullRun !== false) return copyFile(TEMPLATE_FILE, file);
    const made = await openEmbedded(folder, join(folder, 'absent'));
    const { pending } = await readMigrationState(made);
    await made.close();
    assert.ok(pending > 0, 'without a template, a start makes a database that is not migrated');
    return makeEmbeddedTemplate(file, folder);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const opened = async (t: TestContext, template: string): Promise<Database> => {
    const dataDir = await mkdtemp(join(folder, 'data-'));
    const database = await openEmbedded(dataDir, template);
    t.after(() => database.close());
    return database;
  };

  const spoiled = async (name: string, change: (bytes: Buffer) => Uint8Array): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, change(await readFile(file)));
    return path;
  };

  test('is the database that the migrations make', async (t) => {
    const database = await opened(t, file);
    assert.deepEqual(await readMigrationState(database), { pending: 0, unknown: 0 });
    const shape = await rows(database, SHAPE);
    assert.ok(shape.length > 50);
    await emptied(database);
    assert.ok((await readMigrationState(database)).pending > 0);
    await database.exclusively((migrate) => migrate());
    assert.deepEqual(await rows(database, SHAPE), shape);
  });

  test('is unpacked for its owner alone', async () => {
    const unpacked = join(folder, 'modes');
    assert.ok(unpackTemplate(unpacked, file));
    const items = readdirSync(unpacked, { recursive: true, encoding: 'utf8' });
    assert.ok(items.length > 500);
    const open = ['.', ...items].filter((item) => (statSync(join(unpacked, item)).mode & 0o077) !== 0);
    assert.deepEqual(open, []);
  });

  test('is left alone where a database is', async (t) => {
    const dataDir = await mkdtemp(join(folder, 'data-'));
    const database = await openEmbedded(dataDir, file);
    await rows(database, 'create table of_the_user (id int4)');
    await database.close();
    const again = await openEmbedded(dataDir, file);
    t.after(() => again.close());
    assert.deepEqual(await rows(again, 'select * from of_the_user'), []);
  });

  test('that a killed start was unpacking is thrown away', async () => {
    const unpacked = join(folder, 'after-a-kill');
    const draft = `${unpacked}.unpacking`;
    await mkdir(join(draft, 'base'), { recursive: true });
    await writeFile(join(draft, 'left behind'), '');
    assert.ok(unpackTemplate(unpacked, file));
    assert.ok(existsSync(join(unpacked, 'PG_VERSION')));
    assert.ok(!existsSync(join(unpacked, 'left behind')));
    assert.ok(!existsSync(draft));
  });

  test('of other migrations, cut off or damaged makes no database', async () => {
    const other = (bytes: Buffer) => Buffer.concat([Buffer.from('{}'), bytes.subarray(bytes.indexOf('\n'))]);
    const otherMoment = (bytes: Buffer) => {
      const end = bytes.indexOf('\n');
      const line = bytes.toString('utf8', 0, end).replace(/\d{13}/, (moment) => String(Number(moment) + 1));
      return Buffer.concat([Buffer.from(line), bytes.subarray(end)]);
    };
    const files = {
      absent: join(folder, 'absent'),
      other: await spoiled('other', other),
      otherMoment: await spoiled('other-moment', otherMoment),
      cutOff: await spoiled('cut-off', (bytes) => bytes.subarray(0, bytes.length / 2)),
      damaged: await spoiled('damaged', (bytes) => bytes.fill(0, bytes.indexOf('\n') + 1)),
      empty: await spoiled('empty', () => new Uint8Array()),
    };
    for (const [what, path] of Object.entries(files)) {
      const unpacked = join(folder, `from-${what}`);
      assert.equal(unpackTemplate(unpacked, path), false, what);
      assert.ok(!existsSync(unpacked), what);
      assert.ok(!existsSync(`${unpacked}.unpacking`), what);
    }
  });

  test('that fits is not made again', async () => {
    const { mtimeMs } = statSync(file);
    assert.ok(templateFits(file));
    await makeEmbeddedTemplate(file, join(folder, 'a folder that does not exist'));
    assert.equal(statSync(file).mtimeMs, mtimeMs);
  });
});
