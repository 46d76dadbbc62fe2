/** The canonical writer: one text per value, nothing written that two implementations would print differently. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CanonicalJson, canonicalJson, canonicalText } from '../../../src/domain/json/canonical-json.ts';
import { type JsonValue, readStrictJson } from '../../../src/domain/json/strict-json.ts';
import { WritError } from '../../../src/errors.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { everyTypeExcept } from '../every-type.ts';

interface Vector {
  name: string;
  wire?: string;
  wire_base64?: string;
  expect: { accept: true; canonical: string; sha256: string } | { accept: false; reason: string };
}
const { vectors }: { vectors: Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/canonical-json.json', import.meta.url), 'utf8'),
);

/** Reader and writer together, as a request body passes them. */
function canonical(bytes: Uint8Array): CanonicalJson | { ok: false; reason: string } {
  const read = readStrictJson(bytes);
  return read.ok ? canonicalJson(read.value, read.underflowed) : read;
}
const canonicalOf = (text: string) => canonical(new TextEncoder().encode(text));

function refuses(value: JsonValue, reason: string): void {
  assert.deepEqual(canonicalJson(value), { ok: false, reason });
}

for (const { name, wire, wire_base64, expect } of vectors) {
  test(`vector ${name} is ${expect.accept ? 'written as published' : `refused as ${expect.reason}`}`, () => {
    const result =
      wire === undefined ? canonical(Buffer.from(wire_base64 ?? '', 'base64')) : canonicalOf(wire);
    if (!expect.accept) {
      assert.deepEqual(result, { ok: false, reason: expect.reason });
      return;
    }
    assert.deepEqual(result, { ok: true, text: expect.canonical });
    assert.equal(createHash('sha256').update(expect.canonical).digest('hex'), expect.sha256);
  });
}

test('there are vectors of both kinds', () => {
  assert.ok(vectors.filter(({ expect }) => expect.accept).length >= 25);
  assert.ok(vectors.filter(({ expect }) => !expect.accept).length >= 25);
});

const aValue = fc
  .jsonValue({ stringUnit: fc.oneof(fc.constantFrom('a', 'é', '\u007f', '"', '\\', '\u2028'), fc.string()) })
  .map((value): JsonValue => JSON.parse(JSON.stringify(value)))
  // The reader refuses such a member, so nothing that is written has one.
  .filter((value) => !JSON.stringify(value).includes('"__proto__"'));

test('reading a canonical text and writing it again gives the same text and the same value', () => {
  fc.assert(
    fc.property(aValue, (value) => {
      const first = canonicalJson(value);
      fc.pre(first.ok);
      const read = readStrictJson(new TextEncoder().encode(first.text));
      assert.ok(read.ok);
      assert.deepEqual(read.value, value);
      assert.deepEqual(canonicalJson(read.value, read.underflowed), first);
    }),
  );
});

test('a canonical text is printable ASCII without white space outside strings', () => {
  fc.assert(
    fc.property(aValue, (value) => {
      const result = canonicalJson(value);
      fc.pre(result.ok);
      assert.match(result.text, /^[ -~]*$/);
      assert.doesNotMatch(result.text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""'), /\s/);
    }),
  );
});

test('the order in which members were written does not matter, and any change of a value does', () => {
  const members = fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), {
    selector: ([name]) => name,
    minLength: 1,
  });
  fc.assert(
    fc.property(members, fc.nat(), (entries, at) => {
      fc.pre(!entries.some(([name]) => name === '__proto__'));
      const text = canonicalText(Object.fromEntries(entries));
      assert.equal(canonicalText(Object.fromEntries(entries.toReversed())), text);
      const changed = entries.map(([name, value], index) => [
        name,
        index === at % entries.length ? value + 1 : value,
      ]);
      assert.notEqual(canonicalText(Object.fromEntries(changed)), text);
    }),
  );
});

test('members are sorted by code point and not by locale, length or number', () => {
  const names = ['é', 'z', 'Z', 'aa', 'a', '10', '9', '', '\uffff', '\ue000', '_', '-'];
  const sorted = names.toSorted((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
  const text = canonicalText(Object.fromEntries(names.map((name) => [name, 0])));
  assert.equal(text, `{${sorted.map((name) => `${canonicalText(name)}:0`)}}`);
});

for (const value of [2 ** 53, -(2 ** 53), 1e21, Number.MAX_VALUE, Number.NaN, Number.POSITIVE_INFINITY]) {
  test(`${value} is refused, alone and at any depth`, () => {
    refuses(value, 'number_out_of_range');
    refuses({ a: [{ b: value }] }, 'number_out_of_range');
    refuses([0, value, 0], 'number_out_of_range');
  });
}

for (const [text, reason] of [
  ['["\\u0000"]', 'nul_character'],
  ['{"\\u0000":1}', 'nul_character'],
  ['{"a\\ud83d\\ude00":1}', 'astral_key'],
  ['[{"x":{"\\ud800\\udc00":1}}]', 'astral_key'],
  ['{"a":9007199254740991.5}', 'number_out_of_range'],
  ['{"a":-1e-400}', 'number_out_of_range'],
  ['[[0.0],[1e-999,0]]', 'number_out_of_range'],
] as const) {
  test(`${text} has no canonical form: ${reason}`, () => {
    assert.deepEqual(canonicalOf(text), { ok: false, reason });
  });
}

test('half a surrogate pair is refused in a text and in a name', () => {
  for (const half of ['\ud800', 'a\udfffb', '😀\ud83d', '\udc00\ud800']) {
    refuses(half, 'lone_surrogate');
    refuses({ [half]: 1 }, 'lone_surrogate');
  }
});

test('numbers up to 2^53 - 1 are written as ECMAScript prints them, and -0 as 0', () => {
  assert.equal(
    canonicalText([-0, 2 ** 53 - 1, -(2 ** 53 - 1), 1e-7, 0.1, 1.5e300 / 1e300]),
    '[0,9007199254740991,-9007199254740991,1e-7,0.1,1.5]',
  );
});

test('characters above the basic plane are written as two escapes', () => {
  assert.equal(canonicalText(['😀', 'é\u007f~']), '["\\ud83d\\ude00","\\u00e9\\u007f~"]');
});

test('a text that the caller wrote already is put in at its place only', () => {
  const inner = { b: 1 };
  assert.deepEqual(canonicalJson({ x: inner, a: { b: 1 } }, undefined, new Map([[inner, '{"b":2}']])), {
    ok: true,
    text: '{"a":{"b":1},"x":{"b":2}}',
  });
});

test('a value of our own without a canonical form is a bug, not a refusal', () => {
  for (const value of [Number.NaN, { a: 2 ** 60 }, '\0', { '😀': 1 }]) {
    assert.throws(
      () => canonicalText(value),
      (error) => error instanceof Error && !(error instanceof WritError),
    );
  }
});

const isJson = (value: unknown) =>
  value === null ||
  ['string', 'number', 'boolean'].includes(typeof value) ||
  Array.isArray(value) ||
  (value instanceof Object && Object.getPrototypeOf(value) === Object.prototype);

for (const [name, value] of everyTypeExcept(isJson)) {
  test(`${name} is a TypeError and never written as something else`, () => {
    for (const place of [value, [value], { a: value }]) {
      assert.throws(() => canonicalJson(place as JsonValue), TypeError);
    }
  });
}

test('a list with a hole is a TypeError', () => {
  assert.throws(() => canonicalJson(new Array(2)), TypeError);
});

test('an own toJSON is a member like any other', () => {
  assert.equal(canonicalText({ toJSON: 'x', constructor: 1 }), '{"constructor":1,"toJSON":"x"}');
});

for (const [what, value] of [
  ['quotation marks', '"'.repeat(2 ** 20)],
  ['non-ASCII text', 'é'.repeat(2 ** 20)],
  ['small lists', Array.from({ length: 2 ** 18 }, () => [])],
  [
    'members in reverse',
    Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`k${99_999 - index}`, 1])),
  ],
] as const) {
  test(`a million ${what} are written in time linear in their number`, () => {
    const write = () => assert.ok(canonicalJson(value as JsonValue).ok);
    assertCostsUnder({ floors: 15000 }, write);
  });
}
