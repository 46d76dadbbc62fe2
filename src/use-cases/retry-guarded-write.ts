/**
 * Read, decide, then write once with guards: when the guard finds that something is not as it was read, everything
 * starts over with what is there now. It is never put as a refusal (contract section 5.4).
 */

import { WritError } from '../errors.ts';

/** What an attempt resolves with when its guarded write found another state than was read. */
export const RETRY = Symbol('start over');

const MAX_ATTEMPTS = 4;

/** The first attempt and at most 3 more, then `BUSY`. `attempt` reads afresh whenever `isFirst` is false. */
export async function retryGuardedWrite<Result>(
  attempt: (isFirst: boolean) => Promise<Result | typeof RETRY>,
): Promise<Result> {
  for (let count = 0; count < MAX_ATTEMPTS; count += 1) {
    const result = await attempt(count === 0);
    if (result !== RETRY) return result;
  }
  throw new WritError('BUSY', 'What this request needs keeps changing; try again.', { retryAfterSeconds: 1 });
}
