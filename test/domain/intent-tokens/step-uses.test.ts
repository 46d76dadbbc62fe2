/** Whether a step may be used once more: as the naive ledger says, for every sequence of uses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  consumedIndices,
  RATE_WINDOW_SECONDS,
  refuseUse,
  type StepUses,
} from '../../../src/domain/intent-tokens/step-uses.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';
import { createUseLedger } from './use-ledger.ts';

const STEPS = 6;
const UNUSED: StepUses = { consumedSteps: '0'.repeat(STEPS), windowCount: 0, windowSecondsLeft: 0 };

const asked = fc.record({
  consumedStep: fc.option(fc.nat(STEPS - 1)),
  rateLimit: fc.option(fc.integer({ min: 1, max: 4 })),
});

test('a sequence of uses is refused where the naive ledger refuses it, and for the same reason', () => {
  const sequence = fc.array(fc.record({ asked, pauseSeconds: fc.constantFrom(0, 1, 900, 3599, 3600, 7200) }));
  fc.assert(
    fc.property(sequence, (uses) => {
      const ledger = createUseLedger();
      const bits = Array.from({ length: STEPS }, () => '0');
      let now = 0;
      let hour: { start: number; count: number } | undefined;
      for (const { asked, pauseSeconds } of uses) {
        now += pauseSeconds;
        if (hour !== undefined && now - hour.start >= RATE_WINDOW_SECONDS) hour = undefined;
        const known: StepUses = {
          consumedSteps: bits.join(''),
          windowCount: hour?.count ?? 0,
          windowSecondsLeft: hour === undefined ? 0 : hour.start + RATE_WINDOW_SECONDS - now,
        };
        const refusal = refuseUse(known, asked);
        assert.equal(refusal?.code, ledger.use(asked, now));
        if (refusal !== undefined) continue;
        if (asked.consumedStep !== null) bits[asked.consumedStep] = '1';
        if (asked.rateLimit !== null) hour = { start: hour?.start ?? now, count: (hour?.count ?? 0) + 1 };
      }
      assert.deepEqual(consumedIndices(bits.join('')), ledger.consumed());
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('a consumed step is told before a limit that is reached, and a limit tells when its hour ends', () => {
  const full: StepUses = { consumedSteps: '100000', windowCount: 3, windowSecondsLeft: 59.2 };
  assert.equal(refuseUse(full, { consumedStep: 0, rateLimit: 3 })?.code, 'STEP_CONSUMED');
  const limited = refuseUse(full, { consumedStep: 1, rateLimit: 3 });
  assert.equal(limited?.code, 'RATE_LIMIT');
  assert.match(limited.reason, /ends in 60 s\./);
  assert.equal(refuseUse(full, { consumedStep: 1, rateLimit: 4 }), undefined, 'a limit that has room');
  assert.equal(refuseUse(full, { consumedStep: 1, rateLimit: null }), undefined, 'no limit');
});

test('nothing that was not asked for is in the way', () => {
  assert.equal(refuseUse(UNUSED, { consumedStep: null, rateLimit: null }), undefined);
  const spent: StepUses = { consumedSteps: '1'.repeat(STEPS), windowCount: 9, windowSecondsLeft: 1 };
  assert.equal(refuseUse(spent, { consumedStep: null, rateLimit: null }), undefined);
});

test('the indices of consumed steps are those of the ones', () => {
  assert.deepEqual(consumedIndices(''), []);
  assert.deepEqual(consumedIndices('000'), []);
  assert.deepEqual(consumedIndices('101'), [0, 2]);
  assert.equal(consumedIndices('1'.repeat(1000)).length, 1000);
});
