/**
 * Decides whether a step may be used once more (contract section 4.6): it is consumed at most once, and an hour has at
 * most `rate_limit` counted verifications. The hour begins with the first verification that counts in it. Uses are those
 * of a token and of everything that was delegated from it.
 */

import type { VerificationRefusal } from './verification-code.ts';

export const RATE_WINDOW_SECONDS = 3600;

export interface StepUses {
  /** One character for each step, `1` for a consumed one. */
  readonly consumedSteps: string;
  /** Counted in the hour that runs; 0 where none does. */
  readonly windowCount: number;
  /** Until that hour ends. */
  readonly windowSecondsLeft: number;
}

export interface AskedUse {
  /** The step that is to be consumed; null where none is. */
  readonly consumedStep: number | null;
  /** Of the token's policy; null where nothing is counted. */
  readonly rateLimit: number | null;
}

/** Undefined: nothing is in the way. The guarded write decides the same; this says why it did not write. */
export function refuseUse(
  uses: StepUses,
  { consumedStep, rateLimit }: AskedUse,
): VerificationRefusal | undefined {
  if (consumedStep !== null && uses.consumedSteps[consumedStep] === '1') {
    return { code: 'STEP_CONSUMED', reason: 'The step was consumed before.' };
  }
  if (rateLimit !== null && uses.windowCount >= rateLimit) {
    const seconds = Math.max(1, Math.ceil(uses.windowSecondsLeft));
    return {
      code: 'RATE_LIMIT',
      reason: `The policy’s rate_limit is used up; the hour that it counts in ends in ${seconds} s.`,
    };
  }
  return undefined;
}

/** In ascending order. */
export function consumedIndices(consumedSteps: string): number[] {
  const indices: number[] = [];
  for (let at = consumedSteps.indexOf('1'); at !== -1; at = consumedSteps.indexOf('1', at + 1))
    indices.push(at);
  return indices;
}
