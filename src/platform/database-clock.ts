/**
 * One clock (architecture rule 7): the process clock corrected by the measured offset to the database clock, so
 * that replicas agree. It never steps back, and it knows how far the two have drifted.
 */

import type { Clock } from '../use-cases/ports.ts';

export interface DatabaseClock extends Clock {
  /** Measures again. Rejects when the database does not answer; the last offset then stays in force. */
  sample(): Promise<void>;
  /** Database time minus process time, at the last sample. */
  driftMs(): number;
}

export function createDatabaseClock(options: {
  readDatabaseTime: () => Promise<number>;
  processNowMs?: () => number;
}): DatabaseClock {
  const processNowMs = options.processNowMs ?? Date.now;
  let offsetMs = 0;
  let latestMs = 0;
  return {
    now: () => {
      latestMs = Math.max(latestMs, processNowMs() + offsetMs);
      return new Date(latestMs);
    },
    sample: async () => {
      const before = processNowMs();
      const databaseMs = await options.readDatabaseTime();
      // The answer was made somewhere between asking and hearing: half-way is the best guess.
      offsetMs = databaseMs - (before + processNowMs()) / 2;
    },
    driftMs: () => offsetMs,
  };
}
