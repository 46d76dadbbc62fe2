/** What the seal of a row covers: the published vectors, and that no two rows have one text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rowMessage, type SealedValue } from '../../../src/domain/formats/row-message.ts';
import vectors from '../../vectors/row-seals.json' with { type: 'json' };

test('the published messages', () => {
  for (const { table, values, message } of vectors.rows) assert.equal(rowMessage(table, values), message);
  assert.equal(new Set(vectors.rows.map(({ message }) => message)).size, vectors.rows.length);
});

/** Tries to look like structure. */
const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', 'null', '0', '","', '"],"', '\\', '\\"', '[]', '["a"]', '\u0000', '\u2028', '\ud800'),
);
const value: fc.Arbitrary<SealedValue> = fc.oneof(
  text,
  fc.integer(),
  fc.constant(null),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY, 0.5),
);

/** The same question, asked without a text. */
const isSame = (
  one: readonly [string, readonly SealedValue[]],
  other: readonly [string, readonly SealedValue[]],
): boolean =>
  one[0] === other[0] &&
  one[1].length === other[1].length &&
  one[1].every((item, index) => item === other[1][index]);

test('two rows have one text only where they are the same row', () => {
  const row = fc.tuple(text, fc.array(value, { maxLength: 4 }));
  fc.assert(
    fc.property(row, row, (one, other) => {
      assert.equal(rowMessage(...one) === rowMessage(...other), isSame(one, other));
    }),
  );
  fc.assert(
    fc.property(row, fc.nat(), value, (one, at, changed) => {
      const values = [...one[1]];
      if (values.length > 0) values[at % values.length] = changed;
      assert.equal(rowMessage(one[0], values) === rowMessage(...one), isSame([one[0], values], one));
    }),
  );
});

test('a number that no column holds is not read as null, nor as another number', () => {
  const odd = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0.5, 2 ** 60];
  const texts = [...odd, null, 0, 1].map((item) => rowMessage('t', [item]));
  assert.equal(new Set(texts).size, texts.length);
});

test('with flags as well, and without one a row says what it said before there were flags', () => {
  const flags = fc.tuple(fc.constantFrom('one', null), fc.constantFrom('two', null));
  const row = fc.tuple(text, fc.tuple(value, value), flags);
  fc.assert(
    fc.property(row, row, ([table, values, set], [otherTable, otherValues, otherSet]) => {
      const message = rowMessage(table, [...values, ...set], set.length);
      const other = rowMessage(otherTable, [...otherValues, ...otherSet], otherSet.length);
      assert.equal(
        message === other,
        isSame([table, [...values, ...set]], [otherTable, [...otherValues, ...otherSet]]),
      );
      if (set.every((flag) => flag === null)) assert.equal(message, rowMessage(table, values));
    }),
  );
});
