/** A measured load: 32 connections, each asking again as soon as it is answered. An answer that is not 2xx fails the run. */

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const CONNECTIONS = 32;

export interface Ask {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Target {
  /** Without a slash at the end. */
  readonly origin: string;
  /** Sent in turn. */
  readonly asks: readonly [Ask, ...Ask[]];
}

export interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly answers: number;
}

/** What the compiler needs to see before it has made up its mind; a busy machine takes longer over them. */
const WARM_ANSWERS = 6000;
const MAX_WARM_ROUNDS = 4;

/** Not counted: at least half as long as a measurement. */
export async function warmUp(target: Target, seconds: number): Promise<void> {
  let answers = 0;
  for (let round = 0; answers < WARM_ANSWERS && round < MAX_WARM_ROUNDS; round += 1) {
    answers += (await load(target, Math.max(2, Math.ceil(seconds / 2)))).answers;
  }
}

interface AutocannonResult {
  readonly duration: number;
  readonly errors: number;
  readonly timeouts: number;
  readonly non2xx: number;
  readonly '2xx': number;
  readonly latency: { readonly p50: number; readonly p99: number };
}

const CLIENT = fileURLToPath(new URL('./client.mjs', import.meta.url));

/** Rejects when any request failed or was answered with anything but 2xx. */
export async function load(target: Target, seconds: number): Promise<Load> {
  const running = promisify(execFile)(process.execPath, [CLIENT], { maxBuffer: 64 * 1024 * 1024 });
  running.child.stdin?.end(JSON.stringify({ ...target, connections: CONNECTIONS, seconds }));
  const result = JSON.parse((await running).stdout) as AutocannonResult;
  const failed = result.errors + result.timeouts + result.non2xx;
  if (failed > 0 || result['2xx'] === 0) {
    throw new Error(
      `${target.origin}${target.asks[0].path}: ${result['2xx']} answers of 2xx, ${result.non2xx} others, ${result.errors} errors, ${result.timeouts} time-outs`,
    );
  }
  return {
    perSecond: result['2xx'] / result.duration,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    answers: result['2xx'],
  };
}
