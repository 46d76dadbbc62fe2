/** A naive reading of scope patterns (contract section 5.2) and small universes of patterns and paths to hold against. */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseScope, type Scope } from '../../../src/domain/scopes/scope.ts';
import {
  type Namespace,
  parseNamespace,
  parseSecretPath,
  type SecretPath,
} from '../../../src/domain/scopes/secret-path.ts';
import { SEGMENTS_OF_LONG_PATHS } from '../../support/effort.ts';

/** The rules word by word: a last lone `*` takes one segment or more, every other `*` stays within its segment. */
export function naiveMatches(pattern: string, path: string): boolean {
  return pattern === '*' || naiveSegments(pattern.split('/'), path.split('/'));
}

function naiveSegments([first, ...patterns]: string[], [segment, ...segments]: string[]): boolean {
  if (first === undefined || segment === undefined) return first === segment;
  if (first === '*' && patterns.length === 0) return true;
  return naiveSegment(first, segment) && naiveSegments(patterns, segments);
}

function naiveSegment(pattern: string, text: string): boolean {
  if (pattern === '*') return text.length > 0;
  if (!pattern.includes('*')) return pattern === text;
  for (let length = 0; length <= text.length; length++) {
    for (let start = 0; start + length <= text.length; start++) {
      if (pattern.replace('*', () => text.slice(start, start + length)) === text) return true;
    }
  }
  return false;
}

export function aScope(text: string): Scope {
  const parsed = parseScope(text);
  assert.ok(parsed.ok, `${text} is a scope`);
  return parsed.scope;
}

export function aPath(text: string): SecretPath {
  const parsed = parseSecretPath(text);
  assert.ok(parsed.ok, `${text} is a path`);
  return parsed.secret;
}

export function aNamespace(text: string): Namespace {
  const parsed = parseNamespace(text);
  assert.ok(parsed.ok, `${text} is a namespace`);
  return parsed.namespace;
}

/** All lists of `min` to `max` of the segments, joined. */
export function allTexts(segments: readonly string[], min: number, max: number): string[] {
  let level = [''];
  const texts: string[] = [];
  for (let length = 1; length <= max; length++) {
    level = level.flatMap((text) =>
      segments.map((segment) => (text === '' ? segment : `${text}/${segment}`)),
    );
    if (length >= min) texts.push(...level);
  }
  return texts;
}

/** Every shape of segment, over one letter. */
export const SMALL_PATTERNS: readonly string[] = ['*', ...allTexts(['a', 'b', '*', 'a*', '*a', 'a*a'], 2, 3)];
/** For every two shapes that differ, a segment that only one of them matches. */
const SEGMENTS = ['a', 'ab', 'b', 'aa', 'ba', 'aba', 'bb'];
export const SMALL_PATHS: readonly string[] = [
  ...allTexts(SEGMENTS, 2, 3),
  ...allTexts(SEGMENTS.slice(0, SEGMENTS_OF_LONG_PATHS), 4, 4),
];

const LETTERS = fc.constantFrom(...'ab.+@=~-_A0');
const letters = (maxLength: number) => fc.string({ unit: LETTERS, maxLength });
const word = letters(5).filter((text) => text !== '' && text !== '.' && text !== '..');
const glob = fc.tuple(letters(3), letters(3)).map(([prefix, suffix]) => `${prefix}*${suffix}`);

export const anyPath = fc.array(word, { minLength: 2, maxLength: 5 }).map((segments) => segments.join('/'));
export const anyNamespace = fc
  .array(word, { minLength: 1, maxLength: 4 })
  .map((segments) => segments.join('/'));
export const anyPattern = fc.oneof(
  { weight: 1, arbitrary: fc.constant('*') },
  {
    weight: 9,
    arbitrary: fc
      .array(fc.oneof(word, glob, fc.constant('*')), { minLength: 2, maxLength: 5 })
      .map((s) => s.join('/')),
  },
);

/** A pattern that contains the given one: some segments replaced by globs, perhaps open at the end. */
export function widened(pattern: string): fc.Arbitrary<string> {
  if (pattern === '*') return fc.constantFrom('*', '*/*');
  const segments = pattern.split('/');
  const wider = segments.map((segment, index) => widerSegment(segment, index === segments.length - 1));
  const same = fc.tuple(...wider).map((texts) => texts.join('/'));
  const open = fc
    .tuple(fc.tuple(...wider), fc.integer({ min: 1, max: segments.length - 1 }))
    .map(([texts, kept]) => [...texts.slice(0, kept), '*'].join('/'));
  return fc.oneof(
    { weight: 3, arbitrary: same },
    { weight: 2, arbitrary: open },
    { weight: 1, arbitrary: fc.constant('*') },
  );
}

function widerSegment(segment: string, last: boolean): fc.Arbitrary<string> {
  if (segment === '*') return fc.constant('*');
  const [prefix = '', suffix] = segment.split('*');
  const cut = fc.tuple(fc.nat({ max: prefix.length }), fc.nat({ max: (suffix ?? '').length }));
  const shorter = cut.map(([keep, drop]) => `${prefix.slice(0, keep)}*${(suffix ?? '').slice(drop)}`);
  // A last lone `*` would contain longer paths too, which is wider still and thus fine.
  return fc.oneof(fc.constant(segment), shorter, last ? fc.constant('*') : shorter);
}

/** A path that the pattern matches. */
export function pathOf(pattern: string): fc.Arbitrary<string> {
  const segments = pattern === '*' ? ['*', '*'] : pattern.split('/');
  const parts = segments.map((segment, index) => {
    if (segment !== '*') return letters(3).map((filling) => segment.replace('*', () => filling));
    return index < segments.length - 1
      ? word
      : fc.array(word, { minLength: 1, maxLength: 3 }).map((s) => s.join('/'));
  });
  return fc
    .tuple(...parts)
    .map((texts) => texts.join('/'))
    .filter((path) => parseSecretPath(path).ok);
}
