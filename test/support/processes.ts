/**
 * Guarantees child processes of a test that inherit nothing but PATH and HOME, run in an empty folder, and are gone
 * when the test is over. Only processes started here are ever signalled.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { NODE_FLAGS } from './effort.ts';
import { SERVER } from './programs.ts';

const ADDRESS = /listening on (http:\/\/[^\s"'\\]+)/;
/** For what never comes: a busy machine may take minutes over a start. */
const START_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 300_000;

export interface StartedProcess {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** The exit code once the process has ended; null if a signal ended it. */
  readonly ended: Promise<number | null>;
  /** SIGTERM, and the exit code it ends with. Throws, after SIGKILL, if it does not end within 5 min. */
  stop(): Promise<number | null>;
  /** SIGKILL: what a crash does. */
  kill(): Promise<void>;
}

export interface StartedServer extends StartedProcess {
  /** Without a slash at the end. */
  readonly url: string;
}

export interface ProcessOptions {
  /** Default: an empty folder that is removed after the test. */
  readonly cwd?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Starts the server and waits for the line that names its address. Throws with its output if it ends. */
export async function startServer(
  t: Pick<TestContext, 'after'>,
  env: Environment,
  options: ProcessOptions = {},
): Promise<StartedServer> {
  const started = await startNode(t, [SERVER], env, options);
  const url = await addressOf(started);
  return { ...started, url };
}

/** Starts `node` with the given arguments; for a process that ends by itself, wait for `ended`. */
export async function startNode(
  t: Pick<TestContext, 'after'>,
  args: readonly string[],
  env: Environment,
  options: ProcessOptions = {},
): Promise<StartedProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-process-'));
  const child = spawn(process.execPath, [...NODE_FLAGS, ...args], {
    cwd: options.cwd ?? folder,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const started = observe(child);
  t.after(async () => {
    await started.kill();
    await rm(folder, { recursive: true, force: true });
  });
  await once(child, 'spawn');
  return started;
}

function observe(child: ChildProcess): StartedProcess {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
    child.once('error', () => resolve(null));
  });

  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    async stop() {
      child.kill('SIGTERM');
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        child.kill('SIGKILL');
      }, STOP_TIMEOUT_MS);
      const code = await ended;
      clearTimeout(timer);
      if (isLate) throw new Error(`the process did not end within ${STOP_TIMEOUT_MS} ms of SIGTERM`);
      return code;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Without a slash at the end, once the process has named it. Throws with its output if it ends first. */
export function addressOf(started: StartedProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (what: string) =>
      reject(new Error(`the server ${what}\nstdout: ${started.stdout()}\nstderr: ${started.stderr()}`));
    const timer = setTimeout(() => fail(`named no address within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    const look = () => {
      // Only whole lines: a chunk may end in the middle of the port.
      const wholeLines = started.stdout().slice(0, started.stdout().lastIndexOf('\n') + 1);
      const address = ADDRESS.exec(wholeLines)?.[1];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address.replace(/\/$/, ''));
    };
    started.child.stdout?.on('data', look);
    void started.ended.then((code) => {
      clearTimeout(timer);
      fail(`ended with code ${code}`);
    });
  });
}
