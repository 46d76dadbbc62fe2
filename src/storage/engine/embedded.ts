/**
 * `Database` over PGlite: Postgres inside this process, its files in one folder. It has one connection, no fsync
 * and no statement time-out, and it loses data if two processes open its folder: hence the lock file. For one person.
 */

import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PGlite, type Transaction } from '@electric-sql/pglite';
import { drizzle } from 'drizzle-orm/pglite';
import { migrate } from 'drizzle-orm/pglite/migrator';
import type { Database, Orm, Session, Statement } from './database.ts';
import { acquireDirectoryLock } from './directory-lock.ts';
import { embeddedFolder } from './embedded-folder.ts';
import {
  packTemplate,
  TEMPLATE_FILE,
  templateFits,
  unpackTemplate,
  writeTemplate,
} from './embedded-template.ts';
import { createMemories } from './memories.ts';
import { MIGRATIONS } from './migrations.ts';
import { MEANING, PIN_DURABILITY } from './session-settings.ts';
import { translateStorageError } from './storage-errors.ts';

/**
 * PostgreSQL's default of 128 MB is for a server of many. PGlite fills it with zeros at the start, so it counts as
 * resident from the first second; the file system caches what does not fit.
 */
const START_PARAMETERS = [...PGlite.defaultStartParams, '-c', 'shared_buffers=16MB'];

/** Opens (or makes) the database in `dataDir`, mode 0700. Throws `FolderHeldError` if another process has it. */
export async function openEmbedded(dataDir: string, templateFile = TEMPLATE_FILE): Promise<Database> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  chmodSync(dataDir, 0o700);
  const lock = acquireDirectoryLock(dataDir);
  const client = await openClient(embeddedFolder(dataDir), templateFile).catch((error: unknown) => {
    lock.release();
    throw error;
  });
  await client.exec([...MEANING, PIN_DURABILITY].join('; '));
  return {
    kind: 'embedded',
    // It runs in this process: its history cannot change under it.
    memories: createMemories(),
    // No other process changes its active key meanwhile.
    onInactiveKey: () => {},
    query: (statement, values) =>
      translated(statement.effect, () => sessionOn(client).query(statement, values)),
    orm: (effect, work) => translated(effect, () => sessionOn(client).orm(effect, work)),
    transaction: (work) =>
      translated('write', () => client.transaction((transaction) => work(sessionOn(transaction)))),
    // The lock file has already made this process the only one.
    exclusively: (work) => work(() => translated('write', () => migrate(drizzle(client), MIGRATIONS))),
    poolUse: () => undefined,
    close: async () => {
      await client.close();
      lock.release();
    },
  };
}

async function openClient(folder: string, templateFile: string): Promise<PGlite> {
  if (!existsSync(folder)) unpackTemplate(folder, templateFile);
  return PGlite.create(folder, { startParams: START_PARAMETERS });
}

/** For the build: writes the template to `file` unless one that fits is there. Works in the empty folder `scratch`. */
export async function makeEmbeddedTemplate(file: string, scratch: string): Promise<void> {
  if (templateFits(file)) return;
  const folder = join(scratch, 'database');
  const client = await PGlite.create(folder);
  await migrate(drizzle(client), MIGRATIONS);
  // A database at rest: the first start has nothing to recover.
  await client.exec('checkpoint');
  await client.close();
  writeTemplate(file, packTemplate(folder));
}

async function translated<T>(effect: Statement['effect'], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translateStorageError(error, effect);
  }
}

function sessionOn(client: PGlite | Transaction): Session {
  return {
    query: async <Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> =>
      (await client.query<Row>(statement.text, [...values])).rows,
    // drizzle asks of its client only what a PGlite transaction offers too.
    orm: (_effect, work) => work(drizzle(client as PGlite) as unknown as Orm),
  };
}
