/**
 * Guarantees a throw-away Postgres on 127.0.0.1 with the durability settings of production, which a test may stop,
 * start again on the same port, or kill. Nothing of it outlives `remove()`.
 */
import type { ChildProcess } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClusterHome, prepareClusterHome } from './cluster-home.ts';
import { answersBefore, crashPostgres, endPostgres, hasSocket, spawnPostgres } from './cluster-process.ts';
import { freePort } from './free-port.ts';

const START_TIMEOUT_MS = 300_000;
const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
const PORT_TAKEN = /Address already in use/;
/** After a kill, the children of the dead server need a moment to notice. */
const PREDECESSOR_ALIVE = /pre-existing shared memory block|lock file ".*" already exists/;

export type StopMode = keyof typeof STOP_SIGNALS;

export interface ClusterOptions {
  /** Default: a free one, chosen again if another process takes it first. */
  readonly port?: number;
  /** A folder to keep the cluster in: used as it is if it holds one, and left in place by `remove()`. */
  readonly dataDir?: string;
  /** The folder of the programs of another Postgres than the tests' own. */
  readonly programs?: string;
  /** Settings on top, for example `{ fsync: 'off' }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Cluster {
  /** Superuser on the database `postgres`; no password. */
  readonly url: string;
  /** The same past the network: a statement costs a fifth less. Undefined where the path is too long for a socket. */
  readonly socketUrl: string | undefined;
  readonly port: number;
  /** Starts the stopped or killed server on the same port and folder, and waits until it answers. */
  start(): Promise<void>;
  /** Default `fast`: open transactions are rolled back and clients are sent away. `smart` waits for clients. */
  stop(mode?: StopMode): Promise<void>;
  /** What a crash does: SIGKILL, with no word to any client. */
  kill(): Promise<void>;
  /** Stops the server if it runs, and deletes its folder. */
  remove(): Promise<void>;
}

/** Makes a cluster and starts it. Throws with the reason where none can run. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const home = await prepareClusterHome(options.dataDir, options.programs);
  const removeFolder = async () => {
    if (options.dataDir === undefined) await rm(home.folder, { recursive: true, force: true });
  };
  try {
    for (let attempt = 1; ; attempt++) {
      const cluster = clusterOn(
        home,
        options.port ?? (await freePort()),
        options.settings ?? {},
        removeFolder,
      );
      try {
        await cluster.start();
        return cluster;
      } catch (error) {
        const isWorthAnotherPort =
          options.port === undefined && attempt < 5 && PORT_TAKEN.test(String(error));
        if (!isWorthAnotherPort) throw error;
      }
    }
  } catch (error) {
    await removeFolder();
    throw error;
  }
}

function clusterOn(
  home: ClusterHome,
  port: number,
  settings: Readonly<Record<string, string>>,
  removeFolder: () => Promise<void>,
): Cluster {
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let server: ChildProcess | undefined;

  async function start(): Promise<void> {
    if (server !== undefined) throw new TypeError('the cluster is running');
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const starting = await spawnPostgres(home, port, settings);
      if (await answersBefore(deadline, starting, url)) {
        server = starting;
        return;
      }
      await crashPostgres(starting);
      const log = await readFile(home.log, 'utf8');
      if (Date.now() > deadline || !PREDECESSOR_ALIVE.test(log)) {
        throw new Error(`Postgres did not start: ${log.trim().slice(-2000)}`);
      }
      await delay(50);
    }
  }

  async function finish(how: (running: ChildProcess) => Promise<void>): Promise<void> {
    const running = server;
    server = undefined;
    if (running !== undefined) await how(running);
  }

  return {
    url,
    socketUrl: hasSocket(home)
      ? `postgres://postgres@${encodeURIComponent(home.folder)}:${port}/postgres`
      : undefined,
    port,
    start,
    stop: (mode = 'fast') => finish((running) => endPostgres(running, STOP_SIGNALS[mode])),
    kill: () => finish(crashPostgres),
    async remove() {
      await finish((running) => endPostgres(running, 'SIGQUIT'));
      await removeFolder();
    },
  };
}
