/**
 * For the processes of a short run, which live for seconds: its WebAssembly, the embedded database, is not compiled a
 * second time, and garbage is collected where it is made instead of on threads that wait for a processor.
 */
export const SHORT_LIVED: readonly string[] = ['--liftoff-only', '--single-threaded-gc'];
