/** The programs as they are run: compiled, from the sources that the tests were compiled with. */
import { fileURLToPath } from 'node:url';

/** `writ serve` without the command line around it. */
export const SERVER = fileURLToPath(new URL('../../src/server.js', import.meta.url));
/** `writ`. */
export const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url));
