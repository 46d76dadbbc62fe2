/**
 * Guarantees a figure for how long work takes that other users of the machine cannot make worse: they only ever make
 * a run slower, so the quickest of several is the honest one. On a quiet machine the first run is enough.
 */
import assert from 'node:assert/strict';

const TRIES = 10;
/** Grows with every try, so that a burst of other work is over before the last one. */
const PAUSE_MS = 10;

export interface Measuring {
  /** The first run that takes less is the last. Default: all tries are made. */
  readonly underMs?: number;
  readonly tries?: number;
}

/** The shortest time that a run of `work` took. */
export function quickestMilliseconds(
  work: () => void,
  { underMs = 0, tries = TRIES }: Measuring = {},
): number {
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 1; run <= tries && quickest >= underMs; run += 1) {
    if (run > 1) pause(PAUSE_MS * (run - 1));
    quickest = Math.min(quickest, millisecondsOf(work));
  }
  return quickest;
}

/** Asserts that `work` can be done in less time. */
export function assertTakesUnder(limit: { milliseconds: number }, work: () => void, about = 'it'): void {
  const quickest = quickestMilliseconds(work, { underMs: limit.milliseconds });
  assert.ok(
    quickest < limit.milliseconds,
    `${about} takes ${quickest} ms, not under ${limit.milliseconds} ms`,
  );
}

/**
 * The processor's time leaves out what the machine did for others; the clock leaves out the compiler and the garbage
 * collector on threads beside this one. What `work` itself takes is in both.
 */
function millisecondsOf(work: () => void): number {
  const cpuBefore = process.cpuUsage();
  const started = performance.now();
  work();
  const elapsed = performance.now() - started;
  const { user, system } = process.cpuUsage(cpuBefore);
  return Math.min(elapsed, (user + system) / 1000);
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
