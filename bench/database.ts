/**
 * Guarantees a Postgres whose commits are durable, with a database of its own for each server: the one of
 * BENCH_DATABASE_URL, or a throw-away cluster on a real disk. Anything that would flatter the figures is refused.
 */

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startCluster } from '../test/support/cluster.ts';
import { isOpenToOthers } from '../test/support/unprivileged-user.ts';
import type { Cleanup } from './cleanup.ts';
import { familyCpuSeconds } from './process-cost.ts';

export interface BenchPostgres {
  readonly version: string;
  /** Of 200 commits of one row, one after the other: what the disk costs. */
  readonly commitMs: number;
  readonly origin: 'BENCH_DATABASE_URL' | 'throw-away cluster';
  /** The throw-away cluster; undefined where the database is another's. */
  readonly own: OwnCluster | undefined;
  /** Processor time of all its processes so far; undefined where they are not ours. */
  cpuSeconds(): Promise<number | undefined>;
  /** A new, empty database; dropped at the end. */
  createDatabase(name: string): Promise<string>;
}

export interface OwnCluster {
  /** Of its superuser. */
  readonly url: string;
  readonly logPath: string;
  readonly pid: number;
}

/** Throws where the server would not keep what it acknowledged. */
export async function openBenchPostgres(cleanup: Cleanup): Promise<BenchPostgres> {
  const given = process.env['BENCH_DATABASE_URL'] || undefined;
  const own = given === undefined ? await startOwnCluster(cleanup) : undefined;
  const url = given ?? own?.url ?? '';
  const prefix = `writ_bench_${randomBytes(4).toString('hex')}_`;
  const createDatabase = async (name: string): Promise<string> => {
    await query(url, `create database "${prefix}${name}"`);
    cleanup.defer(() => query(url, `drop database if exists "${prefix}${name}" with (force)`));
    const made = new URL(url);
    made.pathname = `/${prefix}${name}`;
    return made.href;
  };
  const probe = await createDatabase('probe');
  await refuseUnsafe(probe);
  const [{ server_version: version = '?' } = {}] = await query(url, 'show server_version');
  return {
    version: String(version),
    commitMs: await medianCommitMs(probe),
    origin: given === undefined ? 'throw-away cluster' : 'BENCH_DATABASE_URL',
    own,
    cpuSeconds: async () => (own === undefined ? undefined : familyCpuSeconds(own.pid)),
    createDatabase,
  };
}

async function refuseUnsafe(url: string): Promise<void> {
  for (const name of ['fsync', 'full_page_writes', 'synchronous_commit']) {
    const [row] = await query(url, `show ${name}`);
    if (row?.[name] !== 'off') continue;
    throw new Error(`${name} is off: a commit would not be durable, and its speed would mean nothing`);
  }
}

async function startOwnCluster(cleanup: Cleanup): Promise<OwnCluster> {
  const folder = await mkdtemp(join(await folderOnDisk(), 'writ-bench-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const cluster = await startCluster({ dataDir: folder });
  cleanup.defer(() => cluster.remove());
  // Its first line is the process that all others are children of.
  const pid = Number.parseInt(await readFile(join(folder, 'data', 'postmaster.pid'), 'utf8'), 10);
  return { url: cluster.url, logPath: join(folder, 'server.log'), pid };
}

/** statfs(2): tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

async function folderOnDisk(): Promise<string> {
  for (const folder of [tmpdir(), '/var/tmp', '/tmp']) {
    const isInMemory = await statfs(folder).then(
      ({ type }) => MEMORY_FILE_SYSTEMS.has(type),
      () => true,
    );
    // Started as root, Postgres runs as another user, who must be able to enter.
    if (!isInMemory && (process.getuid?.() !== 0 || (await isOpenToOthers(folder)))) return folder;
  }
  throw new Error('every temporary folder is in memory, where fsync costs nothing: set BENCH_DATABASE_URL');
}

async function medianCommitMs(url: string): Promise<number> {
  return withClient(url, async (execute) => {
    await execute('create table commits (n int)');
    const durations: number[] = [];
    for (let n = 0; n < 200; n += 1) {
      const start = performance.now();
      await execute('insert into commits values ($1)', [n]);
      durations.push(performance.now() - start);
    }
    return durations.sort((a, b) => a - b)[100] ?? Number.NaN;
  });
}

function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  return withClient(url, (execute) => execute(statement));
}

export type Execute = (statement: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>;

/** A connection of its own, for as long as `work` takes. */
export async function withClient<T>(url: string, work: (execute: Execute) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(async (statement, values) => (await client.query(statement, values?.slice())).rows);
  } finally {
    await client.end();
  }
}
