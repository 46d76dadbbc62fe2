/**
 * One at a time per idempotency key within this process; between processes the key's row decides. Who comes second
 * waits up to 2 s for the first (contract section 4.1) and then finds what it left.
 */

import { WritError } from '../../errors.ts';

const WAIT_MS = 2000;

export type KeyedMutex = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** Rejects with `BUSY` when the first takes longer than a second one waits. */
export function createKeyedMutex(waitMs = WAIT_MS): KeyedMutex {
  const inFlight = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const deadline = performance.now() + waitMs;
    for (let earlier = inFlight.get(key); earlier !== undefined; earlier = inFlight.get(key)) {
      await settledBefore(earlier, deadline);
    }
    const own = work();
    inFlight.set(key, own);
    try {
      return await own;
    } finally {
      inFlight.delete(key);
    }
  };
}

async function settledBefore(work: Promise<unknown>, deadline: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    const busy = new WritError('BUSY', 'The first request with this Idempotency-Key is still under way.', {
      retryAfterSeconds: 1,
    });
    timer = setTimeout(() => reject(busy), Math.max(0, deadline - performance.now()));
  });
  try {
    // How the first one ended is its own caller's to hear.
    await Promise.race([work.catch(() => {}), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
