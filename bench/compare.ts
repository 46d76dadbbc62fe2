/**
 * The comparison: rounds A B C A B C … on every path, so that whatever else the machine does falls on all alike. `atOnce`:
 * all servers of a path are loaded at the same time, which makes the ratio of their processor times steadier still, and
 * their answers per second worthless.
 */

import { type Bench, type Contestant, type ServerName, startFloor, startPeer } from './contestants.ts';
import { type Target, warmUp } from './load.ts';
import {
  describeMeasurement,
  describeStandings,
  type Measurement,
  measureLoad,
  ratioOf,
  type Standing,
  standingOf,
} from './measurement.ts';
import { type PathName, TITLES } from './paths.ts';
import { startWrit } from './writ.ts';

export interface CompareOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly servers: readonly ServerName[];
  readonly paths: readonly PathName[];
  readonly atOnce: boolean;
  /** Another built `server.js` to run beside. */
  readonly other: string | undefined;
  /** Another floor program to run beside. */
  readonly otherFloor: string | undefined;
}

/** Which is held against which, where both run. */
const PAIRS = [
  ['writ', 'floor'],
  ['writ', 'other-floor'],
  ['writ', 'oidc-provider'],
  ['other', 'writ'],
  ['other', 'floor'],
  ['other', 'other-floor'],
  ['other', 'oidc-provider'],
  ['floor', 'other-floor'],
] as const;

interface Entry {
  readonly path: PathName;
  readonly contestant: Contestant;
  readonly target: Target;
  readonly measurements: Measurement[];
}

export async function compare(bench: Bench, options: CompareOptions, say: (text: string) => void) {
  const entries = await entriesOf(await startAll(bench, options), options.paths);
  for (const { path, contestant, target } of entries) {
    say(`warming up ${contestant.name}: ${path}`);
    await warmUp(target, options.seconds);
  }
  for (let round = 1; round <= options.rounds; round += 1) {
    const measure = async ({ path, contestant, target, measurements }: Entry): Promise<void> => {
      const measured = await measureLoad(bench, contestant.server, target, options.seconds);
      measurements.push(measured);
      say(`round ${round} ${path} ${contestant.name}: ${describeMeasurement(measured)}`);
    };
    for (const group of groupsOf(entries, options)) await Promise.all(group.map(measure));
  }
  const paths = options.paths.map((path) => {
    const standings = entries
      .filter((entry) => entry.path === path)
      .map(({ contestant, measurements }) => standingOf(contestant.name, measurements));
    return { path, standings, ratios: ratiosOf(standings) };
  });
  const blocks = paths.map(({ path, standings, ratios }) =>
    describeStandings(TITLES[path], standings, ratios),
  );
  return { result: { paths }, text: blocks.join('\n\n') };
}

async function startAll(bench: Bench, options: CompareOptions): Promise<Contestant[]> {
  const { servers, other, otherFloor } = options;
  const contestants: Contestant[] = [];
  if (servers.includes('writ')) contestants.push(await startWrit(bench));
  if (other !== undefined) contestants.push(await startWrit(bench, { name: 'other', script: other }));
  if (servers.includes('floor')) contestants.push(await startFloor(bench));
  if (otherFloor !== undefined) contestants.push(await startFloor(bench, otherFloor));
  if (servers.includes('oidc-provider') && options.paths.includes('intent')) {
    contestants.push(await startPeer(bench));
  }
  return contestants;
}

/** Path by path, so that those who are compared run next to each other. */
async function entriesOf(contestants: readonly Contestant[], paths: readonly PathName[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const path of paths) {
    for (const contestant of contestants) {
      const target = await contestant.targetOf(path);
      if (target !== undefined) entries.push({ path, contestant, target, measurements: [] });
    }
  }
  return entries;
}

function groupsOf(entries: readonly Entry[], { paths, atOnce }: CompareOptions): (readonly Entry[])[] {
  if (!atOnce) return entries.map((entry) => [entry]);
  return paths.map((path) => entries.filter((entry) => entry.path === path));
}

function ratiosOf(standings: readonly Standing[]) {
  const byName = new Map(standings.map((standing) => [standing.name, standing]));
  return PAIRS.flatMap(([one, two]) => {
    const [first, second] = [byName.get(one), byName.get(two)];
    return first === undefined || second === undefined ? [] : ratioOf(first, second);
  });
}
