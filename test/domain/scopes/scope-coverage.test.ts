/** Guarantees of coverage (contract section 5.2): it is inclusion of what the scopes name, whatever their spelling. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatScope, parseScope, type SecretAction, scopesAllow } from '../../../src/domain/scopes/scope.ts';
import {
  listingScope,
  namespaceScope,
  scopeCovers,
  scopesCover,
} from '../../../src/domain/scopes/scope-coverage.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS, RARE_CASE_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import * as universe from './scope-universe.ts';
import { aNamespace, anyPattern, aPath, aScope, naiveMatches, pathOf, widened } from './scope-universe.ts';

const ACTIONS: readonly SecretAction[] = ['read', 'write', 'delete'];
const anyAction = fc.constantFrom(...ACTIONS, '*' as const);
const covers = (parent: string, child: string) => scopeCovers(aScope(parent), aScope(child));

test('every delegation vector is decided as listed; an invalid child is no scope', () => {
  assert.ok(vectors.delegation.length >= 26);
  for (const { parent, child, covered, why } of vectors.delegation) {
    const parsed = parseScope(child);
    const decision = parsed.ok ? scopesCover(parent.map(aScope), parsed.scope) : null;
    assert.equal(decision, covered, `${parent} over ${child}: ${why}`);
  }
});

test('every list vector is decided as listed', () => {
  assert.ok(vectors.list.length >= 6);
  for (const { granted, namespace, allow } of vectors.list) {
    assert.equal(
      scopesCover(granted.map(aScope), listingScope(aNamespace(namespace))),
      allow,
      `${granted} on ${namespace}`,
    );
  }
});

test('on every pair of small patterns, coverage is inclusion: neither too wide nor too narrow', () => {
  const scopes = universe.SMALL_PATTERNS.map((pattern) => aScope(`secrets:read:${pattern}`));
  const named = universe.SMALL_PATTERNS.map((pattern) =>
    universe.SMALL_PATHS.reduce(
      (set, path, bit) => (naiveMatches(pattern, path) ? set | (1n << BigInt(bit)) : set),
      0n,
    ),
  );
  let covered = 0;
  for (const [p, parent] of scopes.entries()) {
    for (const [c, child] of scopes.entries()) {
      const included = ((named[c] ?? 0n) & ~(named[p] ?? 0n)) === 0n;
      if (scopeCovers(parent, child) !== included)
        assert.fail(`${formatScope(parent)} over ${formatScope(child)}`);
      if (included) covered++;
    }
  }
  assert.ok(covered > 1000 && covered < scopes.length ** 2 / 4, `${covered} covered`);
});

test('soundness: whatever a covered scope matches, the covering one matches', () => {
  const triple = fc
    .tuple(anyPattern, anyPattern)
    .chain(([child, other]) =>
      fc.tuple(fc.oneof(widened(child), fc.constant(other)), fc.constant(child), pathOf(child)),
    );
  let held = 0;
  fc.assert(
    fc.property(
      triple,
      anyAction,
      anyAction,
      ([parentPattern, childPattern, path], parentAction, childAction) => {
        const parent = aScope(`secrets:${parentAction}:${parentPattern}`);
        const child = aScope(`secrets:${childAction}:${childPattern}`);
        if (!scopeCovers(parent, child)) return;
        held++;
        for (const action of ACTIONS) {
          if (scopesAllow([child], action, aPath(path)))
            assert.ok(scopesAllow([parent], action, aPath(path)));
        }
      },
    ),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(held > RARE_CASE_RUNS / 10, `only ${held} covered pairs were seen`);
});

test('a widened pattern covers the one it was made from', () => {
  const pair = anyPattern.chain((child) => fc.tuple(widened(child), fc.constant(child)));
  fc.assert(
    fc.property(pair, anyAction, ([parent, child], action) => {
      assert.ok(
        covers(`secrets:${action}:${parent}`, `secrets:${action}:${child}`),
        `${parent} over ${child}`,
      );
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('coverage is reflexive', () => {
  fc.assert(
    fc.property(anyPattern, anyAction, (pattern, action) => {
      const text = `secrets:${action}:${pattern}`;
      assert.ok(covers(text, text));
      assert.ok(scopesCover([aScope(text)], aScope(text)));
    }),
  );
});

test('coverage is transitive', () => {
  const chain = anyPattern.chain((low) =>
    widened(low).chain((middle) =>
      fc.tuple(fc.oneof(widened(middle), anyPattern), fc.constant(middle), fc.constant(low)),
    ),
  );
  let held = 0;
  fc.assert(
    fc.property(chain, ([high, middle, low]) => {
      const [a, b, c] = [`secrets:read:${high}`, `secrets:read:${middle}`, `secrets:read:${low}`];
      if (!covers(a, b) || !covers(b, c)) return;
      held++;
      assert.ok(covers(a, c), `${high} over ${middle} over ${low}`);
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(held > RARE_CASE_RUNS / 6, `only ${held} chains were seen`);
});

test('every action is covered by one scope or the whole is not', () => {
  const cover = (parents: string[], child: string) => scopesCover(parents.map(aScope), aScope(child));
  const three = ['secrets:read:a/*', 'secrets:write:*', 'secrets:delete:a/b'];
  assert.equal(cover(three, 'secrets:*:a/b'), true);
  assert.equal(cover(three, 'secrets:*:a/c'), false);
  assert.equal(cover(three.slice(0, 2), 'secrets:*:a/b'), false);
  assert.equal(cover([], 'secrets:read:a/b'), false);
  assert.equal(covers('secrets:read:a/*', 'secrets:*:a/*'), false);
  assert.equal(covers('secrets:*:a/*', 'secrets:*:a/*'), true);
});

test('namespaces:read is covered by itself and by any read scope, and covers nothing else', () => {
  const cover = (parents: string[], child: string) => scopesCover(parents.map(aScope), aScope(child));
  for (const parent of ['namespaces:read', 'secrets:read:a/b', 'secrets:*:a/*']) {
    assert.equal(cover([parent], 'namespaces:read'), true, parent);
  }
  for (const parents of [[], ['secrets:write:*'], ['secrets:delete:*', 'secrets:write:*']]) {
    assert.equal(cover(parents, 'namespaces:read'), false, String(parents));
  }
  for (const child of ['secrets:read:a/b', 'secrets:*:*'])
    assert.equal(cover(['namespaces:read'], child), false);
  assert.equal(covers('secrets:*:*', 'namespaces:read'), false);
});

test('listing needs all of the namespace: a part of it, another action or case shows no name', () => {
  const lists = (scopes: string[], namespace: string) =>
    scopesCover(scopes.map(aScope), listingScope(aNamespace(namespace)));
  for (const scope of [
    'secrets:read:a/*',
    'secrets:*:*/*',
    'secrets:read:*',
    'secrets:read:a*/*',
    'secrets:read:*/*',
  ]) {
    assert.equal(lists([scope], 'a'), true, scope);
  }
  const refused = [
    'secrets:read:a/x*',
    'secrets:read:a/*x',
    'secrets:read:a/b/*',
    'secrets:write:a/*',
    'secrets:delete:*',
  ];
  refused.push(
    'secrets:read:A/*',
    'secrets:read:a/a',
    'secrets:read:*/a',
    'namespaces:read',
    'secrets:read:ab/*',
  );
  for (const scope of refused) assert.equal(lists([scope], 'a'), false, scope);
  assert.equal(lists(['secrets:read:a/x*', 'secrets:read:a/*x'], 'a'), false);
  const deepest = Array(15).fill('a').join('/');
  assert.equal(lists([`secrets:read:${deepest}/*`], deepest), true);
});

test('the scope of a namespace names what lies below it and nothing beside it', () => {
  const scope = namespaceScope('*', aNamespace('a/b'));
  assert.equal(formatScope(scope), 'secrets:*:a/b/*');
  for (const path of universe.SMALL_PATHS) {
    assert.equal(
      scopesAllow([namespaceScope('read', aNamespace('a/b'))], 'read', aPath(path)),
      path.startsWith('a/b/'),
    );
  }
});

test('coverage of lists is transitive: who was given a part of a part holds no more than the first', () => {
  const scopes = fc.array(
    anyPattern.chain((low) => fc.tuple(anyAction, widened(low), fc.constant(low), fc.boolean())),
    { minLength: 1, maxLength: 3 },
  );
  const three = ['read', 'write', 'delete'];
  let held = 0;
  fc.assert(
    fc.property(scopes, anyPattern, (rows, other) => {
      // The middle list says with three scopes what the first says with one.
      const middle = rows.flatMap(([action, wide, , split]) =>
        (action === '*' && split ? three : [action]).map((one) => `secrets:${one}:${wide}`),
      );
      const first = rows.map(([action, wide]) => `secrets:${action}:${wide}`);
      const last = [...rows.map(([action, , low]) => `secrets:${action}:${low}`), `secrets:read:${other}`];
      const covered = (parents: string[], children: string[]) =>
        children.every((child) => scopesCover(parents.map(aScope), aScope(child)));
      for (const [a, b, c] of [
        [first, middle, last],
        [middle, first, last],
      ] as const) {
        assert.ok(covered(a, b), `${a} over ${b}`);
        for (const one of c) {
          if (!covered(b, [one])) continue;
          held++;
          assert.ok(covered(a, [one]), `${a} over ${b} over ${one}`);
        }
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(held > PROPERTY_RUNS, `only ${held} chains were seen`);
});

test('the worst scope over the worst is decided in less than a millisecond', () => {
  const deep = (segment: string) => Array(16).fill(segment).join('/');
  const cases = [
    [
      deep(`${'a'.repeat(15)}*${'a'.repeat(15)}`),
      `${deep(`${'a'.repeat(15)}*${'a'.repeat(15)}`).slice(0, -1)}b`,
    ],
    [deep('*a'), deep(`*${'a'.repeat(30)}`)],
    [`x/*${'a'.repeat(126)}b`, `x/${'a'.repeat(128)}`],
    [`x/${'a'.repeat(127)}*`, `x/${'a'.repeat(126)}*a`],
  ] as const;
  for (const [parentPattern, childPattern] of cases) {
    const [parent, child] = [aScope(`secrets:*:${parentPattern}`), aScope(`secrets:read:${childPattern}`)];
    const runs = 200;
    const all = () => {
      for (let run = 0; run < runs; run++) scopesCover([parent], child);
    };
    assertCostsUnder({ floors: 2 * runs }, all, parentPattern);
  }
});
