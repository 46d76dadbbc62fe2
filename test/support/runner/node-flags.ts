/** Of Node.js 20; the V8 of its successors counts calls instead of bytes. */
const COUNTS_BYTES = Number.parseInt(process.versions.v8, 10) < 12;

/**
 * For the processes of a short run, which live for seconds: its WebAssembly, the embedded database, is not compiled a
 * second time, garbage is collected where it is made instead of on threads that wait for a processor, and only what
 * has run 45 times as long as usual is compiled for speed: at the usual time, that takes a tenth of the run and
 * makes the rest of it no quicker.
 */
export const SHORT_LIVED: readonly string[] = [
  '--liftoff-only',
  '--single-threaded-gc',
  COUNTS_BYTES ? '--interrupt-budget=3000000' : '--invocation-count-for-turbofan=135000',
];
