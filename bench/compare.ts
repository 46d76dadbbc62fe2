/** The comparison: rounds A B C A B C …, so that whatever else the machine does falls on all alike. */

import { type Bench, type Contestant, type Name, startFloor, startPeer, startWrit } from './contestants.ts';
import { mebibytes, median, table } from './figures.ts';
import { type Load, load } from './load.ts';

export interface CompareOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly only: readonly Name[];
  /** Another built `server.js` to run beside. */
  readonly other: string | undefined;
}

interface Standing {
  readonly name: Name;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of the server, which other work on the machine disturbs less; undefined where it cannot be read. */
  readonly cpuUsPerToken: number | undefined;
  /** Median over the ends of the rounds, and the largest. */
  readonly rssMiB: number;
  readonly rssMaxMiB: number;
  readonly rounds: readonly number[];
}

interface Ratio {
  readonly of: string;
  readonly ofMedians: number;
  readonly lowestRound: number;
  readonly highestRound: number;
}

export async function compare(bench: Bench, options: CompareOptions, say: (text: string) => void) {
  const contestants = await startAll(bench, options);
  for (const { name, target } of contestants) {
    say(`warming up ${name}`);
    await load(target, Math.max(3, Math.ceil(options.seconds / 2)));
  }
  const measurements = new Map<Name, Measurement[]>(contestants.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const { name, target, server } of contestants) {
      const before = await server.cpuSeconds();
      const measured = await load(target, options.seconds);
      const after = await server.cpuSeconds();
      measurements.get(name)?.push({
        ...measured,
        cpuUs:
          before === undefined || after === undefined
            ? undefined
            : ((after - before) * 1e6) / measured.answers,
        rssMiB: mebibytes(await server.rssBytes()),
      });
      say(`round ${round} ${name}: ${Math.round(measured.perSecond)}/s, p99 ${measured.p99Ms} ms`);
    }
  }
  const standings = [...measurements].map(([name, rounds]) => standingOf(name, rounds));
  const ratios = ratiosOf(standings);
  return { result: { standings, ratios }, text: describe(standings, ratios) };
}

async function startAll(bench: Bench, { only, other }: CompareOptions): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  if (only.includes('writ')) contestants.push(await startWrit(bench));
  if (other !== undefined) contestants.push(await startWrit(bench, other));
  if (only.includes('floor')) contestants.push(await startFloor(bench));
  if (only.includes('oidc-provider')) contestants.push(await startPeer(bench));
  return contestants;
}

interface Measurement extends Load {
  readonly cpuUs: number | undefined;
  readonly rssMiB: number;
}

function standingOf(name: Name, rounds: readonly Measurement[]): Standing {
  const cpuUs = rounds.flatMap((round) => round.cpuUs ?? []);
  return {
    name,
    perSecond: Math.round(median(rounds.map((round) => round.perSecond))),
    p50Ms: median(rounds.map((round) => round.p50Ms)),
    p99Ms: median(rounds.map((round) => round.p99Ms)),
    cpuUsPerToken: cpuUs.length === 0 ? undefined : Math.round(median(cpuUs)),
    rssMiB: median(rounds.map((round) => round.rssMiB)),
    rssMaxMiB: Math.max(...rounds.map((round) => round.rssMiB)),
    rounds: rounds.map((round) => Math.round(round.perSecond)),
  };
}

function ratiosOf(standings: readonly Standing[]): Ratio[] {
  const ours = standings.filter(({ name }) => name === 'writ' || name === 'other');
  return ours.flatMap((one) =>
    standings
      .filter((two) => two !== one && !(one.name === 'writ' && two.name === 'other'))
      .map((two) => {
        const rounds = one.rounds.map((perSecond, round) => perSecond / (two.rounds[round] ?? Number.NaN));
        return {
          of: `${one.name} / ${two.name}`,
          ofMedians: twoDigits(one.perSecond / two.perSecond),
          lowestRound: twoDigits(Math.min(...rounds)),
          highestRound: twoDigits(Math.max(...rounds)),
        };
      }),
  );
}

const twoDigits = (value: number): number => Math.round(value * 100) / 100;

function describe(standings: readonly Standing[], ratios: readonly Ratio[]): string {
  const rows = standings.map((standing) => [
    standing.name,
    String(standing.perSecond),
    standing.p50Ms.toFixed(0),
    standing.p99Ms.toFixed(0),
    `${standing.cpuUsPerToken ?? '-'}`,
    `${standing.rssMiB}`,
    `${standing.rssMaxMiB}`,
    standing.rounds.join(' '),
  ]);
  return [
    table([['', 'tokens/s', 'p50 ms', 'p99 ms', 'CPU µs/token', 'RSS MiB', 'max', 'rounds'], ...rows]),
    '',
    ...ratios.map(
      (ratio) =>
        `${ratio.of}: ${ratio.ofMedians.toFixed(2)}x (rounds ${ratio.lowestRound.toFixed(2)} to ${ratio.highestRound.toFixed(2)})`,
    ),
  ].join('\n');
}
