/** Guarantees that what a run made is gone when it ends, in the reverse order, also when it is interrupted. */

import { constants } from 'node:os';

export interface Cleanup {
  defer(undo: () => Promise<unknown>): void;
  run(): Promise<void>;
}

export function createCleanup(): Cleanup {
  const undos: (() => Promise<unknown>)[] = [];
  let running: Promise<void> | undefined;
  const runAll = async (): Promise<void> => {
    for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
      await undo().catch((error: unknown) => console.error(error));
    }
  };
  const run = (): Promise<void> => {
    running ??= runAll();
    return running;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void run().then(() => process.exit(128 + constants.signals[signal])));
  }
  return { defer: (undo) => void undos.push(undo), run };
}
