/** For tests only, and the one of all of them: what a test seals by itself has to fit for the servers that it starts. */
export const TEST_MASTER_KEY = '5a'.repeat(32);
