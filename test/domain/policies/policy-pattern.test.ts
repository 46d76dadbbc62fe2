/** Guarantees of policy patterns (contract section 4.4): equal to a naive reading, and linear in what they match. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  matchesActionOfAnyMcp,
  matchesSubject,
  parsePolicyPattern,
  subjectOf,
} from '../../../src/domain/policies/policy-pattern.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const word = fc.string({ unit: fc.constantFrom(...'ab_'), minLength: 1, maxLength: 4 });
const globbed = fc
  .string({ unit: fc.constantFrom(...'aab*'), minLength: 1, maxLength: 8 })
  .filter((text) => !text.includes('**') && text.split('*').length <= 5);
const anyPattern = fc.oneof(
  { weight: 1, arbitrary: fc.constant('*') },
  {
    weight: 9,
    arbitrary: fc.array(fc.oneof(word, globbed), { minLength: 2, maxLength: 4 }).map((s) => s.join('/')),
  },
);
/** Actions may hold slashes in any place, so a subject may have empty segments. */
const subject = fc
  .array(fc.oneof(word, fc.string({ unit: fc.constantFrom(...'aab'), maxLength: 10 })), {
    minLength: 2,
    maxLength: 5,
  })
  .map((segments) => segments.join('/'));

const pattern = (text: string) => {
  const parsed = parsePolicyPattern(text);
  assert.ok(parsed, `${text} is a pattern`);
  return parsed;
};
const matches = (text: string, of: string) => matchesSubject(pattern(text), subjectOf(of));

/** The rules word by word, with backtracking. */
function naive(patterns: string[], segments: string[]): boolean {
  const [first, ...rest] = patterns;
  if (first === undefined || segments.length === 0) return first === undefined && segments.length === 0;
  if (first === '*' && rest.length === 0) return true;
  return naiveSegment(first, segments[0] ?? '') && naive(rest, segments.slice(1));
}

function naiveSegment(glob: string, text: string): boolean {
  if (glob === '') return text === '';
  if (glob[0] !== '*')
    return text !== '' && glob[0] === text[0] && naiveSegment(glob.slice(1), text.slice(1));
  return naiveSegment(glob.slice(1), text) || (text !== '' && naiveSegment(glob, text.slice(1)));
}

test('the matcher equals a naive one on any pattern and subject', () => {
  let matched = 0;
  fc.assert(
    fc.property(anyPattern, subject, (text, of) => {
      const expected = text === '*' || naive(text.split('/'), of.split('/'));
      assert.equal(matches(text, of), expected, `${text} on ${of}`);
      if (expected) matched++;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(matched > RARE_CASE_RUNS / 40, `only ${matched} matched`);
});

test('a segment with several stars equals the naive matcher on every short text', () => {
  const texts = ['', 'a', 'b'].flatMap((x) =>
    ['', 'a', 'b'].flatMap((y) => ['', 'a', 'ab'].flatMap((z) => [x + y + z, x + y + z + x])),
  );
  const globs = [
    'a*b*a',
    '*a*',
    '*ab*',
    'a*a',
    '*a*b*',
    'ab*ab*',
    '*a*a*a*',
    'a*ab*b',
    'b*',
    '*b',
    'aba',
    '*aba*',
  ];
  for (const glob of globs) {
    for (const text of texts) {
      assert.equal(
        matches(`m/${glob}`, `m/${text}`),
        glob === '*' || naiveSegment(glob, text),
        `${glob} on ${text}`,
      );
    }
  }
});

test('the parts of a pattern never overlap in the subject', () => {
  for (const [text, of] of [
    ['m/aba*aba', 'm/aba'],
    ['m/ab*ba', 'm/aba'],
    ['m/*ab*ba*', 'm/aba'],
    ['m/a*a*a', 'm/aa'],
    ['m/*aab*', 'm/aaa'],
  ] as const) {
    assert.equal(matches(text, of), false, `${text} on ${of}`);
  }
  assert.equal(matches('m/*aab*', 'm/aaab'), true);
  assert.equal(matches('m/a*a*a', 'm/aaa'), true);
});

test('every invalid pattern vector is refused', () => {
  assert.ok(vectors.policy.invalid_patterns_400_INVALID_POLICY.length >= 9);
  for (const text of vectors.policy.invalid_patterns_400_INVALID_POLICY) {
    assert.equal(parsePolicyPattern(text), undefined, JSON.stringify(text));
  }
});

test('whatever is outside the grammar is no pattern', () => {
  const refused = [
    '**/a',
    'a/**',
    'a/b**',
    '*/',
    '/*',
    'a//b',
    'a/',
    './a',
    'a/.',
    '../a',
    'a/?',
    'a/[b]',
    '{a,b}/c',
    '!a/b',
  ];
  refused.push(
    'a/b c',
    'a/b\n',
    'a/\0',
    'a\\b/c',
    '^a/b$',
    'a/(b)',
    'a/*b*c*d*e*',
    `a/${'b'.repeat(129)}`,
    '*a',
    'a*',
    ' *',
    '* ',
  );
  refused.push(
    Array(9).fill('a').join('/'),
    `${'a'.repeat(128)}/${'b'.repeat(128)}`,
    'a/b,c/d',
    'ａ/b',
    'a/b$',
  );
  for (const text of refused) assert.equal(parsePolicyPattern(text), undefined, JSON.stringify(text));
  for (const value of notTexts('a/b')) assert.equal(parsePolicyPattern(untyped(value)), undefined);
});

test('the limits are 8 segments, 4 stars a segment, 128 characters a segment and 256 in all', () => {
  pattern(Array(8).fill('a').join('/'));
  pattern('a/*b*c*d*e');
  pattern(`a/${'b'.repeat(128)}`);
  pattern(`${'a'.repeat(127)}/${'b'.repeat(128)}`);
});

test('of a step without mcp, a pattern is matched by its part behind the first slash', () => {
  const any = (text: string, action: string) => matchesActionOfAnyMcp(pattern(text), subjectOf(action));
  for (const [text, action] of [
    ['*', 'x'],
    ['m/*', 'x'],
    ['m/*', 'a/b'],
    ['*/x', 'x'],
    ['m*/x_*', 'x_1'],
    ['m/a/*', 'a/b'],
  ] as const) {
    assert.equal(any(text, action), true, `${text} on ${action}`);
  }
  for (const [text, action] of [
    ['m/y', 'x'],
    ['*/x', 'X'],
    ['m/a/*', 'a'],
    ['m/a', 'm/a'],
    ['m/x_*', 'y_1'],
  ] as const) {
    assert.equal(any(text, action), false, `${text} on ${action}`);
  }
});

test('patterns that make a backtracking engine run for minutes are decided at little cost', () => {
  const cases = [
    ['m/a*a*a*ab', 'a'.repeat(93)],
    ['m/*a*a*a*', `${'b'.repeat(127)}a`],
    [`m/*${'a'.repeat(60)}b*${'a'.repeat(60)}b*`, 'a'.repeat(128)],
    [`m/*${'a'.repeat(40)}b${'a'.repeat(40)}*c*`, 'a'.repeat(128)],
  ] as const;
  for (const [text, action] of cases) {
    const compiled = pattern(text);
    const decide = () => assert.equal(matchesSubject(compiled, subjectOf(`m/${action}`)), false);
    assertCostsUnder({ floors: 25 }, decide, text);
  }
});
