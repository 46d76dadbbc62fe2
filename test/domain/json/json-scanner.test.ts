/** What only the text shows: depth, halves of surrogate pairs, vanishing numbers, and that hostile text costs little. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { scanJson } from '../../../src/domain/json/json-scanner.ts';
import { type JsonValue, readStrictJson } from '../../../src/domain/json/strict-json.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { anyCharacter } from '../any-character.ts';

const MEBIBYTE = 1024 * 1024;

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

test('members are counted at every depth as often as they are written, and colons in text are not members', () => {
  assert.equal(scanJson(utf8('{"a:b":":","c":[{"d":1,"d":2,"\\":":"},{}]}')).members, 5);
  const count = (value: unknown): number =>
    typeof value !== 'object' || value === null
      ? 0
      : Object.values(value).reduce((sum: number, item) => sum + count(item), 0) +
        (Array.isArray(value) ? 0 : Object.keys(value).length);
  fc.assert(
    fc.property(fc.json({ stringUnit: anyCharacter, depthSize: 'medium' }), (text) => {
      assert.equal(scanJson(utf8(text)).members, count(JSON.parse(text)));
    }),
  );
});

test('a vanishing number is reported by its first byte and the one behind its last', () => {
  assert.deepEqual(scanJson(utf8('{"é":[1, -1e-400 ,2]}')).underflows, [{ start: 10, end: 17 }]);
  assert.deepEqual(scanJson(utf8('1e-400')).underflows, [{ start: 0, end: 6 }]);
});

test('bytes that are no JSON at all end the scan', () => {
  const part = fc.constantFrom(...'"\\u[]{}:-e0d8.,', 'é');
  fc.assert(
    fc.property(
      fc.array(part).map((parts) => parts.join('')),
      fc.uint8Array(),
      (text, bytes) => {
        assert.ok(scanJson(utf8(text)).members <= text.length);
        assert.ok(scanJson(bytes).members <= bytes.length);
      },
    ),
  );
});

for (const text of [
  '"\\ud800"',
  '"\\uDFFF"',
  '"\\udc00\\ud800"',
  '"\\udc00\\udc00"',
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
    assert.equal(mustRead(text), JSON.parse(text));
  });
}

const nest = (open: string, close: string, times: number) => open.repeat(times) + close.repeat(times);

test('64 levels below the root are read and 65 are refused, of lists, of objects and mixed', () => {
  assert.ok(mustRead(nest('[', ']', 65)));
  refuses(nest('[', ']', 66), 'too_deep');
  assert.ok(mustRead(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`));
  refuses(`${'{"a":'.repeat(65)}{}${'}'.repeat(65)}`, 'too_deep');
  assert.ok(mustRead(`${'[{"a":'.repeat(32)}[]${'}]'.repeat(32)}`));
  refuses(`${'[{"a":'.repeat(32)}[[]]${'}]'.repeat(32)}`, 'too_deep');
});

test('depth is that of the deepest place, not the number of brackets, and brackets in text do not count', () => {
  assert.ok(mustRead(`[${'[[]],'.repeat(500)}1]`));
  assert.ok(mustRead(`["${'['.repeat(500)}","\\"${'{'.repeat(500)}"]`));
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
    const [first, list] = Object.values(result.value as Record<string, unknown[]>);
    assert.deepEqual(first, { 1: Number(number), 2: 0, x: [1] });
    assert.deepEqual([...result.underflowed], [first, list?.[1]]);
  });
}

test('a number that reads as infinite is not reported beside one that vanishes', () => {
  const result = read('[[1e400],[1e-400],[-1e999]]');
  assert.ok(result.ok);
  assert.deepEqual([...result.underflowed], [[0]]);
});

test('zeros in every spelling and the smallest numbers are not reported', () => {
  const zeros = ['0', '-0', '0.0', '0e-5', '-0.000E-400', `0.${'0'.repeat(400)}`, `0e-${'1'.repeat(400)}`];
  const result = read(`[${[...zeros, '5e-324', '3e-324', '1e-7', '1e+5', '"1e-400"'].join()}]`);
  assert.ok(result.ok);
  assert.equal(result.underflowed.size, 0);
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
    // Linear is some ten milliseconds; quadratic would be minutes.
    assertCostsUnder({ floors: 15000 }, () => {
      const result = readStrictJson(bytes);
      assert.equal(result.ok ? undefined : result.reason, reason);
    });
  });
}
