/**
 * What `npm test` runs: guarantees that the tests meet the sources as they are and a migrated Postgres where they need
 * one, that nothing of the run is left behind however it ends, and that the test runner's own summary is printed last.
 * Arguments: test files, folders, flags of `node --test`, and `--effort=full` for every round. Without Postgres, the tests that need it are skipped;
 * with REQUIRE_POSTGRES=1 that is a failure. TEST_DATABASE_URL names a server to use instead of a throw-away one.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism, constants } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { makeTestRunFolder } from '../cluster-home.ts';
import { provideSharedPostgres, type SharedPostgres } from '../shared-postgres.ts';
import { type CompiledTests, compileTests } from './compiled-tests.ts';
import { overBudget, readCosts } from './file-costs.ts';
import { writeGroups } from './file-groups.ts';
import { FILE_TIMEOUT_MS } from './file-timeout.ts';
import { SHORT_LIVED } from './node-flags.ts';
import { anyMentions, type Selection, selectTests } from './test-selection.ts';

/** What hangs is reported before a run as a whole is cut off: a file that is told apart, or a process of many. */
const TIMEOUT_MS = { file: FILE_TIMEOUT_MS, group: 3 * FILE_TIMEOUT_MS };
/**
 * What one file may keep a processor busy in a short run. A second of work is more than a second of a processor where
 * other work shares it, as on the machines of CI; what is over the limit there by half is over it anywhere.
 */
const BUDGET_SECONDS = process.env['CI'] === 'true' ? 30 : 20;
const INTERRUPT_GRACE_MS = 5_000;
const LEFTOVER_GRACE_MS = 6_000;

let running: ChildProcess | undefined;
let interruptedBy: NodeJS.Signals | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    interruptedBy = signal;
    signalGroup('SIGTERM');
    setTimeout(() => signalGroup('SIGKILL'), INTERRUPT_GRACE_MS).unref();
  });
}

process.exitCode = await runTests(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error);
  return 1;
});
if (interruptedBy !== undefined) process.exitCode = 128 + constants.signals[interruptedBy];

async function runTests(args: readonly string[]): Promise<number> {
  const { isFull, flags, files } = selectTests(args);
  if (files.length === 0) throw new Error('there are no test files to run');
  // Every cluster of the run lives in this folder, those of tests that were killed included.
  const folder = await makeTestRunFolder().catch(() => undefined);
  Object.assign(process.env, {
    WRIT_TEST_FILES: String(files.length),
    ...(folder === undefined ? {} : { WRIT_TEST_FOLDER: folder }),
    ...(isFull ? { WRIT_TEST_EFFORT: 'full' } : { WRIT_TEST_BUDGET_SECONDS: String(BUDGET_SECONDS) }),
  });
  // Neither waits for the other, and each leaves a processor idle for a while.
  const [compiled, provided] = await Promise.allSettled([compileTests({ isFull }), postgresFor(files)]);
  try {
    if (compiled.status === 'rejected') throw compiled.reason;
    if (provided.status === 'rejected') throw provided.reason;
    if (interruptedBy !== undefined) return 1;
    const postgres = provided.value;
    if (typeof postgres === 'string') {
      console.error(`No Postgres for the tests: ${postgres}`);
      if (process.env['REQUIRE_POSTGRES'] === '1') return 1;
    }
    const known = typeof postgres === 'string' ? { WRIT_TEST_NO_POSTGRES: postgres } : postgres?.env;
    return await runCompiled(compiled.value, { isFull, flags, files }, { ...process.env, ...known });
  } finally {
    if (provided.status === 'fulfilled' && typeof provided.value === 'object') await provided.value.remove();
    if (compiled.status === 'fulfilled') await compiled.value.remove();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function runCompiled(
  tests: CompiledTests,
  { isFull, flags, files }: Selection,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const costs = join(tests.folder, 'costs');
  await mkdir(costs);
  // A flag may name tests, and suites are named by their files.
  const isGrouped = !isFull && flags.length === 0;
  const entries = isGrouped ? await writeGroups(tests, files) : files.map(tests.compiled);
  const options = nodeArguments(tests, flags, { entries, isGrouped });
  const code = await runToEnd(process.execPath, options, { ...env, WRIT_TEST_COSTS: resolve(costs) });
  const isOverBudget = !isFull && overBudget(readCosts(costs), BUDGET_SECONDS).length > 0;
  return code === 0 && isOverBudget ? 1 : code;
}

/** With its templates; the reason where there is none; undefined where no file needs it. */
async function postgresFor(files: readonly string[]): Promise<SharedPostgres | string | undefined> {
  if (!anyMentions(files, 'WRIT_TEST_CLUSTER')) return undefined;
  const postgres = await postgresOrReason();
  if (typeof postgres === 'string') return postgres;
  try {
    await postgres.makeTemplates();
    return postgres;
  } catch (error) {
    await postgres.remove();
    throw error;
  }
}

async function postgresOrReason(): Promise<SharedPostgres | string> {
  try {
    return await provideSharedPostgres();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function nodeArguments(
  tests: CompiledTests,
  flags: readonly string[],
  { entries, isGrouped }: { entries: readonly string[]; isGrouped: boolean },
): string[] {
  const ours = (file: string) => pathToFileURL(tests.compiled(`test/support/runner/${file}`)).href;
  // Twice as many as processors: a test often waits for a process that it has started, for Postgres or for a lock.
  const concurrency = Math.min(8, 2 * availableParallelism());
  const defaults = [
    `--test-reporter=${ours('reporter.ts')}`,
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${isGrouped ? TIMEOUT_MS.group : TIMEOUT_MS.file}`,
  ];
  const unset = defaults.filter(
    (flag) => !flags.some((given) => given.startsWith(flag.split('=')[0] ?? flag)),
  );
  const always = [
    ...(isGrouped ? SHORT_LIVED : []),
    '--enable-source-maps',
    '--import',
    ours('record-cost.ts'),
    '--test',
  ];
  return [...always, ...unset, ...flags, ...entries];
}

/** In a process group of its own, so that whatever a test started and left running ends with it. */
async function runToEnd(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  running = child;
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } finally {
    // A Postgres that was left behind takes its children along only if it is asked; they have groups of their own.
    for (let waited = 0; signalGroup('SIGQUIT') && waited < LEFTOVER_GRACE_MS; waited += 50) await delay(50);
    signalGroup('SIGKILL');
    running = undefined;
  }
}

/** False if nobody is left in the group. */
function signalGroup(signal: NodeJS.Signals): boolean {
  if (running?.pid === undefined) return false;
  try {
    return process.kill(-running.pid, signal);
  } catch {
    return false;
  }
}
