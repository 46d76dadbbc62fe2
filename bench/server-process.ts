/** One server in a process of its own on plain Node, its output in a file: what it costs can be read from outside. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../test/support/free-port.ts';
import type { Cleanup } from './cleanup.ts';
import { cpuSeconds, rssBytes } from './process-cost.ts';

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;

export interface ServerProcess {
  /** Without a slash at the end. */
  readonly origin: string;
  /** Resident memory now. */
  rssBytes(): Promise<number>;
  /** Processor time used so far, all threads; undefined where there is no /proc. */
  cpuSeconds(): Promise<number | undefined>;
}

export interface ServerToStart {
  readonly name: string;
  /** Absolute. */
  readonly script: string;
  readonly env: (port: number) => Readonly<Record<string, string>>;
  /** Its working folder; its output goes there as well. */
  readonly folder: string;
}

/** Resolves when it answers HTTP, with whatever status. It is stopped at the end of the run. */
export async function startServer(server: ServerToStart, cleanup: Cleanup): Promise<ServerProcess> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const outputPath = join(server.folder, `${server.name}.out`);
  const output = await open(outputPath, 'w');
  const child = spawn(process.execPath, [server.script], {
    cwd: server.folder,
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', PORT: String(port), ...server.env(port) },
    stdio: ['ignore', output.fd, output.fd],
  });
  const ended = once(child, 'exit');
  await output.close();
  cleanup.defer(async () => {
    child.kill('SIGTERM');
    await Promise.race([ended, delay(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    child.kill('SIGKILL');
    await ended;
  });
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(origin))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      throw new Error(`${server.name} did not start: ${(await readFile(outputPath, 'utf8')).slice(-2000)}`);
    }
    await delay(50);
  }
  const pid = child.pid ?? 0;
  return { origin, rssBytes: () => rssBytes(pid), cpuSeconds: () => cpuSeconds(pid) };
}

function answers(origin: string): Promise<boolean> {
  return fetch(origin).then(
    async (response) => {
      await response.arrayBuffer();
      return true;
    },
    () => false,
  );
}
