/** After which a test file is taken to hang: far more than one takes on a machine that runs several suites. */
export const FILE_TIMEOUT_MS = 780_000;
