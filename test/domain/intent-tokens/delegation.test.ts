/** What may be passed on of an intent token (contract section 4.7), against a naive reference and random chains. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type DelegableToken,
  type DelegationRequest,
  decideDelegation,
  MAX_DELEGATIONS,
} from '../../../src/domain/intent-tokens/delegation.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

const NOW = 1_800_000_000;
const ACTIONS = ['a', 'b', 'c', 'd'];

const someActions = fc.subarray(ACTIONS, { minLength: 1 });
const request: fc.Arbitrary<DelegationRequest> = fc.record({
  // Also actions that nobody has, and the same one twice.
  allowedActions: fc.option(fc.array(fc.constantFrom(...ACTIONS, 'x'), { minLength: 1, maxLength: 5 }), {
    nil: undefined,
  }),
  validitySeconds: fc.integer({ min: 1, max: 100 }),
});

/** Word for word what the contract says. */
function reference(parent: DelegableToken, asked: DelegationRequest, now: number) {
  if (parent.depth >= 5) return 'FORBIDDEN';
  const own = parent.allowedActions ?? parent.planActions;
  for (const action of asked.allowedActions ?? []) if (!own.includes(action)) return 'SCOPE_DENIED';
  const end = now + asked.validitySeconds;
  return {
    actions: ACTIONS.filter((action) => (asked.allowedActions ?? own).includes(action)),
    end: end < parent.expiresAtSeconds ? end : parent.expiresAtSeconds,
  };
}

test('a delegation is what the contract says, whatever is asked of whatever token', () => {
  const met = new Set<string>();
  fc.assert(
    fc.property(
      someActions,
      fc.option(someActions, { nil: undefined }),
      fc.integer({ min: 0, max: 6 }),
      fc.integer({ min: 1, max: 100 }),
      request,
      (planActions, narrowed, depth, left, asked) => {
        const allowedActions = narrowed?.filter((action) => planActions.includes(action));
        const parent = { expiresAtSeconds: NOW + left, allowedActions, planActions, depth };
        const decided = decideDelegation(parent, asked, NOW);
        const expected = reference(parent, asked, NOW);
        met.add(typeof expected === 'string' ? expected : 'granted');
        if (typeof expected === 'string')
          return assert.equal(decided.ok ? 'granted' : decided.code, expected);
        assert.ok(decided.ok);
        assert.deepEqual(
          [[...decided.allowedActions].sort(), decided.expiresAtSeconds],
          [expected.actions, expected.end],
        );
        return undefined;
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
  assert.deepEqual([...met].sort(), ['FORBIDDEN', 'SCOPE_DENIED', 'granted']);
});

test('no chain of delegations ever allows what a token above it does not', () => {
  let links = 0;
  fc.assert(
    fc.property(someActions, fc.array(request, { maxLength: 8 }), (planActions, chain) => {
      let above: DelegableToken = {
        expiresAtSeconds: NOW + 50,
        allowedActions: undefined,
        planActions,
        depth: 0,
      };
      let now = NOW;
      for (const asked of chain) {
        now += 1;
        const decided = decideDelegation(above, asked, now);
        if (!decided.ok) continue;
        const own = above.allowedActions ?? planActions;
        for (const action of decided.allowedActions) assert.ok(own.includes(action), action);
        assert.ok(decided.expiresAtSeconds <= above.expiresAtSeconds);
        above = { ...decided, planActions, depth: above.depth + 1 };
        links += 1;
        assert.ok(above.depth <= MAX_DELEGATIONS);
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(links > PROPERTY_RUNS / 10, `${links} delegations were granted`);
});

test('a refusal names each action that is too much, once', () => {
  const parent = { expiresAtSeconds: NOW + 1, allowedActions: ['a'], planActions: ['a', 'b'], depth: 0 };
  const asked = { allowedActions: ['b', 'a', 'x', 'b'], validitySeconds: 1 };
  assert.deepEqual(decideDelegation(parent, asked, NOW), {
    ok: false,
    code: 'SCOPE_DENIED',
    excess: ['b', 'x'],
  });
});
