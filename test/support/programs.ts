/** The programs as they are run: from the sources that the tests were compiled with. */
import { fileURLToPath } from 'node:url';

/** `writ serve` without the command line around it. */
export const SERVER = fileURLToPath(new URL('../../dist/server.js', import.meta.url));
/** `writ`. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
/** `writ`, each source and package a file of its own, in every run. */
export const CLI_FILE_BY_FILE = fileURLToPath(new URL('../../src/cli.js', import.meta.url));
