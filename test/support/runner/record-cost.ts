/**
 * Preloaded into the process of each test file: when it ends, what the file took is written where `file-costs.ts`
 * reads it. Processes that the file started and waited for are part of that; the run's own Postgres is not.
 */
import { readFileSync } from 'node:fs';
import { type Cost, writeCost } from './file-costs.ts';

/** Of `/proc/<pid>/stat`, in every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;
export const NOTHING: Cost = { processorSeconds: 0, wallSeconds: 0 };

const { NODE_TEST_CONTEXT: context, WRIT_TEST_COSTS: folder } = process.env;
const [, entry] = process.argv;
let isRecorded = false;

// The runner's process loads this as well, and it is not a file's.
if (context === 'child-v8' && entry !== undefined) {
  process.on('exit', () => {
    if (!isRecorded) recordCost(entry, NOTHING);
  });
}

/** Of this process, and of those that have ended and were waited for. */
export function costSoFar(): Cost {
  const { user, system } = process.cpuUsage();
  const own = (user + system) / 1_000_000;
  return { processorSeconds: own + secondsOfChildren(), wallSeconds: performance.now() / 1000 };
}

/** What came on top of `before`. A process that records the cost of several files records none of its own. */
export function recordCost(file: string, before: Cost): void {
  isRecorded = true;
  const now = costSoFar();
  if (folder === undefined) return;
  writeCost(folder, file, {
    processorSeconds: now.processorSeconds - before.processorSeconds,
    wallSeconds: now.wallSeconds - before.wallSeconds,
  });
}

/** Not known where there is no /proc: 0. */
function secondsOfChildren(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // Behind the name, which may hold anything: state is field 3, cutime 16 and cstime 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
