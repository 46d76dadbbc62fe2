/** A command asks again for what passes by itself, so that nobody has to call it again. */

import { setTimeout as sleep } from 'node:timers/promises';
import { WritError } from '../errors.ts';

interface Patience {
  /** Whether it is worth asking again after this. */
  readonly passes: (error: WritError) => boolean;
  /** What fails after so long is thrown. */
  readonly patienceMs: number;
  readonly pauseMs: number;
  /** Before each pause. */
  readonly onAgain?: (error: WritError) => void;
}

/** What does not pass is thrown at once. `work` can be run again. */
export async function askAgain<T>(
  work: () => Promise<T>,
  { passes, patienceMs, pauseMs, onAgain }: Patience,
): Promise<T> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof WritError) || !passes(error) || performance.now() > deadline) throw error;
      onAgain?.(error);
      await sleep(pauseMs);
    }
  }
}

const BUSY: Patience = { passes: ({ code }) => code === 'BUSY', patienceMs: 10_000, pauseMs: 100 };

/** For what a person asks for in an emergency, while a server holds what it needs, which is a moment. */
export const whileBusy = <T>(work: () => Promise<T>): Promise<T> => askAgain(work, BUSY);
