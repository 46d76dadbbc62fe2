/** Guarantees of access tiers (contract section 6): every pair of them, decided by hand. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACCESS_TIERS, isLowerTier, tierOpens } from '../../../src/domain/secrets/access-tier.ts';

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
