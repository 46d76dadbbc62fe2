/** Guarantees of access tiers (contract section 6): every pair of them, decided by hand. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  ACCESS_TIERS,
  type AccessTier,
  isLowerTier,
  type TierDenial,
  tierDenial,
  tierOpens,
} from '../../../src/domain/secrets/access-tier.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

/** One row per pair. */
const PAIRS = [
  { one: 'standard', other: 'standard', oneOpensOther: true, oneIsLower: false },
  { one: 'standard', other: 'sensitive', oneOpensOther: false, oneIsLower: true },
  { one: 'standard', other: 'critical', oneOpensOther: false, oneIsLower: true },
  { one: 'sensitive', other: 'standard', oneOpensOther: true, oneIsLower: false },
  { one: 'sensitive', other: 'sensitive', oneOpensOther: true, oneIsLower: false },
  { one: 'sensitive', other: 'critical', oneOpensOther: false, oneIsLower: true },
  { one: 'critical', other: 'standard', oneOpensOther: true, oneIsLower: false },
  { one: 'critical', other: 'sensitive', oneOpensOther: true, oneIsLower: false },
  { one: 'critical', other: 'critical', oneOpensOther: true, oneIsLower: false },
] as const;

test('there are three tiers, from the lowest to the highest, and the table has all pairs', () => {
  assert.deepEqual(ACCESS_TIERS, ['standard', 'sensitive', 'critical']);
  const pairs = ACCESS_TIERS.flatMap((one) => ACCESS_TIERS.map((other) => `${one} ${other}`));
  assert.deepEqual(
    PAIRS.map(({ one, other }) => `${one} ${other}`),
    pairs,
  );
});

test('a tier opens itself and what is below it, never what is above', () => {
  for (const { one, other, oneOpensOther } of PAIRS) {
    assert.equal(tierOpens({ granted: one, stored: other }), oneOpensOther, `${one} on ${other}`);
  }
});

test('lowering is to go below what is stored; to keep or to raise it is not', () => {
  for (const { one, other, oneIsLower } of PAIRS) {
    assert.equal(isLowerTier({ asked: one, stored: other }), oneIsLower, `${other} to ${one}`);
  }
});

/** The contract's sentences once more, on lists, each for itself. */
function expectedDenial(
  tier: AccessTier,
  bound: readonly (readonly [id: string, tier: AccessTier])[] | undefined,
  secret: { id: string; tier: AccessTier },
): TierDenial | undefined {
  const rank = (one: AccessTier) => ['standard', 'sensitive', 'critical'].indexOf(one);
  if (rank(secret.tier) === 0) return undefined;
  const entry = bound?.find(([id]) => id === secret.id);
  if (entry !== undefined && rank(entry[1]) < rank(secret.tier)) return 'RAISED_SINCE_APPROVAL';
  if (rank(tier) < rank(secret.tier)) return 'TIER_TOO_HIGH';
  return bound !== undefined && entry === undefined ? 'NOT_IN_APPROVAL' : undefined;
}

test('what a credential opens is what its tier and its approval both allow', () => {
  const tier = fc.constantFrom(...ACCESS_TIERS);
  const id = fc.constantFrom('a', 'b', 'c');
  const bound = fc.option(fc.uniqueArray(fc.tuple(id, tier), { selector: ([name]) => name }), {
    nil: undefined,
  });
  fc.assert(
    fc.property(tier, bound, fc.record({ id, tier }), (granted, entries, secret) => {
      const grant = { tier: granted, bound: entries === undefined ? undefined : new Map(entries) };
      const denial = tierDenial(grant, secret);
      assert.equal(denial, expectedDenial(granted, entries, secret));
      // Whatever is bound, nothing opens that the tier alone would not.
      if (denial === undefined) assert.ok(tierOpens({ granted, stored: secret.tier }));
      // What is not named opens only if it is standard.
      const unnamed = { ...secret, id: 'd' };
      if (entries !== undefined && tierDenial(grant, unnamed) === undefined) {
        assert.equal(secret.tier, 'standard');
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('each refusal, decided by hand', () => {
  const bound = new Map<string, AccessTier>([
    ['critical', 'critical'],
    ['sensitive', 'sensitive'],
  ]);
  for (const [grant, id, stored, denial] of [
    [{ tier: 'standard', bound: undefined }, 'any', 'sensitive', 'TIER_TOO_HIGH'],
    [{ tier: 'critical', bound: undefined }, 'any', 'critical', undefined],
    [{ tier: 'critical', bound }, 'critical', 'critical', undefined],
    [{ tier: 'critical', bound }, 'critical', 'sensitive', undefined],
    [{ tier: 'critical', bound }, 'sensitive', 'sensitive', undefined],
    [{ tier: 'critical', bound }, 'sensitive', 'critical', 'RAISED_SINCE_APPROVAL'],
    [{ tier: 'critical', bound }, 'other', 'sensitive', 'NOT_IN_APPROVAL'],
    [{ tier: 'critical', bound }, 'other', 'standard', undefined],
    [{ tier: 'sensitive', bound }, 'critical', 'critical', 'TIER_TOO_HIGH'],
    [{ tier: 'critical', bound: new Map() }, 'any', 'sensitive', 'NOT_IN_APPROVAL'],
  ] as const) {
    assert.equal(tierDenial(grant, { id, tier: stored }), denial, `${id} ${stored}`);
  }
});
