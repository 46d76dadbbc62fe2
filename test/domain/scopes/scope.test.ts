/** Guarantees of scopes (contract section 5.2), against `vectors/scopes.json`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatScope,
  isTextOf,
  parseGrantedScope,
  parseScope,
  type Scope,
  type SecretAction,
  scopesAllow,
  scopesForAction,
} from '../../../src/domain/scopes/scope.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';
import { anyPath, anyPattern, aPath, aScope, naiveMatches } from './scope-universe.ts';

const ACTIONS: readonly SecretAction[] = ['read', 'write', 'delete'];
const anyAction = fc.constantFrom(...ACTIONS);
const anyScope = fc
  .tuple(fc.constantFrom(...ACTIONS, '*'), anyPattern)
  .map(([action, pattern]) => ({ action, pattern, text: `secrets:${action}:${pattern}` }));

test('every match vector is decided as listed', () => {
  assert.ok(vectors.match.length >= 44);
  for (const { granted, action, path, allow, why } of vectors.match) {
    const allowed = scopesAllow(granted.map(aScope), action as SecretAction, aPath(path));
    assert.equal(allowed, allow, `${granted} on ${action} ${path}: ${why}`);
  }
});

test('a text is that of a scope exactly where it is read as it', () => {
  const readsAs = (text: string, scope: Scope): boolean => {
    const parsed = parseScope(text);
    return parsed.ok && formatScope(parsed.scope) === formatScope(scope);
  };
  const texts = fc.oneof(
    anyScope.map(({ text }) => text),
    fc.constantFrom('namespaces:read', ...vectors.invalid_scopes, ...vectors.also_valid_scopes),
  );
  fc.assert(
    fc.property(texts, texts, (one, other) => {
      const parsed = parseScope(one);
      if (!parsed.ok) return;
      for (const text of [one, other]) {
        assert.equal(isTextOf(parsed.scope, text), readsAs(text, parsed.scope), `${one} ${text}`);
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
  const [held] = scopesForAction([aScope(`secrets:*:${longestPattern(590)}`)], 'delete');
  assert.ok(held !== undefined && formatScope(held).length > 600);
  assert.equal(isTextOf(held, formatScope(held)), false, 'longer than anybody may ask');
  for (const value of notTexts(formatScope(held))) assert.equal(isTextOf(held, untyped(value)), false);
});

test('every invalid scope vector is refused', () => {
  assert.ok(vectors.invalid_scopes.length >= 47);
  for (const text of vectors.invalid_scopes)
    assert.deepEqual(parseScope(text), { ok: false }, JSON.stringify(text));
});

test('every other valid scope vector is accepted, and names no secret', () => {
  assert.ok(vectors.also_valid_scopes.length >= 1);
  for (const text of vectors.also_valid_scopes) {
    for (const action of ACTIONS) assert.equal(scopesAllow([aScope(text)], action, aPath('a/b')), false);
  }
});

test('a scope is written as it was read', () => {
  for (const text of vectors.also_valid_scopes) assert.equal(formatScope(aScope(text)), text);
  fc.assert(fc.property(anyScope, ({ text }) => assert.equal(formatScope(aScope(text)), text)));
});

test('scopes allow what one of them names, action and path together, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(anyScope, { maxLength: 4 }), anyAction, anyPath, (scopes, action, path) => {
      const expected = scopes.some(
        (scope) => (scope.action === '*' || scope.action === action) && naiveMatches(scope.pattern, path),
      );
      const parsed = scopes.map(({ text }) => aScope(text));
      assert.equal(scopesAllow(parsed, action, aPath(path)), expected);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('no scope at all allows nothing', () => {
  for (const action of ACTIONS) assert.equal(scopesAllow([], action, aPath('a/b')), false);
});

test('an action outside the three is never allowed, however it is spelled', () => {
  const actions = [
    '*',
    'list',
    'READ',
    'Read',
    '',
    'rotate',
    'approve',
    'constructor',
    '__proto__',
    'read,write',
    'read ',
  ];
  const scopes = ['secrets:*:*', 'secrets:read:*', 'namespaces:read'].map(aScope);
  for (const action of [...actions, ...notTexts('read')]) {
    assert.equal(scopesAllow(scopes, untyped(action), aPath('a/b')), false, String(action));
  }
});

test('attack: a scope does not get wider by its spelling', () => {
  const spellings = [
    'secrets:read:*/',
    'secrets:read:/*',
    'secrets:read:**',
    'secrets:read:***',
    'secrets:read:*/**',
  ];
  spellings.push(
    'secrets:read,write:a/b',
    'secrets:read|write:*',
    'secrets:read:a/b,c/d',
    'secrets:read:a/b secrets:write:*',
  );
  spellings.push(
    'secrets:read:*:*',
    'secrets:*:*:*',
    'secrets:read:a/%2A',
    'secrets:read:a/..*/../b',
    'secrets:read:a/ｂ',
  );
  spellings.push(
    'secrets:read:a/*\n',
    'secrets:read:\u200b*',
    'secrets:*',
    '*',
    '*:read:*',
    'secrets:.*:*',
    'secrets:read:a|b/c',
  );
  spellings.push(
    'manage:agents',
    'read:secrets',
    'namespaces:*',
    'namespaces:read:*',
    'Namespaces:read',
    'namespaces:read ',
  );
  for (const text of spellings) assert.deepEqual(parseScope(text), { ok: false }, text);
});

/** Without what is compiled for each text anew. */
const plain = (parsed: unknown): unknown => JSON.parse(JSON.stringify(parsed));

/** Four segments as long as one may be, and what is left. */
function longestPattern(length: number): string {
  const start = `${'a'.repeat(128)}/`.repeat(4);
  return start + 'b'.repeat(length - start.length);
}

test('600 characters are a scope, 601 are not', () => {
  const longest = `secrets:read:${longestPattern(587)}`;
  assert.equal(longest.length, 600);
  assert.ok(parseScope(longest).ok);
  assert.equal(parseScope(`${longest}b`).ok, false);
});

test('what a scope of 600 characters leaves for one action is longer, and read back as what was granted', () => {
  const longest = `secrets:*:${longestPattern(590)}`;
  assert.equal(longest.length, 600);
  for (const action of ACTIONS) {
    const [left] = scopesForAction([aScope(longest)], action);
    assert.ok(left !== undefined);
    const text = formatScope(left);
    assert.equal(text.length, 599 + action.length);
    assert.deepEqual(plain(parseGrantedScope(text)), plain({ ok: true, scope: left }), action);
    assert.deepEqual(parseScope(text), { ok: false }, 'nobody may ask for it');
  }
});

test('what any scopes leave for one action is read back as it was written, at any length', () => {
  const anyLength = fc.integer({ min: 585, max: 590 }).map((length) => `secrets:*:${longestPattern(length)}`);
  const anyText = fc.oneof(
    anyScope.map(({ text }) => text),
    anyLength,
  );
  fc.assert(
    fc.property(fc.array(anyText, { maxLength: 4 }), anyAction, (texts, action) => {
      for (const left of scopesForAction(texts.map(aScope), action)) {
        assert.deepEqual(plain(parseGrantedScope(formatScope(left))), plain({ ok: true, scope: left }));
      }
    }),
  );
});

test('what is granted is a scope but for its length: no other text is read as one', () => {
  for (const text of vectors.invalid_scopes) {
    if (text.length <= 600) assert.deepEqual(parseGrantedScope(text), { ok: false }, JSON.stringify(text));
  }
  fc.assert(
    fc.property(anyScope, ({ text }) =>
      assert.deepEqual(plain(parseGrantedScope(text)), plain(parseScope(text))),
    ),
  );
  assert.deepEqual(parseGrantedScope('namespaces:read'), parseScope('namespaces:read'));
});

test('an enormous text is refused at once', () => {
  assertCostsUnder({ floors: 100 }, () => {
    for (const text of ['*'.repeat(1e6), `secrets:read:${'a/'.repeat(5e5)}`, `secrets:${'*'.repeat(1e6)}`]) {
      assert.equal(parseScope(text).ok, false);
    }
  });
});

test('what is left for one action names the same paths for it and no other action', () => {
  const held = ['secrets:*:a/*', 'secrets:read:b/*', 'secrets:write:c/*', 'namespaces:read'].map(aScope);
  assert.deepEqual(scopesForAction(held, 'read').map(formatScope), ['secrets:read:a/*', 'secrets:read:b/*']);
  assert.deepEqual(scopesForAction(held, 'write').map(formatScope), [
    'secrets:write:a/*',
    'secrets:write:c/*',
  ]);
  assert.deepEqual(scopesForAction(held, 'delete').map(formatScope), ['secrets:delete:a/*']);
  assert.deepEqual(scopesForAction([aScope('namespaces:read')], 'read'), []);
  for (const action of ACTIONS) {
    const left = scopesForAction(held, action);
    for (const asked of ACTIONS) {
      for (const path of ['a/x', 'b/x', 'c/x', 'd/x']) {
        const expected = asked === action && scopesAllow(held, action, aPath(path));
        assert.equal(scopesAllow(left, asked, aPath(path)), expected, `${action}, ${asked} ${path}`);
      }
    }
  }
});

test('what is no text is no scope', () => {
  for (const value of notTexts('secrets:read:a/b'))
    assert.deepEqual(parseScope(untyped(value)), { ok: false });
});
