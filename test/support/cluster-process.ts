/**
 * Guarantees that a Postgres server process is known to answer when it is called started, and that it is gone, with
 * every process it made, when it is called ended.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import type { ClusterHome } from './cluster-home.ts';

const STOP_TIMEOUT_MS = 120_000;
/** The system's limit for the path of a socket is about 104 bytes, the name of its file included. */
const SOCKET_FOLDER_LIMIT = 80;

/** Whether the server also listens at a socket in its folder. */
export function hasSocket({ folder }: ClusterHome): boolean {
  return folder.length <= SOCKET_FOLDER_LIMIT;
}

/** Starts the server; its log is written anew. */
export async function spawnPostgres(
  home: ClusterHome,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<ChildProcess> {
  const all = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    max_connections: '300',
    unix_socket_directories: hasSocket(home) ? home.folder : '',
    // In its own folder: a killed server leaves its segments behind, and /dev/shm is small in many containers.
    dynamic_shared_memory_type: 'mmap',
    // The folder is often in memory: one run-away query must not take all of it.
    temp_file_limit: '64MB',
    ...settings,
  };
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = await open(home.log, 'w');
  try {
    const child = spawn(home.postgres, ['-D', home.data, ...args], {
      ...home.spawnOptions,
      stdio: ['ignore', log.fd, log.fd],
    });
    await once(child, 'spawn');
    return child;
  } finally {
    await log.close();
  }
}

/** Whether the server accepts a client before the deadline; false as soon as it has ended. */
export async function answersBefore(deadline: number, server: ChildProcess, url: string): Promise<boolean> {
  while (Date.now() < deadline && isRunning(server)) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return isRunning(server);
    } catch {
      await delay(20);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  return false;
}

/** Asks the server to end, and waits until it has; after 2 min it is killed. */
export async function endPostgres(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isRunning(server)) return;
  const gone = once(server, 'exit');
  server.kill(signal);
  const deadline = new AbortController();
  void delay(STOP_TIMEOUT_MS, undefined, { signal: deadline.signal }).then(
    () => crashPostgres(server),
    () => undefined,
  );
  await gone;
  deadline.abort();
}

/**
 * Kills the server and its children. Without their parent, children that are busy with a query would go on with it.
 * The parent is stopped first: it can neither make more children nor give their process ids free.
 */
export async function crashPostgres(server: ChildProcess): Promise<void> {
  if (!isRunning(server) || server.pid === undefined) return;
  const gone = once(server, 'exit');
  server.kill('SIGSTOP');
  for (const child of await childrenOf(server.pid)) {
    try {
      process.kill(child, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  server.kill('SIGKILL');
  await gone;
}

function isRunning(server: ChildProcess): boolean {
  return server.exitCode === null && server.signalCode === null;
}

async function childrenOf(parent: number): Promise<number[]> {
  const pairs = process.platform === 'linux' ? await pairsFromProc() : await pairsFromPs();
  return pairs.filter(([, ppid]) => ppid === parent).map(([pid]) => pid);
}

/** Slim images have no `ps`. */
async function pairsFromProc(): Promise<[pid: number, ppid: number][]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  return Promise.all(
    pids.map(async (pid): Promise<[number, number]> => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      // `pid (name, which may hold anything) state ppid …`
      const [, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [Number(pid), Number(ppid)];
    }),
  );
}

async function pairsFromPs(): Promise<[pid: number, ppid: number][]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=']);
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([pid = 0, ppid = 0]) => [pid, ppid]);
}
