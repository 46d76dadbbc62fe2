/**
 * How much a run does. `npm test` shows each guarantee once; `npm run test:all` repeats what depends on luck until what
 * is rare has most likely come up. Every number of rounds and runs in the tests stands here.
 */
const isFull = process.env['WRIT_TEST_EFFORT'] === 'full';

function choose<T>(short: T, full: T): T {
  return isFull ? full : short;
}

/** Of a property: fast-check's own default, and ten times that. */
export const PROPERTY_RUNS = choose(100, 1_000);
/** Where few random inputs are of the kind that matters, as among texts of an address grammar, and a run takes microseconds. */
export const RARE_CASE_RUNS = choose(1_000, 10_000);
/** Where a run signs, asks a database or goes through a hundred cases: milliseconds each. */
export const COSTLY_RUNS = choose(20, 100);

/**
 * Of starts at once on one empty database. One round of a few real processes meets the same locks as many of more; the
 * rest is luck, and each process costs half a second of a processor.
 */
export const STARTS = choose({ rounds: 1, processes: 6 }, { rounds: 5, processes: 20 });
