/**
 * `npm run bench`: measures the hot paths; docs/benchmarks.md says what is compared. Everything it starts is its own,
 * listens on 127.0.0.1 only and is gone at the end.
 *
 *   npm ci --prefix bench                                  once: client and peer
 *   npm run bench                                          every path, Writ beside its floor and its peer
 *   npm run bench -- --rounds 7 --seconds 3                shorter
 *   npm run bench -- --only read,limited                   some of the paths
 *   npm run bench -- --only writ,floor,scoped              some of the servers on one path
 *   npm run bench -- --other ../branch/dist/server.js      another build of Writ beside this one
 *   npm run bench -- --other-floor ../elsewhere/floor.mjs  another floor beside ours
 *   npm run bench -- --other FILE --at-once                both builds loaded at the same time, for their processor time
 *   npm run bench -- --size                                1 to 1,000,000 stored tokens, and the database's plans
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createCleanup } from './cleanup.ts';
import { measureColdKeys } from './cold-keys.ts';
import { compare } from './compare.ts';
import { type Bench, SERVERS } from './contestants.ts';
import { openBenchPostgres } from './database.ts';
import { describeMachine, machineOf } from './figures.ts';
import { CONNECTIONS } from './load.ts';
import { measureMemory } from './memory.ts';
import { PATHS } from './paths.ts';
import { requirePeers } from './peers.ts';
import { measureSize } from './size.ts';
import { measureSteps } from './steps.ts';

const USAGE = `npm run bench -- [options]

  (no mode)             every path in interleaved rounds: Writ, the floor, and where it has the path oidc-provider
  --size                issuing scoped tokens and reading secrets at 1 to 1,000,000 stored tokens, 100,000 secrets
  --steps               what a plan of 1, 10, 100 and 1000 steps costs
  --memory              resident memory over two minutes at full load on one path (default intent)
  --cold                the p99 of warm keys with and without four cold keys a second

  --rounds <n>          rounds of the comparison, of --size and of --cold (default 5)
  --seconds <n>         length of one measurement (default 8; --size: 3; --memory: 120)
  --only <a,b>          servers of ${SERVERS.join(', ')}, and paths of ${PATHS.join(', ')};
                        of a kind that is not named all take part
  --other <file>        another built server.js, run beside
  --other-floor <file>  another floor with the routes of bench/floor.mjs, run beside with our packages
  --at-once             all servers of a path loaded at the same time: compare processor time, not answers/s
  --json                one JSON document on standard output

Client and peer are installed by npm ci --prefix bench.

BENCH_DATABASE_URL names a Postgres in which databases may be created; without it a cluster is made and removed.`;

const { values } = parseArgs({
  options: {
    size: { type: 'boolean', default: false },
    steps: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    other: { type: 'string' },
    'other-floor': { type: 'string' },
    'at-once': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function wholeNumber(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new TypeError(`${text} is not a whole number from 1 to 9999`);
  return Number(text);
}

/** Servers and paths have no name in common, so a list may hold both. */
function only(text: string | undefined) {
  const given = new Set(text?.split(','));
  const named = <Name extends string>(known: readonly Name[]): readonly Name[] => {
    const chosen = known.filter((name) => given.delete(name));
    return chosen.length === 0 ? known : chosen;
  };
  const chosen = { servers: named(SERVERS), paths: named(PATHS) };
  for (const unknown of given) {
    throw new TypeError(`${unknown} is none of ${[...SERVERS, ...PATHS].join(', ')}`);
  }
  return chosen;
}

function measure(bench: Bench) {
  const rounds = wholeNumber(values.rounds, 5);
  const seconds = wholeNumber(values.seconds, values.memory ? 120 : values.size ? 3 : 8);
  const { servers, paths } = only(values.only);
  if (values.size) return measureSize(bench, { rounds, seconds, paths }, say);
  if (values.steps) return measureSteps(bench, seconds, say);
  if (values.memory) return measureMemory(bench, { seconds, path: paths[0] ?? 'intent' }, say);
  if (values.cold) return measureColdKeys(bench, { rounds, seconds }, say);
  const beside = { other: values.other, otherFloor: values['other-floor'] };
  const atOnce = values['at-once'];
  return compare(bench, { rounds, seconds, servers, paths, atOnce, ...beside }, say);
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  requirePeers();
  const cleanup = createCleanup();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'writ-bench-servers-'));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const postgres = await openBenchPostgres(cleanup);
    const machine = machineOf(postgres);
    const { result, text } = await measure({ postgres, cleanup, folder });
    const people = `${describeMachine(machine)}\nload      ${CONNECTIONS} connections of one client\n\n${text}\n`;
    process.stdout.write(values.json ? `${JSON.stringify({ machine, ...result })}\n` : `\n${people}`);
  } finally {
    await cleanup.run();
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
