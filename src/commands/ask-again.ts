/** What a person asks for in an emergency is asked again while a server holds what it needs, which is a moment. */

import { setTimeout as sleep } from 'node:timers/promises';
import { WritError } from '../errors.ts';

const PATIENCE_MS = 10_000;

/** `BUSY` has done nothing. Anything else is thrown at once. */
export async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    try {
      return await work();
    } catch (error) {
      const isBusy = error instanceof WritError && error.code === 'BUSY';
      if (!isBusy || performance.now() > deadline) throw error;
      await sleep(100);
    }
  }
}
