/** The text of a moment is that of `toISOString`, whatever the moment and whichever came before. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatTimestamp, instantOrNull, LAST_INSTANT_MS } from '../../../src/domain/formats/rfc3339.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

test('it is what toISOString gives, for every moment that a date can be', () => {
  const moment = fc.oneof(
    fc.date({ noInvalidDate: true }),
    // Around the days on which the part that is remembered changes.
    fc
      .tuple(fc.integer({ min: -30_000, max: 30_000 }), fc.integer({ min: -2, max: 2 }))
      .map(([days, ms]) => new Date(days * 86_400_000 + ms)),
  );
  fc.assert(
    fc.property(fc.array(moment, { minLength: 1, maxLength: 8 }), (moments) => {
      for (const each of moments) assert.equal(formatTimestamp(each), each.toISOString());
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('a date that is none is refused, as by toISOString, and leaves nothing behind', () => {
  assert.throws(() => formatTimestamp(new Date(Number.NaN)), RangeError);
  assert.equal(formatTimestamp(new Date(0)), '1970-01-01T00:00:00.000Z');
});

test('a moment that has not come is null', () => {
  assert.equal(instantOrNull(null), null);
  assert.equal(instantOrNull(undefined), null);
  assert.equal(instantOrNull(new Date(1)), '1970-01-01T00:00:00.001Z');
});

test('the last instant is the last millisecond that has four digits for its year', () => {
  assert.equal(formatTimestamp(new Date(LAST_INSTANT_MS)), '9999-12-31T23:59:59.999Z');
  assert.match(new Date(LAST_INSTANT_MS + 1).toISOString(), /^\+010000-01-01/);
});
