/**
 * Guarantees of the one matcher of policies and scopes: equal to picomatch, with everything off that it knows beyond
 * `*`, and to a naive reading. Segments with several stars are kept short for both, because they backtrack.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import picomatch from 'picomatch';
import { parseSegmentPattern, patternMatches } from '../../../src/domain/formats/segment-pattern.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';

const GRAMMAR = { segment: /^[A-Za-z0-9_.:@+=~*-]{1,128}$/, maxSegments: 16, maxStars: 4 };
const LITERAL_BUT_FOR_STAR: picomatch.PicomatchOptions = {
  dot: true,
  fastpaths: false,
  nobrace: true,
  nobracket: true,
  nocase: false,
  noextglob: true,
  noglobstar: true,
  nonegate: true,
  windows: false,
};
const ALPHABETS = ['a', 'ab', 'aab.', 'aA_', 'ab-.~+@=:', '.+', 'abcdefgh0123'];

const parse = (text: string) => {
  const pattern = parseSegmentPattern(text, GRAMMAR);
  assert.ok(pattern, `${text} is a pattern`);
  return pattern;
};
/** A segment stands behind another, because a pattern has two at least. */
const matches = (segment: string, text: string) => patternMatches(parse(`x/${segment}`), ['x', text]);

const textOf = (alphabet: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...alphabet), maxLength });

/** A pattern of one segment and a text, which is often made from the pattern, and often changed once more. */
function segmentAndText({ maxStars, maxPart }: { maxStars: number; maxPart: number }) {
  return fc.constantFrom(...ALPHABETS).chain((alphabet) =>
    fc
      .tuple(
        fc.array(textOf(alphabet, maxPart), { minLength: 1, maxLength: maxStars + 1 }),
        fc.array(textOf(alphabet, maxPart), { minLength: maxStars, maxLength: maxStars }),
        textOf(alphabet, maxPart),
        fc.constantFrom('made', 'longer', 'shorter', 'another'),
      )
      .map(([parts, between, other, kind]) => {
        const made = parts.map((part, index) => (index === 0 ? part : (between[index - 1] ?? '') + part));
        const text = { made: made.join(''), longer: made.join('') + other, another: other };
        return [parts.join('*'), kind === 'shorter' ? text.made.slice(1) : text[kind]] as const;
      })
      .filter(([segment, text]) => isPlainSegment(segment) && text !== '' && isPlainSegment(text)),
  );
}

/** `.` and `..` are no segments, neither of a pattern nor of a path. */
const isPlainSegment = (text: string) =>
  GRAMMAR.segment.test(text) && !text.includes('**') && text !== '.' && text !== '..';

for (const { name, ...sizes } of [
  { name: 'no or one star', maxStars: 1, maxPart: 60 },
  { name: 'up to four stars', maxStars: 4, maxPart: 4 },
]) {
  test(`a segment with ${name} matches what picomatch matches`, () => {
    let matched = 0;
    fc.assert(
      fc.property(segmentAndText(sizes), ([segment, text]) => {
        const expected = picomatch.isMatch(text, segment, LITERAL_BUT_FOR_STAR);
        assert.equal(matches(segment, text), expected, `${segment} on ${text}`);
        if (expected) matched += 1;
      }),
      { numRuns: RARE_CASE_RUNS },
    );
    const runs = RARE_CASE_RUNS;
    assert.ok(matched > runs / 10 && matched < runs * 0.9, `${matched} of ${runs} matched`);
  });
}

test('any segment of up to five of a, b and * equals the naive reading on any text of up to five of a and b', () => {
  let patterns = 0;
  for (const segment of wordsOf('ab*', 5)) {
    if (segment === '' || segment.includes('**')) continue;
    patterns += 1;
    for (const text of wordsOf('ab', 5)) {
      if (matches(segment, text) !== naive(segment, text)) assert.fail(`${segment} on ${text}`);
    }
  }
  assert.ok(patterns > 200);
});

function wordsOf(alphabet: string, maxLength: number): readonly string[] {
  if (maxLength === 0) return [''];
  const shorter = wordsOf(alphabet, maxLength - 1);
  return ['', ...shorter.flatMap((word) => [...alphabet].map((letter) => letter + word))];
}

function naive(glob: string, text: string): boolean {
  if (glob === '') return text === '';
  if (glob[0] !== '*') return text !== '' && glob[0] === text[0] && naive(glob.slice(1), text.slice(1));
  return naive(glob.slice(1), text) || (text !== '' && naive(glob, text.slice(1)));
}

test('an open end takes one or more segments, and a skipped segment is not looked at', () => {
  const open = parse('a/b/*');
  assert.equal(patternMatches(open, ['a', 'b']), false);
  assert.equal(patternMatches(open, ['a', 'b', 'c']), true);
  assert.equal(patternMatches(open, ['a', 'b', 'c', 'd']), true);
  assert.equal(patternMatches(open, ['x', 'b', 'c']), false);
  assert.equal(patternMatches(open, ['b', 'c'], 1), true);
  assert.equal(patternMatches(open, ['b'], 1), false);
  assert.equal(patternMatches(parse('a/b*'), ['a', 'b', 'c']), false);
  assert.equal(patternMatches(parse('*/b'), ['a', 'b', 'b']), false);
});

test('a pattern keeps to its grammar', () => {
  const twoStars = { segment: /^[a-c*]{1,4}$/, maxSegments: 3, maxStars: 2 };
  for (const text of ['a/b', 'a*/*b', 'a/*b*', '*/*/*', 'abca/*']) {
    assert.ok(parseSegmentPattern(text, twoStars), text);
  }
  for (const text of ['', '*', 'a', 'a/', '/a', 'a//b', 'a/d', 'a/b**', '*a*b*/a', 'a/abcab', 'a/b/c/a']) {
    assert.equal(parseSegmentPattern(text, twoStars), undefined, text);
  }
  for (const text of ['a/.', 'a/..', '../a'])
    assert.equal(parseSegmentPattern(text, GRAMMAR), undefined, text);
});

test('the worst segments on the longest text are decided in less than 50 microseconds', () => {
  const long = 'a'.repeat(128);
  for (const [segment, text] of [
    [`*${'a'.repeat(60)}b*${'a'.repeat(60)}b*`, long],
    [`*b${'a'.repeat(62)}*`, long],
    [`*${'a'.repeat(31)}b${'a'.repeat(31)}*`, long],
    [`*${'ab'.repeat(31)}b*`, 'ab'.repeat(64)],
    ['a*a*a*a*b', long],
    [`${'a'.repeat(63)}*${'a'.repeat(63)}b`, long],
  ] as const) {
    const pattern = parse(`x/${segment}`);
    const parts = ['x', text];
    const often = () => {
      for (let run = 0; run < 100; run += 1) assert.equal(patternMatches(pattern, parts), false, segment);
    };
    assertCostsUnder({ floors: 25 }, often, segment);
  }
});
