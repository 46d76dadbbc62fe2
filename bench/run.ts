/**
 * `npm run bench`: measures issuing intent tokens; docs/benchmarks.md says what is compared. Everything it starts is
 * its own, listens on 127.0.0.1 only and is gone at the end.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createCleanup } from './cleanup.ts';
import { measureColdKeys } from './cold-keys.ts';
import { compare } from './compare.ts';
import { type Bench, NAMES, type Name } from './contestants.ts';
import { openBenchPostgres } from './database.ts';
import { describeMachine, machineOf } from './figures.ts';
import { CONNECTIONS } from './load.ts';
import { measureMemory } from './memory.ts';
import { measureSteps } from './steps.ts';

const USAGE = `npm run bench -- [options]

  (no mode)          Writ, the floor and oidc-provider in interleaved rounds
  --steps            what a plan of 1, 10, 100 and 1000 steps costs
  --memory           resident memory over two minutes at full load
  --cold             the p99 of warm keys with and without four cold keys a second

  --rounds <n>       rounds of the comparison and of --cold (default 5)
  --seconds <n>      length of one measurement (default 8; --memory: 120)
  --only <a,b>       of ${NAMES.join(', ')}
  --other <file>     another built server.js, run beside
  --json             one JSON document on standard output

BENCH_DATABASE_URL names a Postgres in which databases may be created; without it a cluster is made and removed.`;

const { values } = parseArgs({
  options: {
    steps: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    other: { type: 'string' },
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

function namesOf(text: string | undefined): readonly Name[] {
  if (text === undefined) return NAMES;
  return text.split(',').map((given) => {
    const name = NAMES.find((known) => known === given);
    if (name === undefined) throw new TypeError(`${given} is none of ${NAMES.join(', ')}`);
    return name;
  });
}

function measure(bench: Bench) {
  const rounds = wholeNumber(values.rounds, 5);
  const seconds = wholeNumber(values.seconds, values.memory ? 120 : 8);
  if (values.steps) return measureSteps(bench, seconds, say);
  if (values.memory) return measureMemory(bench, seconds, say);
  if (values.cold) return measureColdKeys(bench, { rounds, seconds }, say);
  return compare(bench, { rounds, seconds, only: namesOf(values.only), other: values.other }, say);
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  const cleanup = createCleanup();
  try {
    const folder = await mkdtemp(join(tmpdir(), 'writ-bench-servers-'));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    const postgres = await openBenchPostgres(cleanup);
    const machine = machineOf(postgres);
    const { result, text } = await measure({ postgres, cleanup, folder });
    const people = `${describeMachine(machine)}\nload      ${CONNECTIONS} connections, POST, one plan\n\n${text}\n`;
    process.stdout.write(values.json ? `${JSON.stringify({ machine, ...result })}\n` : `\n${people}`);
  } finally {
    await cleanup.run();
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
