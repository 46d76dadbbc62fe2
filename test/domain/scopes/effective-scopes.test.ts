/** Guarantees of an agent's scopes (contract section 2): the cut to namespaces is exactly the intersection. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  effectiveScopes,
  intersectScopeWithNamespaces,
  vendorScopeAction,
} from '../../../src/domain/scopes/effective-scopes.ts';
import { formatScope, parseScope, scopesAllow } from '../../../src/domain/scopes/scope.ts';
import { PROPERTY_RUNS, RARE_CASE_RUNS } from '../../support/effort.ts';
import { notTexts, untyped } from '../wrong-types.ts';
import {
  allTexts,
  aNamespace,
  anyNamespace,
  anyPath,
  anyPattern,
  aPath,
  aScope,
  naiveMatches,
  pathOf,
  SMALL_PATHS,
  SMALL_PATTERNS,
} from './scope-universe.ts';

const cut = (scope: string, namespaces: string[]) =>
  intersectScopeWithNamespaces(aScope(scope), namespaces.map(aNamespace)).map(formatScope);

function effective(allowedScopes: string[] | null, allowedNamespaces: string[] | null): readonly string[] {
  const result = effectiveScopes({ allowedScopes, allowedNamespaces });
  assert.ok(result.ok);
  return result.scopes.map(formatScope);
}

test('a scope is cut to a namespace, or dropped when it lies outside', () => {
  for (const [pattern, namespace, expected] of [
    ['*', 'a', 'a/*'],
    ['*/*', 'a/b', 'a/b/*'],
    ['*/k', 'a', 'a/k'],
    ['*/*/k', 'a', 'a/*/k'],
    ['p*/*', 'prod', 'prod/*'],
    ['p*d/x_*', 'prod', 'prod/x_*'],
    ['a/*', 'a/b/c', 'a/b/c/*'],
    ['a/b/c', 'a', 'a/b/c'],
    ['a/b/*', 'a', 'a/b/*'],
    ['a/*/*', 'a/b/c', 'a/b/c/*'],
    ['*/b/k', 'a/b', 'a/b/k'],
  ] as const) {
    assert.deepEqual(
      cut(`secrets:read:${pattern}`, [namespace]),
      [`secrets:read:${expected}`],
      `${pattern} in ${namespace}`,
    );
  }
  for (const [pattern, namespace] of [
    ['a/b', 'a/b'],
    ['a/b', 'b'],
    ['a/b', 'A'],
    ['a/*', 'b'],
    ['a/*', 'ab'],
    ['*/k', 'a/k'],
    ['*/k', 'a/b'],
    ['p*/*', 'op'],
    ['a/x*', 'a/x1'],
    ['a/b/*', 'a/c'],
  ] as const) {
    assert.deepEqual(cut(`secrets:read:${pattern}`, [namespace]), [], `${pattern} in ${namespace}`);
  }
});

test('on every small pattern and namespace, the cut names exactly what lies in both', () => {
  const paths = SMALL_PATHS.map(aPath);
  for (const pattern of SMALL_PATTERNS) {
    const named = new Set(SMALL_PATHS.filter((path) => naiveMatches(pattern, path)));
    for (const namespace of allTexts(['a', 'b', 'aa', 'ab'], 1, 2)) {
      const scopes = intersectScopeWithNamespaces(aScope(`secrets:read:${pattern}`), [aNamespace(namespace)]);
      for (const secret of paths) {
        const expected = secret.path.startsWith(`${namespace}/`) && named.has(secret.path);
        if (scopesAllow(scopes, 'read', secret) !== expected)
          assert.fail(`${pattern} in ${namespace} on ${secret.path}`);
      }
    }
  }
});

test('on any pattern and namespaces, the cut names exactly what lies in both', () => {
  const near = anyPattern.chain((pattern) =>
    fc.oneof(pathOf(pattern), anyPath).chain((path) => {
      const segments = path.split('/');
      const above = fc
        .integer({ min: 1, max: segments.length - 1 })
        .map((depth) => segments.slice(0, depth).join('/'));
      const namespaces = fc.array(fc.oneof(above, anyNamespace), { minLength: 1, maxLength: 3 });
      return fc.tuple(fc.constant(pattern), namespaces, fc.constant(path));
    }),
  );
  let inside = 0;
  fc.assert(
    fc.property(near, fc.constantFrom('read', '*'), ([pattern, namespaces, path], action) => {
      const expected = namespaces.some((ns) => path.startsWith(`${ns}/`)) && naiveMatches(pattern, path);
      const scopes = cut(`secrets:${action}:${pattern}`, namespaces).map(aScope);
      assert.equal(scopesAllow(scopes, 'read', aPath(path)), expected);
      assert.equal(scopesAllow(scopes, 'write', aPath(path)), expected && action === '*');
      if (expected) inside++;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(inside > RARE_CASE_RUNS / 10, `only ${inside} paths lay in both`);
});

test('a cut is always a scope that can be written down and read again', () => {
  const wide = Array(15).fill('*').join('/');
  const deep = Array(15).fill('n'.repeat(33)).join('/');
  // 509 characters of namespace leave 2 for the key, and this pattern needs more: nothing is left of it.
  assert.deepEqual(cut(`secrets:read:${wide}/${'k'.repeat(127)}*`, [deep]), []);
  assert.deepEqual(cut(`secrets:read:${wide}/kk*`, [deep]), [`secrets:read:${deep}/kk*`]);
  fc.assert(
    fc.property(anyPattern, anyNamespace, (pattern, namespace) => {
      for (const text of cut(`secrets:delete:${pattern}`, [namespace])) assert.ok(parseScope(text).ok, text);
    }),
  );
});

test('no namespace leaves no secret, and namespaces:read survives a cut', () => {
  assert.deepEqual(cut('secrets:*:*', []), []);
  assert.deepEqual(cut('namespaces:read', ['a']), ['namespaces:read']);
  assert.deepEqual(effective(['namespaces:read', 'secrets:read:b/*'], ['a']), ['namespaces:read']);
});

test('only namespaces: every action below each of them', () => {
  assert.deepEqual(effective(null, ['a', 'b/c']), ['secrets:*:a/*', 'secrets:*:b/c/*']);
});

test('only scopes: those', () => {
  assert.deepEqual(effective(['secrets:read:b/*', 'namespaces:read'], null), [
    'secrets:read:b/*',
    'namespaces:read',
  ]);
});

test('both: each scope cut to each namespace, in order and once', () => {
  const scopes = ['secrets:read:*', 'secrets:write:a/k', 'secrets:read:*/*'];
  assert.deepEqual(effective(scopes, ['b', 'a']), [
    'secrets:read:b/*',
    'secrets:read:a/*',
    'secrets:write:a/k',
  ]);
});

test('neither: none; an empty list is given and allows nothing', () => {
  assert.deepEqual(effective(null, null), []);
  assert.deepEqual(effective([], null), []);
  assert.deepEqual(effective(null, []), []);
  assert.deepEqual(effective([], ['a']), []);
  assert.deepEqual(effective(['secrets:*:*'], []), []);
});

test('vendor names mean their scopes, and are cut like them', () => {
  assert.deepEqual(effective(['read:secrets'], null), ['secrets:read:*']);
  for (const name of ['write:secrets', 'rotate:secrets', 'import:secrets']) {
    assert.deepEqual(effective([name], null), ['secrets:write:*'], name);
  }
  assert.deepEqual(effective(['write:secrets', 'rotate:secrets', 'import:secrets'], ['a']), [
    'secrets:write:a/*',
  ]);
});

test('a name that is not one of the vendor names means nothing', () => {
  const others = [
    'manage:agents',
    'delete:secrets',
    'Read:secrets',
    'read:secrets ',
    'read',
    '',
    'constructor',
    '__proto__',
  ];
  for (const name of [...others, ...notTexts('read:secrets')]) {
    assert.equal(vendorScopeAction(untyped(name)), undefined, String(name));
    const result = effectiveScopes({
      allowedScopes: ['secrets:read:*', untyped(name)],
      allowedNamespaces: null,
    });
    assert.deepEqual(result, { ok: false, code: 'INVALID_SCOPE', pointer: '/allowed_scopes/1' });
  }
});

test('a namespace outside the grammar is refused and named', () => {
  for (const name of ['', '*', 'a/*', 'a/', '/a', '..', 'a/../b', 'a b', ...notTexts('a')]) {
    const result = effectiveScopes({ allowedScopes: null, allowedNamespaces: ['a', untyped(name)] });
    assert.deepEqual(
      result,
      { ok: false, code: 'INVALID_PATH', pointer: '/allowed_namespaces/1' },
      String(name),
    );
  }
});

test('an agent never gets a path that one of its lists leaves out', () => {
  const scopes = fc.array(anyPattern, { minLength: 1, maxLength: 3 });
  const namespaces = fc.array(anyNamespace, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(scopes, namespaces, anyPath, (patterns, names, path) => {
      const texts = patterns.map((pattern) => `secrets:read:${pattern}`);
      const granted = effective(texts, names).map(aScope);
      const expected =
        patterns.some((p) => naiveMatches(p, path)) && names.some((n) => path.startsWith(`${n}/`));
      assert.equal(scopesAllow(granted, 'read', aPath(path)), expected);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});
