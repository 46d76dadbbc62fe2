/** The strict reader: what it refuses, that it agrees with JSON.parse on the rest, and that hostile input costs little. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type JsonValue, readStrictJson } from '../../src/domain/strict-json.ts';
import { wrongTypesExcept } from './wrong-types.ts';

const MEBIBYTE = 1024 * 1024;
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

function valueOf(text: string): JsonValue {
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
  readFileSync(new URL('../vectors/canonical-json.json', import.meta.url), 'utf8'),
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
  assert.equal(valueOf('"\ufeff"'), '\ufeff');
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
    { numRuns: 2000 },
  );
});

for (const text of ['{"__proto__":1}', '{"\\u005f_proto__":{}}', '[{"a":{"__proto__":null}}]']) {
  test(`a member __proto__ is refused in ${text}`, () => refuses(text, 'forbidden_key'));
}

test('members named like those of Object.prototype are ordinary own members', () => {
  const names = Object.getOwnPropertyNames(Object.prototype).filter((name) => name !== '__proto__');
  const value = valueOf(`{${names.map((name) => `"${name}":1`)}}`);
  assert.ok(typeof value === 'object' && value !== null && names.length > 5);
  assert.deepEqual(Object.keys(value).sort(), [...names].sort());
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.deepEqual(valueOf('"__proto__"'), '__proto__');
});

for (const text of [
  '"\\ud800"',
  '"\\uDFFF"',
  '"\\udc00\\ud800"',
  '"\\ud800\\ud800\\udc00"',
  '"\\ud800\\u0041"',
  '"\\ud800x\\udc00"',
  '"\\ud83d😀"',
  '"😀\\ude00"',
  '"\\\\\\ud800"',
  '{"\\ud800":1}',
  '[{"a":["\\udbff"]}]',
]) {
  test(`half a surrogate pair is refused in ${text}`, () => refuses(text, 'lone_surrogate'));
}

for (const text of [
  '"\\ud83d\\ude00"',
  '"\\uD83D\\uDE00\\udbff\\udfff"',
  '"\\\\ud800"',
  '"\\ud7ff\\ue000"',
  '"😀"',
]) {
  test(`${text} is read, it has no half of a surrogate pair`, () => {
    assert.equal(valueOf(text), JSON.parse(text));
  });
}

const nest = (open: string, close: string, times: number) => open.repeat(times) + close.repeat(times);

test('64 levels below the root are read and 65 are refused, of lists, of objects and mixed', () => {
  assert.ok(valueOf(nest('[', ']', 65)));
  refuses(nest('[', ']', 66), 'too_deep');
  assert.ok(valueOf(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`));
  refuses(`${'{"a":'.repeat(65)}{}${'}'.repeat(65)}`, 'too_deep');
  assert.ok(valueOf(`${'[{"a":'.repeat(32)}[]${'}]'.repeat(32)}`));
  refuses(`${'[{"a":'.repeat(32)}[[]]${'}]'.repeat(32)}`, 'too_deep');
});

test('depth is that of the deepest place, not the number of brackets, and brackets in text do not count', () => {
  assert.ok(valueOf(`[${'[[]],'.repeat(500)}1]`));
  assert.ok(valueOf(`["${'['.repeat(500)}","\\"${'{'.repeat(500)}"]`));
});

test('a number beyond the range of a double reads as infinite', () => {
  assert.deepEqual(valueOf('[1e400,-1e400]'), [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
});

const TINY = [
  '1e-400',
  '-1E-400',
  '0.0001e-330',
  `0.${'0'.repeat(330)}1`,
  `-0.${'0'.repeat(400)}5e2`,
  '2e-324',
];

for (const number of TINY) {
  test(`${number.slice(0, 12)}, which reads as 0, is reported with what holds it and nothing else`, () => {
    const result = read(`{"é":{"2":0,"1":${number},"x":[1]},"list":["1e-400",[${number}],0]}`);
    assert.ok(result.ok);
    const [first, list] = Object.values(Object(result.value));
    assert.deepEqual(first, { 1: Number(number), 2: 0, x: [1] });
    assert.deepEqual([...result.underflowed], [first, list[1]]);
  });
}

test('zeros in every spelling and the smallest numbers are not reported', () => {
  const zeros = ['0', '-0', '0.0', '0e-5', '-0.000E-400', `0.${'0'.repeat(400)}`, `0e-${'1'.repeat(400)}`];
  const result = read(`[${[...zeros, '5e-324', '3e-324', '1e-7', '1e+5', '"1e-400"'].join()}]`);
  assert.ok(result.ok);
  assert.equal(result.underflowed.size, 0);
});

const aText = fc
  .json({ stringUnit: 'binary', depthSize: 'medium' })
  .filter((text) => !text.includes('__proto__'));

test('every valid document has the value that JSON.parse gives', () => {
  fc.assert(fc.property(aText, (text) => assert.deepEqual(valueOf(text), JSON.parse(text))));
  fc.assert(
    fc.property(aText, fc.constantFrom(' ', '\n', '\t\r'), (text, space) => {
      const spaced = JSON.stringify(JSON.parse(text), null, space.trim() === '' ? 2 : space);
      assert.deepEqual(valueOf(space + spaced + space), JSON.parse(text));
    }),
  );
});

test('what is read after any damage to the text is what JSON.parse reads, and what it refuses is refused', () => {
  const damage = fc.tuple(fc.nat(), fc.nat({ max: 3 }), fc.constantFrom(...'[]{}",:\\u0e-.1 \n', ''));
  fc.assert(
    fc.property(aText, damage, (text, [at, length, put]) => {
      const start = at % text.length;
      const damaged = text.slice(0, start) + put + text.slice(start + length);
      const result = read(damaged);
      if (result.ok) assert.deepEqual(result.value, JSON.parse(damaged));
      else if (result.reason === 'syntax') assert.throws(() => JSON.parse(damaged), SyntaxError);
    }),
    { numRuns: 3000 },
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

const fill = (part: string) => part.repeat(Math.floor(MEBIBYTE / part.length));
const keys = (name: (index: number) => string) =>
  `{${Array.from({ length: 60_000 }, (_, index) => `"${name(index)}":${index}`)}}`;

for (const [what, text, reason] of [
  ['opening brackets', fill('['), 'too_deep'],
  ['opening objects', fill('{"a":'), 'too_deep'],
  ['closing brackets', fill(']'), 'syntax'],
  ['quotation marks', fill('"'), 'syntax'],
  ['backslashes', `"${fill('\\')}`, 'syntax'],
  ['unfinished surrogate escapes', `"${fill('\\ud')}`, 'syntax'],
  ['halves of pairs', `"${fill('\\ud800')}"`, 'lone_surrogate'],
  ['escaped pairs', `"${fill('\\ud83d\\ude00')}"`, undefined],
  ['escapes', `"${fill('\\u0041\\n')}"`, undefined],
  ['one duplicated member', `{${fill('"a":1,')}"a":1}`, 'duplicate_key'],
  ['different members', keys((index) => `member-${index}`), undefined],
  ['integer-like members', keys((index) => `${index * 1024}`), undefined],
  ['numbers that vanish', `[${fill('1e-400,')}1]`, undefined],
  ['digits', fill('1'), undefined],
  ['zeros behind a point', `0.${fill('0')}1`, undefined],
  ['signs and exponents', `1${fill('e-')}`, 'syntax'],
  ['small lists', `[${fill('[],')}[]]`, undefined],
] as const) {
  test(`a mebibyte of ${what} is answered in time linear in its length`, () => {
    const bytes = utf8(text);
    const started = performance.now();
    const result = readStrictJson(bytes);
    const milliseconds = performance.now() - started;
    assert.equal(result.ok ? undefined : result.reason, reason);
    // Linear is some ten milliseconds; quadratic would be minutes.
    assert.ok(milliseconds < 3000, `${milliseconds} ms`);
  });
}

for (const [name, value] of wrongTypesExcept((value) => value instanceof Uint8Array)) {
  test(`${name} instead of bytes is a TypeError and no verdict`, () => {
    assert.throws(() => readStrictJson(value as Uint8Array), TypeError);
  });
}
