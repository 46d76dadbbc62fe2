/** Guarantees of reading `.env` text (contract section 6): what is accepted is read as the `dotenv` package reads it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'dotenv';
import fc from 'fast-check';
import {
  type EnvEntry,
  type EnvTextFault,
  MAX_ENV_ENTRIES,
  MAX_ENV_TEXT_LENGTH,
  parseEnvText,
} from '../../../src/domain/secrets/dotenv-parser.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { LETTERS_APART, PIECES_OF_A_TEXT, RARE_CASE_RUNS } from '../../support/effort.ts';
import { notTexts, untyped } from '../wrong-types.ts';

const BOM = '\ufeff';
const LINE_SEPARATOR = '\u2028';
const PARAGRAPH_SEPARATOR = '\u2029';

const linesOf = (text: string) => text.split(/\r\n|\r|\n/);
const isBlankOrComment = (line: string) => /^\s*(#.*)?$/.test(line);
const shown = (text: string) => JSON.stringify(text.slice(0, 60));
/** What dotenv would return. Integer-like keys come first in an object, so order is compared by line alone. */
const asObject = (entries: readonly EnvEntry[]) =>
  Object.fromEntries(entries.map(({ key, value }) => [key, value]));

function refuses(text: string, line: number, fault: EnvTextFault): void {
  assert.deepEqual(parseEnvText(text), { ok: false, line, fault }, shown(text));
}

/** False for a refused text; of an accepted one, asserts that dotenv reads the same and that nothing is lost. */
function holds(text: string): boolean {
  const parsed = parseEnvText(text);
  if (!parsed.ok) return false;
  const values = parse(text);
  const keys = parsed.entries.map((entry) => entry.key);
  assert.deepEqual(asObject(parsed.entries), values, shown(text));
  assert.equal(Object.keys(values).length, parsed.entries.length, shown(text));

  const lines = linesOf(text);
  const starts = [...parsed.entries.map((entry) => entry.line - 1), lines.length];
  assert.ok(lines.slice(0, starts[0]).every(isBlankOrComment), shown(text));
  for (const [index, key] of keys.entries()) {
    const [from = 0, to = 0] = starts.slice(index);
    const { [key]: value, ...others } = values;
    assert.deepEqual(
      parse(lines.slice(from, to).join('\n')),
      { [key]: value },
      `${key} alone: ${shown(text)}`,
    );
    const without = lines.map((line, at) => (at >= from && at < to ? '' : line)).join('\n');
    assert.deepEqual(parse(without), others, `without ${key}: ${shown(text)}`);
  }
  assertEveryCharacterCounts(lines, JSON.stringify(values));
  return true;
}

/** Whatever is no blank and no comment changes what dotenv reads when it is another character. */
function assertEveryCharacterCounts(lines: readonly string[], values: string): void {
  for (const [index, line] of lines.entries()) {
    for (let at = 0; at < line.length; at += 1) {
      if (line.charAt(at).trim() === '' || line.slice(0, at + 1).includes('#')) continue;
      const other = line.charAt(at) === 'Z' ? 'Y' : 'Z';
      const changed = lines.with(index, line.slice(0, at) + other + line.slice(at + 1)).join('\n');
      assert.notEqual(
        JSON.stringify(parse(changed)),
        values,
        `${shown(lines.join('\n'))} line ${index + 1}:${at}`,
      );
    }
  }
}

for (const [text, ...expected] of [
  ['A=1', ['A', 1, '1']],
  ['A=', ['A', 1, '']],
  [' \tA \t= 1 \t', ['A', 1, '1']],
  ['A: 1', ['A', 1, '1']],
  ['A:\t', ['A', 1, '']],
  ['A: =1', ['A', 1, '=1']],
  ['A==b:c=', ['A', 1, '=b:c=']],
  ['a-b.C_9=1', ['a-b.C_9', 1, '1']],
  ['2=b\n1=a', ['2', 1, 'b'], ['1', 2, 'a']],
  ['..=1', ['..', 1, '1']],
  ['constructor=1\nhasOwnProperty=2', ['constructor', 1, '1'], ['hasOwnProperty', 2, '2']],
  ['export A=1\n\texport \t B: 2', ['A', 1, '1'], ['B', 2, '2']],
  ['export=1', ['export', 1, '1']],
  ['export = 1', ['export', 1, '1']],
  ['export export=1', ['export', 1, '1']],
  ['exportA=1', ['exportA', 1, '1']],
  ['\n# A=0\n  # B=0\n\nA=1\n\n#\nB=2\n', ['A', 5, '1'], ['B', 8, '2']],
  [
    'A=1\r\nB=2\rC=3\n\rD=4\r\n\r\nE=5',
    ['A', 1, '1'],
    ['B', 2, '2'],
    ['C', 3, '3'],
    ['D', 5, '4'],
    ['E', 7, '5'],
  ],
  [`${BOM}A=1`, ['A', 1, '1']],
  ['A=1 # one\nB=2#two\nC=#three', ['A', 1, '1'], ['B', 2, '2'], ['C', 3, '']],
  ['A=\nB=1', ['A', 1, ''], ['B', 2, '1']],
  ['A= \n\n# c\nB: \nC=1', ['A', 1, ''], ['B', 4, ''], ['C', 5, '1']],
  ['A="1"\nB=\'2\'\nC=`3`', ['A', 1, '1'], ['B', 2, '2'], ['C', 3, '3']],
  ['A=" # " # c\nB=""#c', ['A', 1, ' # '], ['B', 2, '']],
  ['A="one\n\n# B=2\n\'`"\nC=1', ['A', 1, "one\n\n# B=2\n'`"], ['C', 5, '1']],
  ["A= 'one\r\nB=2' # c\rC=1", ['A', 1, 'one\nB=2'], ['C', 3, '1']],
  ['A: `\n`\nB=1', ['A', 1, '\n'], ['B', 3, '1']],
  [`A="${LINE_SEPARATOR}B=1${PARAGRAPH_SEPARATOR}"\nC=1`, ['A', 1, '\u2028B=1\u2029'], ['C', 2, '1']],
  // A quote behind a backslash closes only where no later one does.
  ['A="x\\"y"', ['A', 1, 'x\\"y']],
  ["A='x\\'\nB='y'", ['A', 1, 'x\\'], ['B', 2, 'y']],
  ["A='x\\'\nB='", ['A', 1, "x\\'\nB="]],
  ['A="\\""\nB="\\"', ['A', 1, '\\"'], ['B', 2, '\\']],
  ['A="x\\" # y"\nB=1', ['A', 1, 'x\\" # y'], ['B', 2, '1']],
  ['A="one\\ntwo"', ['A', 1, 'one\ntwo']],
  // A quote that dotenv takes as a character, where nothing but this line could be meant.
  ['A="', ['A', 1, '"']],
  ["A='tis\nB=2\n# c", ['A', 1, "'tis"], ['B', 2, '2']],
  ["A='it's'", ['A', 1, "it's"]],
  ['A="x" y\nB="z"', ['A', 1, '"x" y'], ['B', 2, 'z']],
  ['A=x"y\nB=z"', ['A', 1, 'x"y'], ['B', 2, 'z"']],
] as readonly (readonly [string, ...(readonly [string, number, string])[]])[]) {
  test(`${JSON.stringify(text)} is read as ${expected.map(([key]) => key).join(', ')}`, () => {
    const entries = expected.map(([key, line, value]) => ({ key, value, line }));
    assert.deepEqual(parseEnvText(text), { ok: true, entries });
    assert.deepEqual(parse(text), asObject(entries));
    assert.ok(holds(text));
  });
}

for (const [text, line, fault] of [
  // What dotenv skips without a word.
  ['A', 1, 'not_an_entry'],
  ['A=1\n\nB\nC=1', 3, 'not_an_entry'],
  ['A=1\r\n\rB', 3, 'not_an_entry'],
  ['=1', 1, 'not_an_entry'],
  ['A B=1', 1, 'not_an_entry'],
  ['A:1', 1, 'not_an_entry'],
  ['A:', 1, 'not_an_entry'],
  ['A : 1', 1, 'not_an_entry'],
  ['A:# c', 1, 'not_an_entry'],
  ['É=1', 1, 'not_an_entry'],
  ['A$=1', 1, 'not_an_entry'],
  ['"A"=1', 1, 'not_an_entry'],
  ['A\0=1', 1, 'not_an_entry'],
  ['{"A":"1"}', 1, 'not_an_entry'],
  ['export A', 1, 'not_an_entry'],
  ['export A B=1', 1, 'not_an_entry'],
  ['set export A=1', 1, 'not_an_entry'],
  ['; A=1', 1, 'not_an_entry'],
  ['A="one\ntwo"\nthree"', 3, 'not_an_entry'],
  ['A="one\ntwo\nB=2', 2, 'not_an_entry'],
  ['A=1\\\n2', 2, 'not_an_entry'],
  // What dotenv reads across the end of a line.
  ['A:\nB=1', 1, 'not_an_entry'],
  ['A:\n\nB=1', 1, 'not_an_entry'],
  ['A\n=1', 1, 'not_an_entry'],
  ['export\nA=1', 1, 'not_an_entry'],
  ['A=\n"B=1"', 2, 'not_an_entry'],
  ["A: \n\n'B=1'", 3, 'not_an_entry'],
  // What is there twice.
  ['A=1\nA=1', 2, 'repeated_key'],
  ['A="\n"\n# A\nexport A: 2\nC', 4, 'repeated_key'],
  ['__proto__=1\nA=1', 1, 'reserved_key'],
  ['A=1\nexport __proto__: 1', 2, 'reserved_key'],
  // A quote that dotenv does not take as one.
  ['A="x # y', 1, 'unclosed_quote'],
  ['B=1\nA="a#b" c', 2, 'unclosed_quote'],
  ["A='it's' # c", 1, 'unclosed_quote'],
  ['A="one\ntwo" x', 1, 'unclosed_quote'],
  ['A="one\nB=two" x\nC=3', 1, 'unclosed_quote'],
  ['A="x\nB="y"', 1, 'unclosed_quote'],
  ['A=`\\`x\n\\`x', 1, 'unclosed_quote'],
  // Where dotenv ends some lines but not others.
  [`A=1${LINE_SEPARATOR}B=2`, 1, 'line_separator'],
  [`A="1"${LINE_SEPARATOR}B=2`, 1, 'line_separator'],
  [`A=1\n# c${PARAGRAPH_SEPARATOR}B=2`, 2, 'line_separator'],
  [`A="1" # c${LINE_SEPARATOR}B=2`, 1, 'line_separator'],
  [`A="\n"${LINE_SEPARATOR}`, 1, 'line_separator'],
  [`A="x${LINE_SEPARATOR}y`, 1, 'line_separator'],
  [`A="\\"\nB='\\"${LINE_SEPARATOR}'`, 1, 'line_separator'],
  [`${PARAGRAPH_SEPARATOR}A=1`, 1, 'line_separator'],
  [`A${LINE_SEPARATOR}=1`, 1, 'line_separator'],
  [`A=${LINE_SEPARATOR}"1"`, 1, 'line_separator'],
  [LINE_SEPARATOR, 1, 'line_separator'],
  ['', 1, 'no_entries'],
  [' \r\n# A=1\n', 1, 'no_entries'],
] as const) {
  test(`${JSON.stringify(text)} is refused for line ${line}: ${fault}`, () => refuses(text, line, fault));
}

test('a text of which dotenv would drop or misplace a part is refused: these are the reasons', () => {
  assert.deepEqual(parse('A:\nB=1'), { A: 'B=1' });
  assert.deepEqual(parse('A="a#b" c'), { A: '"a' });
  assert.deepEqual(Object.keys(parse('__proto__=1\nA=1')), ['A']);
  assert.deepEqual(parse(`# c${LINE_SEPARATOR}B=2`), { B: '2' });
  assert.deepEqual(parse(`A=1${LINE_SEPARATOR}B=2`), { A: `1${LINE_SEPARATOR}B=2` });
});

test(`of any text up to ${PIECES_OF_A_TEXT} pieces long, what is accepted is what dotenv reads, and nothing of it is lost`, () => {
  let accepted = 0;
  const tryAll = (pieces: readonly string[], left: number, text: string): void => {
    if (holds(text)) accepted += 1;
    if (left > 0) for (const piece of pieces) tryAll(pieces, left - 1, text + piece);
  };
  tryAll(['A', '=', '"', '\n', ' '], PIECES_OF_A_TEXT, '');
  tryAll(['"', '\\', '#', '\n', 'x', '\nB='], PIECES_OF_A_TEXT, 'A=');
  tryAll(['A=', 'B: ', "'", '\n', '#'], PIECES_OF_A_TEXT, '');
  tryAll(['export', ' ', ':', '=', '\r'], PIECES_OF_A_TEXT, '');
  assert.ok(accepted > 5 ** PIECES_OF_A_TEXT, `${accepted}`);
});

const PIECES = [
  ...'"\'`=:#\\ \t\r\n',
  ...'ABCx',
  'export ',
  '\r\n',
  '\\n',
  'A=',
  '\nB=',
  '\nC: ',
  '="',
  "='",
  '"\n',
  "'\n",
];

test('of random text, what is accepted is what dotenv reads, and nothing of it is lost', () => {
  let accepted = 0;
  const anyText = fc.array(fc.constantFrom(...PIECES, BOM, '\u00a0', '\u0085', LINE_SEPARATOR), {
    maxLength: 24,
  });
  fc.assert(
    fc.property(fc.boolean(), anyText, (startsWell, pieces) => {
      if (holds((startsWell ? 'D=' : '') + pieces.join(''))) accepted += 1;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(accepted > RARE_CASE_RUNS / 20, `${accepted}`);
});

/** The one that `trim` takes away, and the one that it no longer does. */
const SPACES_AMONG_LETTERS = [0x1680, 0x180e];

test('every character is taken as dotenv takes it, wherever it stands', () => {
  const places = [
    '_A=1',
    'A_=1',
    'A_: 1',
    'A:_1',
    'export_A=1',
    'A=_"\n"',
    'A="\n"_',
    'A="\n"_# c',
    'A="1\\"_\nB="',
    'A=1\n_\nB=2',
  ];
  let accepted = 0;
  // Beyond, there are letters of scripts, and surrogates.
  const ranges = [
    { from: 0, to: 0x250, apart: 1 },
    { from: 0x250, to: 0x2000, apart: LETTERS_APART },
    { from: 0x2000, to: 0x2100, apart: 1 },
    { from: 0x2100, to: 0x3000, apart: LETTERS_APART },
    { from: 0x3000, to: 0x3100, apart: 1 },
    { from: 0xfb00, to: 0xfe00, apart: LETTERS_APART },
    { from: 0xfe00, to: 0x10000, apart: 1 },
  ];
  const units = ranges.flatMap(({ from, to, apart }) =>
    Array.from({ length: Math.ceil((to - from) / apart) }, (_, index) => from + index * apart),
  );
  units.push(...SPACES_AMONG_LETTERS);
  for (const unit of units) {
    for (const place of places) if (holds(place.replace('_', String.fromCharCode(unit)))) accepted += 1;
  }
  assert.ok(accepted > 20 * places.length, `${accepted}`);
});

interface Written {
  readonly text: string;
  readonly value: string;
}

const without = (excluded: string) =>
  fc.string({
    unit: fc.constantFrom(...'AB09 =:#"\'`$é\t.-'.split('').filter((c) => !excluded.includes(c))),
    maxLength: 8,
  });
const unquoted: fc.Arbitrary<Written> = fc
  .tuple(fc.constantFrom('a', '1', '$', '=', ':'), without('#'))
  .map(([first, rest]) => ({ text: first + rest, value: (first + rest).trim() }));
const quoted: fc.Arbitrary<Written> = fc.constantFrom('"', "'", '`').chain((quote) =>
  fc.array(without(quote), { minLength: 1, maxLength: 4 }).map((lines) => {
    const value = lines.join('\n');
    return { text: quote + value + quote, value };
  }),
);
const blanks = fc.constantFrom('', ' ', '\t', '  ');
const filler = fc.oneof(
  blanks,
  fc.tuple(blanks, without('')).map(([indent, text]) => `${indent}#${text}`),
);
const entry = fc.record({
  key: fc.string({ unit: fc.constantFrom(...'ABab01_.-'), minLength: 1, maxLength: 6 }),
  head: fc.constantFrom('', ' ', 'export ', '\texport\t '),
  separator: fc.constantFrom('=', ' =', '= ', '\t= ', ': ', ':\t '),
  written: fc.oneof(unquoted, quoted, fc.constant({ text: '', value: '' })),
  tail: fc.constantFrom('', ' ', ' # c', '#"c', "\t#'`"),
  fillers: fc.array(filler, { maxLength: 3 }),
});
const entries = fc.uniqueArray(entry, { selector: ({ key }) => key, minLength: 1, maxLength: 8 });

test('a text of nothing but well-formed lines is accepted, with the line of every key', () => {
  fc.assert(
    fc.property(fc.array(filler), entries, fc.constantFrom('\n', '\r\n', '\r'), (top, rows, lineEnd) => {
      const lines = [...top];
      const expected: EnvEntry[] = [];
      for (const { key, head, separator, written, tail, fillers } of rows) {
        expected.push({ key, value: written.value, line: lines.length + 1 });
        lines.push(...`${head}${key}${separator}${written.text}${tail}`.split('\n'), ...fillers);
      }
      const text = lines.join(lineEnd);
      assert.deepEqual(parseEnvText(text), { ok: true, entries: expected });
      assert.deepEqual(parse(text), asObject(expected));
      assert.ok(holds(text));
    }),
  );
});

test('a well-formed text with one line that is none is refused with the number of that line', () => {
  const strayLine = fc.constantFrom('A', '= 1', 'A B=1', 'export A', 'A:1', '-----END KEY-----', '}');
  fc.assert(
    fc.property(entries, entries, strayLine, (before, behind, stray) => {
      const write = (rows: typeof before, prefix: string) =>
        rows.map(({ key, separator, written }) => `${prefix}${key}${separator}${written.text}`).join('\n');
      const head = write(before, 'p');
      refuses(`${head}\n${stray}\n${write(behind, 'q')}`, linesOf(head).length + 1, 'not_an_entry');
    }),
  );
});

const distinct = (count: number) =>
  Array.from({ length: count }, (_, index) => `K${index}=${index}`).join('\n');

test('1000 entries are accepted and the first one beyond is refused with its line', () => {
  assert.equal(MAX_ENV_ENTRIES, 1000);
  const parsed = parseEnvText(distinct(1000));
  assert.equal(parsed.ok && parsed.entries.length, 1000);
  refuses(`# c\n${distinct(1002)}`, 1002, 'too_many_entries');
});

const fill = (part: string, head = '', tail = '') =>
  head + part.repeat(Math.floor((MAX_ENV_TEXT_LENGTH - head.length - tail.length) / part.length)) + tail;

for (const [what, text, fault] of [
  ['blanks', fill(' '), 'no_entries'],
  ['\\n', fill('\n'), 'no_entries'],
  ['\\r', fill('\r'), 'no_entries'],
  ['\\r\\n', fill('\r\n'), 'no_entries'],
  ['\\r in quotes', fill('\r', 'A="', '"'), undefined],
  ['blank lines before comments', fill('\n\n\n\n\n\n#', '', '\nA=1'), undefined],
  ['blank lines before one comment', fill('\n', '', '#\nA=1'), undefined],
  ['lone blank lines before comments', fill('\n#', '', '\nA=1'), undefined],
  ['blank lines behind an entry', fill('\n', 'A=1'), undefined],
  ['quotes', fill('"'), 'not_an_entry'],
  ['quotes as a value', fill('"', 'A='), undefined],
  ['escaped quotes', fill('\\"', 'A="', '"'), undefined],
  ['escaped quotes that never close', fill('\\" ', 'A="', 'x'), undefined],
  ['escaped quotes that may all close', fill('\\"\n', 'A="'), undefined],
  ['escaped quotes before comments', fill('\\"#', 'A="'), undefined],
  ['an open quote', fill('x', 'A="'), undefined],
  ['a quoted value', fill('x', 'A="', '"'), undefined],
  ['a quoted value of empty lines', fill('\n', 'A="', '"'), undefined],
  ['blanks behind a quote', fill('\u00a0', 'A="\\"', 'x'), undefined],
  ['backslashes', fill('\\', 'A="', '"'), undefined],
  ['=', fill('='), 'not_an_entry'],
  ['= as a value', fill('=', 'A='), undefined],
  ['blanks before =', fill(' ', 'A', '='), undefined],
  ['blanks before a value', fill(' ', 'A="1"\nB: ', '"'), undefined],
  ['blanks behind export', fill(' ', 'export', 'A=1'), undefined],
  ['export', fill('export '), 'not_an_entry'],
  ['lines of export', fill('export\n'), 'not_an_entry'],
  ['a key', fill('A'), 'not_an_entry'],
  ['a key that is one', fill('A', '', '='), undefined],
  ['#', fill('#', 'A=1\n'), undefined],
  ['comments', fill('#\n', '', 'A=1'), undefined],
  ['one entry', fill('A=\n'), 'repeated_key'],
  ['entries', distinct(82_000), 'too_many_entries'],
  ['quoted entries', distinct(1000).replaceAll(/=\d+/g, `="${'\\"\\\'\n'.repeat(200)}"`), undefined],
  ['line separators', fill(LINE_SEPARATOR), 'line_separator'],
] as const) {
  test(`a mebibyte of ${what} costs little`, () => {
    assert.ok(text.length > 900_000 && text.length <= MAX_ENV_TEXT_LENGTH, `${text.length}`);
    let parsed = parseEnvText('');
    const read = () => {
      parsed = parseEnvText(text);
    };
    assertCostsUnder({ floors: 500 }, read);
    assert.equal(parsed.ok ? undefined : parsed.fault, fault);
    // From each of n blank lines before a comment dotenv walks to that comment: hours for a mebibyte of them.
    if (parsed.ok && !what.startsWith('blank lines')) assert.deepEqual(asObject(parsed.entries), parse(text));
  });
}

test('the longest text is read and a longer one is refused', () => {
  const longest = fill('x', 'A="', '"');
  assert.equal(longest.length, MAX_ENV_TEXT_LENGTH);
  assert.deepEqual(parseEnvText(longest), {
    ok: true,
    entries: [{ key: 'A', value: longest.slice(3, -1), line: 1 }],
  });
  refuses(`${longest} `, 1, 'too_long');
});

test('what is no text is a mistake of the caller', () => {
  for (const value of notTexts('A=1')) assert.throws(() => parseEnvText(untyped(value)), TypeError);
});
