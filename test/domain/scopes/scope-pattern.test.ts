/** Guarantees of compiled scope patterns (contract section 5.2): equal to a naive reading, and fast whatever is asked. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { patternMatches } from '../../../src/domain/formats/segment-pattern.ts';
import { parseScopePattern } from '../../../src/domain/scopes/scope-pattern.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import { notTexts, untyped } from '../wrong-types.ts';
import { anyPath, anyPattern, naiveMatches, pathOf, SMALL_PATHS, SMALL_PATTERNS } from './scope-universe.ts';

function matches(pattern: string, path: string): boolean {
  const parsed = parseScopePattern(pattern);
  assert.ok(parsed, `${pattern} is a pattern`);
  return patternMatches(parsed, path.split('/'));
}

test('the compiled matcher equals the naive one on every small pattern and path', () => {
  let matched = 0;
  for (const text of SMALL_PATTERNS) {
    const pattern = parseScopePattern(text);
    assert.ok(pattern);
    for (const path of SMALL_PATHS) {
      const expected = naiveMatches(text, path);
      if (patternMatches(pattern, path.split('/')) !== expected)
        assert.fail(`${text} on ${path}: expected ${expected}`);
      if (expected) matched++;
    }
  }
  const share = matched / (SMALL_PATTERNS.length * SMALL_PATHS.length);
  assert.ok(share > 0.015 && share < 0.5, `${share}`);
});

test('the compiled matcher equals the naive one on any pattern and path', () => {
  fc.assert(
    fc.property(anyPattern, anyPath, (pattern, path) => {
      assert.equal(matches(pattern, path), naiveMatches(pattern, path));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('a path made from a pattern is matched by it, and the naive matcher agrees', () => {
  const both = anyPattern.chain((pattern) => fc.tuple(fc.constant(pattern), pathOf(pattern)));
  fc.assert(
    fc.property(both, ([pattern, path]) => {
      assert.ok(naiveMatches(pattern, path));
      assert.ok(matches(pattern, path));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('the characters that globs and regular expressions know are ordinary here', () => {
  for (const [pattern, path] of [
    ['a/.*', 'a/.env'],
    ['a/*', 'a/.env'],
    ['a/*.', 'a/x.'],
    ['a/+*', 'a/+b'],
    ['a/b+*', 'a/b+c'],
    ['a/@*', 'a/@b'],
    ['a/~*', 'a/~b'],
    ['a/..*', 'a/..b'],
    ['a/*.js', 'a/.js'],
  ] as const) {
    assert.equal(matches(pattern, path), true, `${pattern} on ${path}`);
  }
  for (const [pattern, path] of [
    ['a/b.c*', 'a/bXcd'],
    ['a/b+*', 'a/bbb'],
    ['a/@*', 'a/b'],
    ['a/=*', 'a/b'],
    ['a/~*', 'a/home'],
    ['a/*.js', 'a/xjs'],
    ['a/..*', 'a/b'],
    ['a*/b', 'a/x/b'],
    ['a/b*', 'a/b\n'.trim().concat('/c')],
    ['a/b*', 'A/b'],
  ] as const) {
    assert.equal(matches(pattern, path), false, `${pattern} on ${path}`);
  }
});

test('whatever is outside the grammar is no pattern', () => {
  const refused = [
    '',
    '/',
    'a',
    '**',
    '**/b',
    'a/**',
    'a/*b*',
    'a/b**',
    '***',
    '*/',
    '/*',
    'a//*',
    'a/./b',
    'a/../*',
    '..',
  ];
  refused.push(
    'a/?',
    'a/[ab]',
    'a/{b,c}',
    '!a/b',
    'a/!(b)',
    'a/+(b)',
    'a/@(b|c)',
    '(a+)+/b',
    'a\\/b',
    'a/b:c',
    'a/^b$',
  );
  refused.push(
    'a/b ',
    'a/b\n',
    'a/\0',
    'a/é',
    `a/${'b'.repeat(129)}`,
    `a/${'b'.repeat(128)}*`,
    Array(17).fill('a').join('/'),
  );
  for (const text of refused) assert.equal(parseScopePattern(text), undefined, JSON.stringify(text));
  for (const value of notTexts('a/b')) assert.equal(parseScopePattern(untyped(value)), undefined);
});

test('the worst pattern on the worst path is decided at little cost', () => {
  const star = (segment: string) => Array(16).fill(segment).join('/');
  const cases = [
    [star(`${'a'.repeat(15)}*${'a'.repeat(15)}b`), star('a'.repeat(31))],
    [star('*'), star('a'.repeat(31))],
    [star('a*a'), star('a'.repeat(31))],
    [`${star('a*a').slice(0, -3)}a*b`, star('a'.repeat(31))],
    [`x/${'a'.repeat(63)}*${'a'.repeat(63)}b`, `x/${'a'.repeat(128)}`],
    [`x/*${'a'.repeat(126)}b`, `x/${'a'.repeat(128)}`],
  ] as const;
  for (const [text, path] of cases) {
    const pattern = parseScopePattern(text);
    assert.ok(pattern);
    const segments = path.split('/');
    const runs = 200;
    const all = () => {
      for (let run = 0; run < runs; run++) patternMatches(pattern, segments);
    };
    assertCostsUnder({ floors: 2 * runs }, all, text);
  }
});

test('a pattern met for the first time is read, compiled and decided, or refused, at little cost', () => {
  const long = ['x', 'a'.repeat(128)];
  const cases: readonly (readonly [string, readonly string[] | 'refused'])[] = [
    [`x/${'a'.repeat(63)}*${'a'.repeat(63)}b`, long],
    [`x/*${'a'.repeat(126)}b`, long],
    [`x/${'.'.repeat(63)}*${'+'.repeat(63)}`, long],
    [
      Array(16)
        .fill(`${'a'.repeat(15)}*${'a'.repeat(15)}b`)
        .join('/'),
      Array(16).fill('a'.repeat(31)),
    ],
    // What would take a backtracking engine for ever never gets to one.
    [`x/${'(a+)+'.repeat(25)}`, 'refused'],
    [`x/${'*a'.repeat(60)}b`, 'refused'],
    [`x/${'{a,'.repeat(30)}b${'}'.repeat(30)}`, 'refused'],
    [`x/${'+('.repeat(30)}a${')'.repeat(30)}`, 'refused'],
    [`x/${'*'.repeat(128)}`, 'refused'],
  ];
  for (const [text, path] of cases) {
    const runs = 50;
    const all = () => {
      for (let run = 0; run < runs; run++) {
        const pattern = parseScopePattern(text);
        assert.equal(pattern === undefined, path === 'refused', text);
        if (pattern !== undefined && path !== 'refused')
          assert.equal(patternMatches(pattern, path), false, text);
      }
    };
    assertCostsUnder({ floors: 2 * runs }, all, text);
  }
});
