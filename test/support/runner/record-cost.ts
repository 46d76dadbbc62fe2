/**
 * Preloaded into the process of each test file: when it ends, what the file took is written where `file-costs.ts`
 * reads it. Processes that the file started and waited for are part of that; the run's own Postgres is not.
 */
import { readFileSync } from 'node:fs';
import { writeCost } from './file-costs.ts';

/** Of `/proc/<pid>/stat`, in every Linux that Node.js runs on. */
const TICKS_PER_SECOND = 100;

const { NODE_TEST_CONTEXT: context, WRIT_TEST_COSTS: folder } = process.env;
const [, file] = process.argv;

// The runner's process loads this as well, and it is not a file's.
if (context === 'child-v8' && folder !== undefined && file !== undefined) {
  process.on('exit', () => {
    const { user, system } = process.cpuUsage();
    const own = (user + system) / 1_000_000;
    writeCost(folder, file, {
      processorSeconds: own + secondsOfChildren(),
      wallSeconds: performance.now() / 1000,
    });
  });
}

/** Those that have ended and were waited for. Not known where there is no /proc: 0. */
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
