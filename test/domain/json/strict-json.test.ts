/** The strict reader: what it refuses, and that it agrees with JSON.parse on the rest. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type JsonValue, readStrictJson } from '../../../src/domain/json/strict-json.ts';
import { PROPERTY_RUNS, RARE_CASE_RUNS } from '../../support/effort.ts';
import { anyCharacter } from '../any-character.ts';
import { everyTypeExcept } from '../every-type.ts';

const READER_REASONS = [
  'invalid_utf8',
  'bom',
  'syntax',
  'duplicate_key',
  'forbidden_key',
  'lone_surrogate',
  'too_deep',
];

const utf8 = (text: string) => new TextEncoder().encode(text);
const read = (text: string) => readStrictJson(utf8(text));

function mustRead(text: string): JsonValue {
  const result = read(text);
  assert.ok(result.ok, `refused: ${text.slice(0, 80)}`);
  return result.value;
}

function refuses(text: string, reason: string): void {
  assert.deepEqual(read(text), { ok: false, reason }, text.slice(0, 80));
}

interface Vector {
  name: string;
  wire?: string;
  wire_base64?: string;
  expect: { accept: boolean; reason?: string };
}
const { vectors }: { vectors: Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/canonical-json.json', import.meta.url), 'utf8'),
);

for (const { name, wire, wire_base64, expect } of vectors) {
  const reason = READER_REASONS.find((known) => known === expect.reason);
  test(`vector ${name} is ${reason === undefined ? 'read' : `refused as ${reason}`}`, () => {
    const result = readStrictJson(wire === undefined ? Buffer.from(wire_base64 ?? '', 'base64') : utf8(wire));
    if (reason === undefined) assert.ok(result.ok);
    else assert.deepEqual(result, { ok: false, reason });
  });
}

const SYNTAX = [
  '',
  ' ',
  '{',
  '[1',
  '"',
  '"\\',
  '"\\u12"',
  '"\\x"',
  '{"a"}',
  '{"a":}',
  '{a:1}',
  "{'a':1}",
  '[,1]',
];
SYNTAX.push(
  '+1',
  '1e',
  '-',
  '- 1',
  'NaN',
  'nul',
  'tru e',
  '"\t"',
  '"\n"',
  '[1 2]',
  '\u00a0{}',
  '{}\0',
  '{} {}',
);

for (const text of SYNTAX) {
  test(`${JSON.stringify(text)} is refused as bad syntax`, () => refuses(text, 'syntax'));
}

for (const [what, bytes] of [
  ['an overlong NUL', [0x22, 0xc0, 0x80, 0x22]],
  ['an overlong quotation mark', [0xc0, 0xa2]],
  ['a truncated character', [0x22, 0xe2, 0x82]],
  ['a stray continuation byte', [0x22, 0x80, 0x22]],
  ['a character above U+10FFFF', [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
  ['a raw surrogate pair (CESU-8)', [0x22, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, 0x22]],
  ['a UTF-16 byte order mark', [0xff, 0xfe, 0x31, 0x00]],
] as const) {
  test(`${what} is refused as invalid UTF-8`, () => {
    assert.deepEqual(readStrictJson(Uint8Array.from(bytes)), { ok: false, reason: 'invalid_utf8' });
  });
}

test('a byte order mark is refused, and as text inside a string it is read', () => {
  refuses('\ufeff{}', 'bom');
  refuses('\ufeff', 'bom');
  assert.equal(mustRead('"\ufeff"'), '\ufeff');
});

for (const text of [
  '{"a":1,"a":1}',
  '{"a":1,"b":2,"a":3}',
  '{"a":1,"\\u0061":2}',
  '{"\\/":1,"/":2}',
  '{"é":1,"\\u00e9":2}',
  '{"":1,"":2}',
  '{"1":1,"1":2}',
  '{"a":{"x":1,"y":[{}]},"a":{"x":1,"y":[{}]}}',
  '{"a":{"x":1},"a":1,"b":2}',
  '[[{"k":null,"k":null}]]',
  '{"constructor":1,"constructor":2}',
]) {
  test(`a duplicate member is refused in ${text}`, () => refuses(text, 'duplicate_key'));
}

test('a text is refused exactly if one of its objects names a member twice', () => {
  const name = fc.constantFrom(
    'a',
    'b',
    '\\u0061',
    '\\u0062',
    '1',
    '01',
    'A',
    '',
    ':',
    '\\"',
    '{',
    'toString',
  );
  const { text } = fc.letrec<{ text: string; object: string }>((tie) => ({
    text: fc.oneof({ maxDepth: 4 }, fc.constantFrom('1', '"a:b"', '[]', '{}', 'null'), tie('object')),
    object: fc.array(fc.tuple(name, tie('text')), { maxLength: 4 }).map((members) => {
      const names = members.map(([written]) => JSON.parse(`"${written}"`));
      const unique =
        new Set(names).size === names.length && !members.some(([, value]) => value.startsWith('!'));
      return `${unique ? '' : '!'}{${members.map(([key, value]) => `"${key}":${value.replace('!', '')}`)}}`;
    }),
  }));
  fc.assert(
    fc.property(text, (written) => {
      const result = read(written.replace('!', ''));
      if (written.startsWith('!')) assert.deepEqual(result, { ok: false, reason: 'duplicate_key' });
      else assert.ok(result.ok);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

for (const text of ['{"__proto__":1}', '{"\\u005f_proto__":{}}', '[{"a":{"__proto__":null}}]']) {
  test(`a member __proto__ is refused in ${text}`, () => refuses(text, 'forbidden_key'));
}

test('members named like those of Object.prototype are ordinary own members', () => {
  const names = Object.getOwnPropertyNames(Object.prototype).filter((name) => name !== '__proto__');
  const value = mustRead(`{${names.map((name) => `"${name}":1`)}}`);
  assert.ok(typeof value === 'object' && value !== null && names.length > 5);
  assert.deepEqual(Object.keys(value).sort(), [...names].sort());
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(mustRead('"__proto__"'), '__proto__');
});

test('a number beyond the range of a double reads as infinite', () => {
  assert.deepEqual(mustRead('[1e400,-1e400]'), [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
});

const aText = fc
  .json({ stringUnit: anyCharacter, depthSize: 'medium' })
  .filter((text) => !text.includes('__proto__'));

test('every valid document has the value that JSON.parse gives', () => {
  fc.assert(fc.property(aText, (text) => assert.deepEqual(mustRead(text), JSON.parse(text))));
  fc.assert(
    fc.property(aText, fc.constantFrom(' ', '\n', '\t\r'), (text, space) => {
      const spaced = JSON.stringify(JSON.parse(text), null, space.trim() === '' ? 2 : space);
      assert.deepEqual(mustRead(space + spaced + space), JSON.parse(text));
    }),
  );
});

test('what is read after any damage to the text is what JSON.parse reads, and what it refuses is refused', () => {
  const damage = fc.tuple(fc.nat(), fc.nat({ max: 3 }), fc.constantFrom(...'[]{}",:\\u0e-.1 \n', ''));
  fc.assert(
    fc.property(aText, damage, (text, [at, length, put]) => {
      const characters = Array.from(text);
      characters.splice(at % characters.length, length, put);
      const damaged = characters.join('');
      const result = read(damaged);
      if (result.ok) assert.deepEqual(result.value, JSON.parse(damaged));
      else if (result.reason === 'syntax') assert.throws(() => JSON.parse(damaged), SyntaxError);
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('any bytes at all are answered and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const result = readStrictJson(bytes);
      assert.ok(result.ok || READER_REASONS.includes(result.reason));
    }),
  );
});

for (const [name, value] of everyTypeExcept((value) => value instanceof Uint8Array)) {
  test(`${name} instead of bytes is a TypeError and no verdict`, () => {
    assert.throws(() => readStrictJson(value as Uint8Array), TypeError);
  });
}
