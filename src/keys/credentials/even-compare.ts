/**
 * Compares an API key with what is stored of it, so that the time of a refusal does not tell whether its key id exists.
 * Hashes of several costs stand side by side once `BCRYPT_COST` was changed: every refusal costs what the dearest of
 * them costs, whatever the cost of the hash itself, and whether there is one or not.
 */

import { HIGHEST_BCRYPT_COST } from '../../domain/principals/api-key.ts';
import { compareApiKey, costOfHash, dummyHash } from './api-key-hash.ts';

/** The least that bcrypt knows. */
const LOWEST_COST = 4;

export interface EvenCompare {
  /** Whether the hash is that of the key; without a hash, false after the same work. */
  compare(keyText: string, hash: string | undefined): Promise<boolean>;
  /** Costs that stored keys have. One above `BCRYPT_COST`'s highest is not of our making, and would hold up everybody. */
  learn(costs: readonly number[]): void;
}

/** `configuredCost`: of the keys that this process makes. */
export async function createEvenCompare(configuredCost: number): Promise<EvenCompare> {
  const decoyOf = await makeDecoys();
  let highest = configuredCost;
  const learn = (costs: readonly number[]): void => {
    // Never down again: a key that was just seen may be missing from what was read before.
    for (const cost of costs) if (cost > highest && cost <= HIGHEST_BCRYPT_COST) highest = cost;
  };
  return {
    learn,
    compare: async (keyText, hash) => {
      const cost = hash === undefined ? undefined : costOfHash(hash);
      if (cost !== undefined) learn([cost]);
      const most = highest;
      // Who holds the secret knows that its id exists.
      if (hash !== undefined && (await compareApiKey(keyText, hash))) return true;
      if (cost === undefined) await compareApiKey(keyText, decoyOf(most));
      // Each step of the cost is twice the work: with what was done, 2^cost + 2^cost + … + 2^(most-1) = 2^most.
      else for (let step = cost; step < most; step += 1) await compareApiKey(keyText, decoyOf(step));
      return false;
    },
  };
}

/** By cost. What no key has under one cost no key has under another, and only the compare is dear. */
async function makeDecoys(): Promise<(cost: number) => string> {
  const rest = (await dummyHash(LOWEST_COST)).slice('$2b$04'.length);
  return (cost) => `$2b$${String(cost).padStart(2, '0')}${rest}`;
}
