/**
 * What keys that the server has not seen do to those that it has: every cold key costs one bcrypt. Rounds without
 * and with four cold keys a second alternate; each key is used once.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './contestants.ts';
import { median, table } from './figures.ts';
import { load } from './load.ts';
import { askForIntentToken, planOf } from './paths.ts';
import { startWrit, type Writ } from './writ.ts';

const COLD_PER_SECOND = 4;

export async function measureColdKeys(
  bench: Bench,
  { rounds, seconds }: { rounds: number; seconds: number },
  say: (text: string) => void,
) {
  const writ = await startWrit(bench);
  const target = await writ.targetOf('intent');
  const keys = await createKeys(writ, rounds * seconds * COLD_PER_SECOND);
  await load(target, 5);
  const without: number[] = [];
  const beside: number[] = [];
  const coldMs: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    without.push((await load(target, seconds)).p99Ms);
    const arriving = presentOneByOne(writ.server.origin, keys.splice(0, seconds * COLD_PER_SECOND));
    beside.push((await load(target, seconds)).p99Ms);
    coldMs.push(...(await arriving));
    say(`round ${round}: p99 ${without.at(-1)} ms without, ${beside.at(-1)} ms with cold keys`);
  }
  const result = {
    p99MsWithout: median(without),
    p99MsWith: median(beside),
    ratio: Math.round((median(beside) / median(without)) * 100) / 100,
    coldKeys: coldMs.length,
    coldP50Ms: Math.round(median(coldMs)),
    coldMaxMs: Math.round(Math.max(...coldMs)),
    rounds: without.map((p99, round) => [p99, beside[round] ?? Number.NaN]),
  };
  const rows = result.rounds.map(([one, two], round) => [String(round + 1), String(one), String(two)]);
  const text = [
    table([['round', 'warm p99 ms without', 'with 4 cold keys/s'], ...rows]),
    '',
    `medians ${result.p99MsWithout} and ${result.p99MsWith} ms: ${result.ratio.toFixed(2)}x`,
    `${result.coldKeys} cold keys, answered in ${result.coldP50Ms} ms (median), ${result.coldMaxMs} ms at most`,
  ].join('\n');
  return { result, text };
}

async function createKeys(writ: Writ, count: number): Promise<string[]> {
  const keys: string[] = [];
  for (let index = 0; index < count; index += 1) keys.push(await writ.createKey(`cold-${index}`));
  return keys;
}

/** Resolves to how long each answer took. */
async function presentOneByOne(origin: string, keys: readonly string[]): Promise<number[]> {
  const asked: Promise<number>[] = [];
  for (const key of keys) {
    const answered = issueOnce(origin, key);
    // Awaited below; until then a failure must not count as unhandled.
    answered.catch(() => {});
    asked.push(answered);
    await delay(1000 / COLD_PER_SECOND);
  }
  return Promise.all(asked);
}

async function issueOnce(origin: string, key: string): Promise<number> {
  const { path, ...request } = askForIntentToken(key, planOf(3));
  const start = performance.now();
  const response = await fetch(`${origin}${path}`, request);
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`a cold key was answered ${response.status}`);
  return performance.now() - start;
}
