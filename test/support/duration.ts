/**
 * Guarantees a judgement on how dear work is that holds on a machine of any speed, whatever else runs there: work is
 * weighed against a floor, a plain loop measured beside it. Other users only ever make a run slower, so the quickest of
 * several is the honest one.
 */
import assert from 'node:assert/strict';

const TRIES = 10;
/** Grows with every try, so that a burst of other work is over before the last one. */
const PAUSE_MS = 10;
/** Reading them takes about a millisecond of a processor of 2025. */
const FLOOR_CODES = new Uint16Array(200_000).map((_, index) => index % 128);
const FLOOR_TRIES = 3;

/** The shortest time that a run of `work` took. */
export function quickestMilliseconds(work: () => void, tries = TRIES): number {
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 1; run <= tries; run += 1) {
    if (run > 1) pause(PAUSE_MS * (run - 1));
    quickest = Math.min(quickest, millisecondsOf(work));
  }
  return quickest;
}

/**
 * Asserts that `work` can be done in the time of so many floors. The limits in the tests are several times what the
 * work costs: they find what grows faster than its input, which costs hundreds of times as much.
 */
export function assertCostsUnder(
  limit: { floors: number },
  work: () => void,
  about = 'it',
  readFloor: () => void = readFloorCodes,
): void {
  let floor = Number.POSITIVE_INFINITY;
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 1; run <= TRIES; run += 1) {
    if (run > 1) pause(PAUSE_MS * (run - 1));
    for (let read = 0; read < FLOOR_TRIES; read += 1) floor = Math.min(floor, millisecondsOf(readFloor));
    quickest = Math.min(quickest, millisecondsOf(work));
    if (quickest < limit.floors * floor) return;
  }
  assert.fail(`${about} costs ${(quickest / floor).toFixed(1)} floors, not under ${limit.floors}`);
}

function readFloorCodes(): void {
  let sum = 0;
  for (const code of FLOOR_CODES) sum += code;
  assert.ok(sum > 0);
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
