/** One measurement of one server on one path, what several of them come to, and how they compare. */

import type { Bench } from './contestants.ts';
import { mebibytes, median, table } from './figures.ts';
import { type Load, load, type Target } from './load.ts';
import type { ServerProcess } from './server-process.ts';

export interface Measurement extends Load {
  /** Processor time per answer, which other work on the machine disturbs less; undefined where it cannot be read. */
  readonly cpuUs: number | undefined;
  /** The same of the database, all that it did meanwhile. */
  readonly databaseCpuUs: number | undefined;
  readonly rssMiB: number;
}

export async function measureLoad(
  { postgres }: Bench,
  server: ServerProcess,
  target: Target,
  seconds: number,
): Promise<Measurement> {
  const before = [await server.cpuSeconds(), await postgres.cpuSeconds()] as const;
  const measured = await load(target, seconds);
  const after = [await server.cpuSeconds(), await postgres.cpuSeconds()] as const;
  const usPerAnswer = (of: 0 | 1): number | undefined => {
    const [from, to] = [before[of], after[of]];
    return from === undefined || to === undefined ? undefined : ((to - from) * 1e6) / measured.answers;
  };
  return {
    ...measured,
    cpuUs: usPerAnswer(0),
    databaseCpuUs: usPerAnswer(1),
    rssMiB: mebibytes(await server.rssBytes()),
  };
}

export interface Standing {
  readonly name: string;
  /** Medians over the rounds. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuUs: number | undefined;
  readonly databaseCpuUs: number | undefined;
  /** At the ends of the rounds. */
  readonly rssMiB: number;
  readonly rssMaxMiB: number;
  readonly rounds: readonly number[];
  readonly cpuUsRounds: readonly (number | undefined)[];
}

export function standingOf(name: string, rounds: readonly Measurement[]): Standing {
  return {
    name,
    perSecond: Math.round(median(rounds.map((round) => round.perSecond))),
    p50Ms: median(rounds.map((round) => round.p50Ms)),
    p99Ms: median(rounds.map((round) => round.p99Ms)),
    cpuUs: medianOfKnown(rounds.map((round) => round.cpuUs)),
    databaseCpuUs: medianOfKnown(rounds.map((round) => round.databaseCpuUs)),
    rssMiB: median(rounds.map((round) => round.rssMiB)),
    rssMaxMiB: Math.max(...rounds.map((round) => round.rssMiB)),
    rounds: rounds.map((round) => Math.round(round.perSecond)),
    cpuUsRounds: rounds.map((round) => round.cpuUs),
  };
}

function medianOfKnown(values: readonly (number | undefined)[]): number | undefined {
  const known = values.flatMap((value) => value ?? []);
  return known.length === 0 ? undefined : Math.round(median(known));
}

export interface Ratio {
  readonly of: string;
  readonly ofMedians: number;
  readonly lowestRound: number;
  readonly highestRound: number;
  /** Median over the rounds of the processor time per answer, one beside two in the same round. */
  readonly cpu: number | undefined;
}

export function ratioOf(one: Standing, two: Standing): Ratio {
  const rounds = one.rounds.map((perSecond, round) => perSecond / (two.rounds[round] ?? Number.NaN));
  const cpu = one.cpuUsRounds.flatMap((us, round) => {
    const beside = two.cpuUsRounds[round];
    return us === undefined || beside === undefined ? [] : us / beside;
  });
  return {
    of: `${one.name} / ${two.name}`,
    ofMedians: twoDigits(one.perSecond / two.perSecond),
    lowestRound: twoDigits(Math.min(...rounds)),
    highestRound: twoDigits(Math.max(...rounds)),
    cpu: cpu.length === 0 ? undefined : Math.round(median(cpu) * 1000) / 1000,
  };
}

const twoDigits = (value: number): number => Math.round(value * 100) / 100;

export function describeMeasurement({ perSecond, p99Ms, cpuUs, databaseCpuUs }: Measurement): string {
  const cost = [cpuUs, databaseCpuUs].map((us) => us?.toFixed(0) ?? '-').join(' + ');
  return `${Math.round(perSecond)}/s, p99 ${p99Ms} ms, CPU ${cost} µs`;
}

/** A block for people: a table and its ratios. */
export function describeStandings(
  title: string,
  standings: readonly Standing[],
  ratios: readonly Ratio[],
): string {
  const head = ['', 'answers/s', 'p50 ms', 'p99 ms', 'CPU µs', 'database CPU µs', 'RSS MiB', 'max', 'rounds'];
  const rows = standings.map((standing) => [
    standing.name,
    String(standing.perSecond),
    standing.p50Ms.toFixed(0),
    standing.p99Ms.toFixed(0),
    `${standing.cpuUs ?? '-'}`,
    `${standing.databaseCpuUs ?? '-'}`,
    `${standing.rssMiB}`,
    `${standing.rssMaxMiB}`,
    standing.rounds.join(' '),
  ]);
  const lines = ratios.map(
    (ratio) =>
      `${ratio.of}: ${ratio.ofMedians.toFixed(2)}x (rounds ${ratio.lowestRound.toFixed(2)} to ${ratio.highestRound.toFixed(2)}), CPU ${ratio.cpu?.toFixed(3) ?? '-'}x`,
  );
  return [title, table([head, ...rows]), ...lines].join('\n');
}
