/**
 * Whether the cost stays flat: the same three paths on servers that hold few and many tokens and secrets, in
 * interleaved rounds, and then the plans that the database runs in those very servers' sessions.
 */

import type { Bench } from './contestants.ts';
import { warmUp } from './load.ts';
import {
  describeMeasurement,
  describeStandings,
  type Measurement,
  measureLoad,
  type Ratio,
  ratioOf,
  type Standing,
  standingOf,
} from './measurement.ts';
import { IN_TURN, type PathName, TITLES } from './paths.ts';
import { describePlans } from './plan-text.ts';
import { preparePlans, type ServerPlans } from './plans.ts';
import { type StoredRows, type StoredTargets, storeRows } from './stored-rows.ts';
import { startWrit, type Writ } from './writ.ts';

/** In the middle, tables are large enough to read them whole at a price, and small enough for a planner to do it. */
const SIZES: readonly StoredRows[] = [
  { tokens: 1, secrets: 1 },
  { tokens: IN_TURN, secrets: IN_TURN },
  { tokens: 5000, secrets: 5000 },
  { tokens: 1_000_000, secrets: 100_000 },
];

type SizePath = keyof StoredTargets;

interface Filled {
  readonly name: string;
  readonly writ: Writ;
  readonly targets: StoredTargets;
}

export interface SizeOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly paths: readonly PathName[];
}

export async function measureSize(bench: Bench, options: SizeOptions, say: (text: string) => void) {
  const plansOf = await preparePlans(bench);
  const filled: Filled[] = [];
  for (const size of SIZES) {
    const writ = await startWrit(bench, { name: `writ-${size.tokens}` });
    const name = size.tokens === 1 ? '1 token' : `${size.tokens.toLocaleString('en')} tokens`;
    filled.push({ name, writ, targets: await storeRows(writ, size, say) });
  }
  const paths: { path: SizePath; standings: Standing[]; ratios: Ratio[] }[] = [];
  const measure = async (path: SizePath): Promise<void> => {
    if (!options.paths.includes(path)) return;
    const standings = await measurePath(bench, path, { ...options, filled }, say);
    paths.push({ path, standings, ratios: ratiosOf(standings) });
  };
  await measure('read');
  await measure('limited');
  const plans: ServerPlans[] = [];
  for (const { name, writ, targets } of filled) {
    say(`plans at ${name}`);
    plans.push({ name, ...(await plansOf(writ, targets)) });
  }
  // Last, because it adds tokens.
  await measure('scoped');
  const blocks = paths.map(({ path, standings, ratios }) => {
    return describeStandings(`${TITLES[path]}; by what is stored`, standings, ratios);
  });
  return { result: { sizes: SIZES, paths, plans }, text: [...blocks, describePlans(plans)].join('\n\n') };
}

async function measurePath(
  bench: Bench,
  path: SizePath,
  { rounds, seconds, filled }: SizeOptions & { filled: readonly Filled[] },
  say: (text: string) => void,
): Promise<Standing[]> {
  const measurements = new Map<string, Measurement[]>(filled.map(({ name }) => [name, []]));
  for (const { name, targets } of filled) {
    say(`warming up ${path} at ${name}`);
    await warmUp(targets[path], seconds);
  }
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, writ, targets } of filled) {
      const measured = await measureLoad(bench, writ.server, targets[path], seconds);
      measurements.get(name)?.push(measured);
      say(`round ${round} ${path} at ${name}: ${describeMeasurement(measured)}`);
    }
  }
  return [...measurements].map(([name, measured]) => standingOf(name, measured));
}

/** The largest against each of the smaller. */
function ratiosOf(standings: readonly Standing[]): Ratio[] {
  const largest = standings.at(-1);
  if (largest === undefined) return [];
  return standings.slice(0, -1).map((smaller) => ratioOf(largest, smaller));
}
