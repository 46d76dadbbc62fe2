/** Guarantees of lifetimes (contract sections 4.1 and 5.1), against `vectors/scopes.json`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readTtlSeconds, readValiditySeconds, type TtlMembers } from '../../../src/domain/formats/ttl.ts';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const DAY = 86_400;
const malformed = { ok: false, code: 'INVALID_TTL' };
const outOfRange = { ok: false, code: 'TTL_OUT_OF_RANGE' };

test('every ttl vector gives the seconds or the code listed', () => {
  assert.ok(vectors.ttl.length >= 31);
  for (const row of vectors.ttl) {
    const expected =
      row.seconds === undefined ? { ok: false, code: row.error } : { ok: true, seconds: row.seconds };
    assert.deepEqual(readTtlSeconds(row.body as TtlMembers), expected, JSON.stringify(row.body));
  }
});

test('two spellings that differ are refused, also when both are out of range', () => {
  for (const [ttl, ttl_seconds] of [
    ['1h', 3601],
    [600, 601],
    ['15m', 300],
    [1, 2],
    ['7d', DAY],
  ] as const) {
    assert.deepEqual(readTtlSeconds({ ttl, ttl_seconds }), { ok: false, code: 'VALIDATION_ERROR' });
  }
});

test('two spellings that agree are one, and are still held to the range', () => {
  assert.deepEqual(readTtlSeconds({ ttl: '15m', ttl_seconds: 900 }), { ok: true, seconds: 900 });
  assert.deepEqual(readTtlSeconds({ ttl: '7d', ttl_seconds: 7 * DAY }), outOfRange);
});

test('a malformed spelling is refused beside a good one', () => {
  assert.deepEqual(readTtlSeconds({ ttl: '1H', ttl_seconds: 3600 }), malformed);
  assert.deepEqual(readTtlSeconds({ ttl: '1h', ttl_seconds: 3600.5 }), malformed);
});

test('null is absent', () => {
  assert.deepEqual(readTtlSeconds({ ttl: null, ttl_seconds: null }), { ok: true, seconds: 3600 });
  assert.deepEqual(readTtlSeconds({ ttl: '5m', ttl_seconds: null }), { ok: true, seconds: 300 });
  assert.deepEqual(readValiditySeconds(null), { ok: true, seconds: 60 });
});

test('ttl_seconds is a number only: text is not coerced', () => {
  for (const ttl_seconds of ['900', '15m', '', true, false, [], {}, [900]]) {
    assert.deepEqual(readTtlSeconds({ ttl_seconds }), malformed, JSON.stringify(ttl_seconds));
  }
});

test('the bounds are part of the range, their neighbours are not', () => {
  for (const seconds of [300, DAY])
    assert.deepEqual(readTtlSeconds({ ttl_seconds: seconds }), { ok: true, seconds });
  for (const seconds of [1, 299, DAY + 1, Number.MAX_SAFE_INTEGER]) {
    assert.deepEqual(readTtlSeconds({ ttl_seconds: seconds }), outOfRange);
  }
  for (const seconds of [1, 60, DAY]) assert.deepEqual(readValiditySeconds(seconds), { ok: true, seconds });
  for (const seconds of [DAY + 1, 1e9]) assert.deepEqual(readValiditySeconds(seconds), outOfRange);
});

test('a validity is a positive whole number of seconds or it is refused', () => {
  const refused: JsonValue[] = [
    0,
    -0,
    -1,
    0.5,
    60.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '60',
    '',
    true,
    [],
    {},
  ];
  for (const value of refused) assert.deepEqual(readValiditySeconds(value), malformed, JSON.stringify(value));
});

test('a whole number beyond every range is out of range, however large', () => {
  for (const value of [86_401, 2 ** 53, 1e21, 1e300])
    assert.deepEqual(readValiditySeconds(value), outOfRange);
});

test('another range has its own default and bounds', () => {
  const range = { minSeconds: 10, maxSeconds: 20, defaultSeconds: 15 };
  assert.deepEqual(readValiditySeconds(undefined, range), { ok: true, seconds: 15 });
  assert.deepEqual(readValiditySeconds(20, range), { ok: true, seconds: 20 });
  assert.deepEqual(readValiditySeconds(9, range), outOfRange);
  assert.deepEqual(readValiditySeconds(21, range), outOfRange);
});

test('a text means the number times its unit, never something near it', () => {
  const units = { '': 1, s: 1, m: 60, h: 3600, d: DAY };
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 999_999 }),
      fc.constantFrom('', 's', 'm', 'h', 'd'),
      (count, unit) => {
        const seconds = count * units[unit];
        const expected = seconds >= 300 && seconds <= DAY ? { ok: true, seconds } : outOfRange;
        assert.deepEqual(readTtlSeconds({ ttl: `${count}${unit}` }), expected);
      },
    ),
  );
});

test('what is neither text nor number is refused, also if it would turn into one', () => {
  for (const value of notTexts('900').filter((item) => item !== undefined && item !== null)) {
    assert.deepEqual(readTtlSeconds({ ttl: untyped(value) }), malformed);
    assert.deepEqual(readValiditySeconds(untyped(value)), malformed);
  }
});
