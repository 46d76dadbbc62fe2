/**
 * The naive reference of uses (contract section 4.6): it keeps every use that it ever granted, with its time, and reads
 * through all of them for each question.
 */
import { type AskedUse, RATE_WINDOW_SECONDS } from '../../../src/domain/intent-tokens/step-uses.ts';

export type LedgerCode = 'STEP_CONSUMED' | 'RATE_LIMIT' | undefined;

export interface UseLedger {
  /** Undefined: granted, and written down. */
  use(asked: AskedUse, atSeconds: number): LedgerCode;
  /** Ascending. */
  consumed(): number[];
  /** Counted in the hour that runs. */
  counted(atSeconds: number): number;
}

export function createUseLedger(): UseLedger {
  const consumed: number[] = [];
  const hours: { readonly start: number; readonly times: number[] }[] = [];
  const running = (at: number) => hours.find(({ start }) => at - start < RATE_WINDOW_SECONDS);
  return {
    use: ({ consumedStep, rateLimit }, at) => {
      if (consumedStep !== null && consumed.includes(consumedStep)) return 'STEP_CONSUMED';
      const hour = running(at);
      if (rateLimit !== null && hour !== undefined && hour.times.length >= rateLimit) return 'RATE_LIMIT';
      if (consumedStep !== null) consumed.push(consumedStep);
      if (rateLimit !== null) {
        if (hour === undefined) hours.push({ start: at, times: [at] });
        else hour.times.push(at);
      }
      return undefined;
    },
    consumed: () => consumed.toSorted((a, b) => a - b),
    counted: (at) => running(at)?.times.length ?? 0,
  };
}
