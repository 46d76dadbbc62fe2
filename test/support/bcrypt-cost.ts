/** The least that bcrypt knows, below what the configuration admits: a hash takes 1 ms instead of 60. */
export const TEST_BCRYPT_COST = 4;
