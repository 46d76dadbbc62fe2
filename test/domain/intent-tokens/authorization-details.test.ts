/** Guarantees of the claim that names a plan's steps (RFC 9396, contract section 4.5), against JSON.stringify. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  authorizationDetailsMember,
  MAX_AUTHORIZATION_DETAILS_BYTES,
} from '../../../src/domain/intent-tokens/authorization-details.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

interface Step {
  readonly action: string;
  readonly mcp: string | undefined;
}

/** The claim in as many words as it has. */
function reference(steps: readonly Step[]): object {
  const details = steps.map(({ action, mcp }, index) => ({
    type: 'writ_step',
    step_index: index,
    ...(mcp === undefined ? {} : { locations: [mcp] }),
    actions: [action],
  }));
  const bytes = Buffer.byteLength(JSON.stringify(details));
  return bytes <= 8192 ? { authorization_details: details } : { authorization_details_omitted: true };
}

const memberOf = (steps: readonly Step[]): object =>
  JSON.parse(`{${authorizationDetailsMember(steps)}}`) as object;

const characters = (alphabet: string) =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength: 128, size: 'max' });
const NAME = 'ABCXYZabcxyz0189_.:@+=~-';
const step = fc.record({
  action: characters(`${NAME}/`),
  mcp: fc.option(characters(NAME), { nil: undefined }),
});
/** About as many below the limit as above. */
const steps = fc.array(step, { minLength: 1, maxLength: 80, size: 'max' });

test('the claim is what JSON.stringify writes of each step, or the word that it was left out', () => {
  let written = 0;
  fc.assert(
    fc.property(steps, (plan) => {
      const expected = reference(plan);
      written += 'authorization_details' in expected ? 1 : 0;
      assert.equal(`{${authorizationDetailsMember(plan)}}`, JSON.stringify(expected));
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(written > 0 && written < PROPERTY_RUNS, `${written} of ${PROPERTY_RUNS}`);
});

test('a claim of exactly 8 KiB is written, and one byte more leaves it out', () => {
  const unit = JSON.stringify([{ type: 'writ_step', step_index: 0, actions: [''] }]).length;
  const exactly = (bytes: number): Step[] => {
    const plan: Step[] = [];
    const lengthOf = (list: readonly Step[]) =>
      JSON.stringify(
        list.map(({ action }, index) => ({ type: 'writ_step', step_index: index, actions: [action] })),
      ).length;
    while (plan.length === 0 || lengthOf(plan) + unit + 128 < bytes)
      plan.push({ action: 'a'.repeat(40), mcp: undefined });
    // The last step takes up what is missing.
    const missing = bytes - lengthOf([...plan, { action: '', mcp: undefined }]);
    return [...plan, { action: 'b'.repeat(missing), mcp: undefined }];
  };
  const most = exactly(MAX_AUTHORIZATION_DETAILS_BYTES);
  const { authorization_details: details } = memberOf(most) as { authorization_details: object[] };
  assert.equal(JSON.stringify(details).length, MAX_AUTHORIZATION_DETAILS_BYTES);
  const tooMuch = exactly(MAX_AUTHORIZATION_DETAILS_BYTES + 1);
  assert.deepEqual(memberOf(tooMuch), { authorization_details_omitted: true });
});
