/** Guarantees of the JSON readers (contract section 3): nothing coerced, nothing ignored, the first fault is pointed at. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  accept,
  fault,
  integer,
  list,
  mapped,
  members,
  oneOf,
  type Reader,
  text,
} from '../../../src/domain/json/json-decoders.ts';
import type { JsonValue } from '../../../src/domain/json/strict-json.ts';

interface Sample {
  readonly count?: number;
  readonly names?: readonly string[];
}
const sample = members<Sample>(
  new Map<string, Reader<Sample>>([
    ['count', mapped(integer(1, 9), (count) => ({ count }))],
    ['names', mapped(list(text(3), 2), (names) => ({ names }))],
    ['a/b~c', mapped(list(text(3)), () => ({}))],
  ]),
);

function pointerOf(value: JsonValue): string {
  const read = sample(value);
  assert.equal(read.ok, false, JSON.stringify(value));
  return read.ok ? '' : read.pointer;
}

test('members that are read are put together', () => {
  assert.deepEqual(sample({ names: ['a', 'b'], count: 9 }), accept({ names: ['a', 'b'], count: 9 }));
  assert.deepEqual(sample({}), accept({}));
});

test('a fault is pointed at as RFC 6901 says', () => {
  assert.equal(pointerOf({ count: 0 }), '/count');
  assert.equal(pointerOf({ names: ['a', 1] }), '/names/1');
  assert.equal(pointerOf({ names: ['a', 'b', 'c'] }), '/names');
  assert.equal(pointerOf({ 'a/b~c': ['', 'long'] }), '/a~1b~0c/1');
  assert.equal(pointerOf({ count: 1, 'x/y': 1 }), '/x~1y');
});

test('a member that no reader knows is a fault, also one that every object inherits', () => {
  const names = ['Count', 'counts', '', 'constructor', 'toString', 'hasOwnProperty'];
  for (const name of names) assert.equal(pointerOf({ [name]: 1 }), `/${name}`);
});

test('what is no object is not read as one', () => {
  for (const value of [null, true, 1, '', '{}', [], [{ count: 1 }]]) assert.equal(pointerOf(value), '');
});

test('a member that is null is a fault, not an absence', () => {
  assert.equal(pointerOf({ count: null }), '/count');
  assert.equal(pointerOf({ names: null }), '/names');
});

test('only a whole number within the bounds is an integer', () => {
  const read = integer(1, 9);
  for (const value of [1, 9, 2.0]) assert.deepEqual(read(value), accept(value));
  const refused: JsonValue[] = [
    0,
    10,
    1.5,
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '1',
    true,
    null,
    [1],
    {},
  ];
  for (const value of refused) assert.equal(read(value).ok, false, JSON.stringify(value));
});

test('only a short enough string is a text, only a list is a list', () => {
  assert.deepEqual(text(3)('abc'), accept('abc'));
  for (const value of ['abcd', 1, null, ['abc'], {}, true]) assert.equal(text(3)(value).ok, false);
  for (const value of ['', 'ab', null, { 0: 'a', length: 1 }, 1])
    assert.equal(list(text(3))(value).ok, false);
});

test('one of some values is read as its position, and nothing else is', () => {
  const read = oneOf(['Sunday', 'Monday'], 'a day');
  assert.deepEqual(read('Monday'), accept(1));
  for (const value of ['monday', 'Monday ', 1, null, ['Monday'], {}, -1]) {
    assert.deepEqual(read(value), fault('must be a day'), JSON.stringify(value));
  }
});
