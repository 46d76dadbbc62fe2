/**
 * Guarantees the folder of an initialised cluster that the user who will run Postgres owns and nobody else enters:
 * in memory where there is enough of it, so that `fsync` stays on and yet costs nothing.
 */
import { execFile } from 'node:child_process';
import { access, chmod, chown, mkdir, mkdtemp, rename, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { postgresFolder } from './postgres-binaries.ts';
import { isOpenToOthers, type SystemUser, userInsteadOfRoot } from './unprivileged-user.ts';

const run = promisify(execFile);
const IN_MEMORY = '/dev/shm';
/** Containers often have 64 MB of shared memory, which one cluster fills. */
const MEMORY_NEEDED_BYTES = 1024 ** 3;

export interface ClusterHome {
  readonly folder: string;
  readonly data: string;
  readonly log: string;
  readonly postgres: string;
  /** How to spawn: as whom, where, and with nothing from this process's environment. */
  readonly spawnOptions: { readonly cwd: string; readonly env: NodeJS.ProcessEnv } & Partial<SystemUser>;
}

/**
 * Makes the cluster's folder, or takes `folder`: as it is where it holds a cluster, else by making one in it. `programs`:
 * the folder of another Postgres than the tests' own.
 */
export async function prepareClusterHome(folder?: string, programs?: string): Promise<ClusterHome> {
  const user = await userInsteadOfRoot();
  const binaries = programs ?? join(await postgresFolder(), 'bin');
  const parent = folder ?? (await mkdtemp(join(await clusterParent(user), 'writ-test-cluster-')));
  const home: ClusterHome = {
    folder: parent,
    data: join(parent, 'data'),
    log: join(parent, 'server.log'),
    postgres: join(binaries, 'postgres'),
    spawnOptions: { cwd: parent, env: { LC_ALL: 'C', PATH: process.env['PATH'] }, ...user },
  };
  try {
    await provideCluster(home, join(binaries, 'initdb'), user, programs === undefined);
    return home;
  } catch (error) {
    if (folder === undefined) await rm(parent, { recursive: true, force: true });
    throw error;
  }
}

/** A folder for every cluster of a test run, for `WRIT_TEST_FOLDER`: whoever removes it leaves none behind. */
export async function makeTestRunFolder(): Promise<string> {
  const folder = await mkdtemp(join(await clusterParent(await userInsteadOfRoot()), 'writ-test-run-'));
  await chmod(folder, 0o711);
  return folder;
}

async function clusterParent(user: SystemUser | undefined): Promise<string> {
  const given = process.env['WRIT_TEST_FOLDER'];
  for (const folder of given === undefined ? [IN_MEMORY, tmpdir(), '/tmp', '/var/tmp'] : [given]) {
    if (await isFit(folder, user).catch(() => false)) return folder;
  }
  throw new Error('no folder for a cluster that the user running Postgres may enter');
}

async function isFit(folder: string, user: SystemUser | undefined): Promise<boolean> {
  await access(folder, 2 /* W_OK */);
  if (user !== undefined && !(await isOpenToOthers(folder))) return false;
  if (folder !== IN_MEMORY) return true;
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize >= MEMORY_NEEDED_BYTES;
}

/** Within a run, a copy of the one cluster that was ever initialised: that takes a tenth of the time. */
async function provideCluster(
  home: ClusterHome,
  initdb: string,
  user: SystemUser | undefined,
  isShared: boolean,
): Promise<void> {
  if (await isInitialised(home.data)) return;
  await makeFolder(home.folder, user);
  const folder = isShared ? process.env['WRIT_TEST_FOLDER'] : undefined;
  if (folder === undefined) return initialise(home, initdb);
  const first = join(folder, 'initialised');
  if (!(await isInitialised(join(first, 'data')))) {
    const mine = {
      ...home,
      folder: `${first}-${process.pid}`,
      data: join(`${first}-${process.pid}`, 'data'),
    };
    await makeFolder(mine.folder, user);
    await initialise(mine, initdb);
    // Whole or not there; another process may have been quicker.
    await rename(mine.folder, first).catch(() => rm(mine.folder, { recursive: true, force: true }));
  }
  await run('cp', ['-Rp', join(first, 'data'), home.data], home.spawnOptions);
}

/** A folder for `startCluster` that holds a standby of the server on `port`, which follows it as soon as it is started. */
export async function prepareStandby(port: number, programs: string): Promise<string> {
  const user = await userInsteadOfRoot();
  const folder = await mkdtemp(join(await clusterParent(user), 'writ-test-standby-'));
  await makeFolder(folder, user);
  const from = ['--host', '127.0.0.1', '--port', String(port), '--username', 'postgres'];
  const how = ['--wal-method', 'stream', '--checkpoint', 'fast', '--write-recovery-conf', '--no-sync'];
  await run(join(programs, 'pg_basebackup'), [...from, ...how, '--pgdata', join(folder, 'data')], {
    cwd: folder,
    env: { LC_ALL: 'C', PATH: process.env['PATH'] },
    ...user,
  });
  return folder;
}

function isInitialised(data: string): Promise<boolean> {
  return access(join(data, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
}

async function makeFolder(folder: string, user: SystemUser | undefined): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
  if (user !== undefined) await chown(folder, user.uid, user.gid);
}

async function initialise(home: ClusterHome, initdb: string): Promise<void> {
  const args = ['--pgdata', home.data, '--username', 'postgres', '--auth', 'trust', '--encoding', 'UTF8'];
  // A collation that is not byte order, as operators have: a query that relies on byte order must say so.
  const locale = ['--locale', 'C', '--locale-provider', 'icu', '--icu-locale', 'en-US'];
  try {
    await run(initdb, [...args, ...locale, '--no-sync', '--no-instructions'], home.spawnOptions);
  } catch (cause) {
    const said =
      cause instanceof Error && 'stderr' in cause ? String(cause.stderr) || cause.message : String(cause);
    throw new Error(`initdb failed: ${said.trim()}`, { cause });
  }
}
