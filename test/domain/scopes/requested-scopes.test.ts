/** The scopes of a new token (contract section 5.1): as asked, covered by what is held, or refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { literalPaths, requestScopes } from '../../../src/domain/scopes/requested-scopes.ts';
import { formatScope, scopesAllow } from '../../../src/domain/scopes/scope.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';
import {
  anyPath,
  anyPattern,
  aPath,
  aScope,
  naiveMatches,
  pathOf,
  SMALL_PATHS,
  SMALL_PATTERNS,
  widened,
} from './scope-universe.ts';

const VENDOR_NAMES = ['read:secrets', 'write:secrets', 'rotate:secrets', 'import:secrets'] as const;
const ACTIONS = ['read', 'write', 'delete'] as const;

/** The texts that are granted, else the code and the place of what is refused. */
function request(asked: readonly string[], held: readonly string[]): readonly string[] | string {
  const requested = requestScopes(asked, held.map(aScope));
  return requested.ok ? requested.scopes.map(formatScope) : `${requested.code} ${requested.index}`;
}

test('every delegation vector is granted as asked, SCOPE_DENIED or INVALID_SCOPE, as listed', () => {
  assert.ok(vectors.delegation.length >= 26, 'all rows are there');
  for (const { parent, child, covered, why } of vectors.delegation) {
    const refused = covered === null ? 'INVALID_SCOPE 0' : 'SCOPE_DENIED 0';
    assert.deepEqual(request([child], parent), covered ? [child] : refused, `${child} of ${parent}: ${why}`);
  }
});

test('every invalid scope vector is INVALID_SCOPE, also for who holds everything', () => {
  for (const text of vectors.invalid_scopes) {
    assert.equal(
      request([text], ['secrets:*:*', 'namespaces:read']),
      'INVALID_SCOPE 0',
      JSON.stringify(text),
    );
  }
});

test('every other valid scope vector is granted to who holds it', () => {
  for (const text of vectors.also_valid_scopes) assert.deepEqual(request([text], [text]), [text]);
});

test('a vendor name stands for the own scopes as far as they hold that action', () => {
  const held = [
    'secrets:*:a/*',
    'secrets:read:b/x*',
    'secrets:write:c/k',
    'secrets:delete:*',
    'namespaces:read',
  ];
  assert.deepEqual(request(['read:secrets'], held), ['secrets:read:a/*', 'secrets:read:b/x*']);
  for (const name of ['write:secrets', 'rotate:secrets', 'import:secrets']) {
    assert.deepEqual(request([name], held), ['secrets:write:a/*', 'secrets:write:c/k'], name);
  }
  assert.deepEqual(request(['read:secrets'], ['secrets:*:*']), ['secrets:read:*']);
});

test('a vendor name of an action that is not held is SCOPE_DENIED', () => {
  const nothing = ['secrets:delete:*', 'namespaces:read'];
  for (const name of VENDOR_NAMES) {
    assert.equal(request([name], []), 'SCOPE_DENIED 0', name);
    assert.equal(request([name], nothing), 'SCOPE_DENIED 0', name);
    const other = name === 'read:secrets' ? 'secrets:write:*' : 'secrets:read:*';
    assert.equal(request([other, name], [other]), 'SCOPE_DENIED 1', name);
  }
});

test('manage:agents and whatever else is no vendor name is INVALID_SCOPE', () => {
  const others = [
    'manage:agents',
    'delete:secrets',
    'read:secret',
    'Read:secrets',
    'read:secrets ',
    'secrets:read',
  ];
  others.push(
    '*',
    '',
    'admin',
    'constructor',
    '__proto__',
    'secrets:manage:*',
    'approvals:read',
    'namespaces:*',
  );
  for (const text of [...others, ...notTexts('read:secrets')]) {
    const asked = ['secrets:read:a/b', untyped<string>(text)];
    assert.equal(request(asked, ['secrets:*:*', 'namespaces:read']), 'INVALID_SCOPE 1', String(text));
  }
});

test('what does not parse is refused before what is not covered, wherever it stands; the first of a kind is named', () => {
  const held = ['secrets:read:a/*'];
  const [fine, denied, invalid] = ['secrets:read:a/b', 'secrets:read:b/c', 'secrets:read:**'] as const;
  for (const [asked, expected] of [
    [[denied, invalid], 'INVALID_SCOPE 1'],
    [[invalid, denied], 'INVALID_SCOPE 0'],
    [['write:secrets', invalid], 'INVALID_SCOPE 1'],
    [[fine, denied, fine, invalid, invalid], 'INVALID_SCOPE 3'],
    [[fine, denied], 'SCOPE_DENIED 1'],
    [[fine, 'write:secrets', denied], 'SCOPE_DENIED 1'],
    [[fine, denied, denied], 'SCOPE_DENIED 1'],
  ] as const) {
    assert.equal(request(asked, held), expected, String(asked));
  }
});

test('whoever holds a read scope may ask for namespaces:read, nobody else; no vendor name brings it along', () => {
  for (const held of ['namespaces:read', 'secrets:read:a/b', 'secrets:*:a/*', 'secrets:read:*']) {
    assert.deepEqual(request(['namespaces:read'], [held]), ['namespaces:read'], held);
  }
  for (const held of [[], ['secrets:write:*'], ['secrets:delete:*', 'secrets:write:a/*']]) {
    assert.equal(request(['namespaces:read'], held), 'SCOPE_DENIED 0', String(held));
  }
  assert.deepEqual(request(['read:secrets'], ['secrets:read:a/*', 'namespaces:read']), ['secrets:read:a/*']);
  assert.equal(request(['secrets:read:a/b'], ['namespaces:read']), 'SCOPE_DENIED 0');
});

test('nothing is cut to what is held, nor put together from several scopes of one action', () => {
  for (const [asked, held] of [
    ['secrets:read:a/*', ['secrets:read:a/b', 'secrets:read:a/c*']],
    ['secrets:read:*', ['secrets:read:a/*']],
    ['secrets:*:a/b', ['secrets:read:a/b', 'secrets:write:a/b']],
    ['secrets:*:a/*', ['secrets:read:*', 'secrets:write:*', 'secrets:delete:a/b']],
    ['secrets:read:a/b', ['secrets:write:a/b', 'secrets:delete:a/b']],
    ['secrets:read:A/b', ['secrets:read:a/*']],
    ['secrets:read:a/b', []],
  ] as const) {
    assert.equal(request([asked], held), 'SCOPE_DENIED 0', `${asked} of ${held}`);
  }
  const three = ['secrets:read:a/*', 'secrets:write:*', 'secrets:delete:a/b'];
  assert.deepEqual(request(['secrets:*:a/b'], three), ['secrets:*:a/b'], 'every action is held');
});

test('what is granted stands in the order asked and once', () => {
  const held = ['secrets:*:b/*', 'secrets:*:a/*'];
  const asked = ['secrets:read:a/b', 'read:secrets', 'secrets:read:a/b', 'secrets:read:b/*', 'read:secrets'];
  assert.deepEqual(request(asked, held), ['secrets:read:a/b', 'secrets:read:b/*', 'secrets:read:a/*']);
  assert.deepEqual(request(['rotate:secrets', 'write:secrets', 'import:secrets'], held), [
    'secrets:write:b/*',
    'secrets:write:a/*',
  ]);
  // One meaning in two spellings is left as it was asked.
  assert.deepEqual(request(['secrets:read:*', 'secrets:read:*/*'], ['secrets:*:*']), [
    'secrets:read:*',
    'secrets:read:*/*',
  ]);
});

/** What the rules say of one path and action, on texts. */
function naiveAllows(scopes: readonly string[], action: string, path: string): boolean {
  return scopes.some((scope) => {
    const [kind, named, pattern = ''] = scope.split(':');
    return kind === 'secrets' && (named === action || named === '*') && naiveMatches(pattern, path);
  });
}

const anyAction = fc.constantFrom(...ACTIONS, '*');
const anyScope = fc.oneof(
  { weight: 9, arbitrary: fc.tuple(anyAction, anyPattern).map(([a, p]) => `secrets:${a}:${p}`) },
  fc.constant('namespaces:read'),
);
const scopesOf = (minLength: number) => fc.array(anyScope, { minLength, maxLength: 4 });

/** A request of which much is covered: what is held are wider forms of some of what is asked, and more. */
const requestAndHeld = fc
  .array(
    anyPattern.chain((pattern) => fc.tuple(fc.constant(pattern), widened(pattern), anyAction, fc.boolean())),
    { minLength: 1, maxLength: 3 },
  )
  .chain((rows) =>
    fc.record({
      asked: fc.constant(rows.map(([pattern, , action]) => `secrets:${action}:${pattern}`)),
      wider: fc.constant(rows.map(([, wide, action, all]) => `secrets:${all ? '*' : action}:${wide}`)),
      left: fc.nat({ max: rows.length * 3 }),
      more: scopesOf(0),
      vendor: fc.option(fc.constantFrom(...VENDOR_NAMES), { nil: undefined, freq: 4 }),
      path: fc.oneof(anyPath, ...rows.map(([pattern]) => pathOf(pattern))),
    }),
  )
  .map(({ asked, wider, left, more, vendor, path }) => ({
    asked: vendor === undefined ? asked : [...asked, vendor],
    // In most requests nothing is left out.
    held: [...wider.filter((_, index) => index !== left), ...more],
    path,
  }));

test('soundness: no path and action is granted that is not held', () => {
  const seen = { granted: 0, denied: 0, open: 0 };
  fc.assert(
    fc.property(requestAndHeld, ({ asked, held, path }) => {
      const granted = request(asked, held);
      if (typeof granted === 'string') {
        seen.denied += 1;
        return;
      }
      seen.granted += 1;
      for (const action of ACTIONS) {
        if (!naiveAllows(granted, action, path)) continue;
        seen.open += 1;
        assert.ok(naiveAllows(held, action, path), `${action} ${path}: ${granted} of ${held}`);
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(Math.min(seen.granted, 2 * seen.denied, seen.open) > PROPERTY_RUNS / 10, JSON.stringify(seen));
});

test('what is granted is what was asked, letter for letter and nothing beside it', () => {
  fc.assert(
    fc.property(requestAndHeld, ({ asked, held }) => {
      const plain = asked.filter((text) => text.startsWith('secrets:'));
      const granted = request(plain, held);
      if (typeof granted !== 'string') assert.deepEqual(granted, [...new Set(plain)]);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('a vendor name grants exactly what is held of its action', () => {
  fc.assert(
    fc.property(scopesOf(1), fc.constantFrom(...VENDOR_NAMES), anyPath, (held, name, other) => {
      const action = name === 'read:secrets' ? 'read' : 'write';
      const granted = request([name], held);
      const holds = held.some(
        (text) => text.startsWith(`secrets:${action}:`) || text.startsWith('secrets:*:'),
      );
      assert.equal(typeof granted !== 'string', holds);
      if (typeof granted === 'string') return assert.equal(granted, 'SCOPE_DENIED 0');
      const parsed = granted.map(aScope);
      for (const path of [other, 'a/b', 'a/b/c']) {
        for (const asked of ACTIONS) {
          const expected = asked === action && naiveAllows(held, action, path);
          assert.equal(scopesAllow(parsed, asked, aPath(path)), expected, `${asked} ${path}`);
        }
      }
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('on small patterns a scope is granted if and only if, for each action, one that is held contains it', () => {
  const named = new Map(
    SMALL_PATTERNS.map((pattern) => [pattern, SMALL_PATHS.filter((path) => naiveMatches(pattern, path))]),
  );
  const small = fc.constantFrom(...SMALL_PATTERNS);
  const near = small.chain((asked) => fc.tuple(fc.constant(asked), fc.oneof(small, widened(asked))));
  const holding = fc.array(fc.tuple(anyAction, near), { minLength: 1, maxLength: 4 });
  const seen = { true: 0, false: 0 };
  fc.assert(
    fc.property(anyAction, holding, (action, rows) => {
      const [[, [asked]] = ['', ['*', '*']]] = rows;
      const held = rows.map(([of, [, pattern]]) => [of, pattern] as const);
      const wanted = action === '*' ? ACTIONS : [action];
      const expected = wanted.every((one) =>
        held.some(
          ([of, pattern]) =>
            (of === '*' || of === one) && named.get(asked)?.every((path) => naiveMatches(pattern, path)),
        ),
      );
      const texts = held.map(([of, pattern]) => `secrets:${of}:${pattern}`);
      assert.equal(typeof request([`secrets:${action}:${asked}`], texts) !== 'string', expected);
      seen[`${expected}`] += 1;
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(Math.min(seen.true, seen.false) > PROPERTY_RUNS / 20, JSON.stringify(seen));
});

test('to hold more never refuses what was granted, and what was granted could be asked for again', () => {
  fc.assert(
    fc.property(requestAndHeld, scopesOf(1), ({ asked, held }, more) => {
      const granted = request(asked, held);
      if (typeof granted === 'string') return;
      assert.deepEqual(request(granted, [...held, ...more]), granted);
      assert.deepEqual(request(granted, granted), granted);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('64 of the longest scopes, of which only the last of as many covers any, are decided in no time', () => {
  const start = Array(15)
    .fill(`${'a'.repeat(12)}*${'a'.repeat(12)}`)
    .join('/');
  const held = Array.from({ length: 63 }, (_, index) => aScope(`secrets:read:${start}/b${index}*`));
  held.push(aScope(`secrets:read:${start}/c*`));
  const asked = Array.from({ length: 64 }, (_, index) => `secrets:read:${start}/c${index}*`);
  assertCostsUnder({ floors: 500 }, () => assert.equal(requestScopes(asked, held).ok, true));
});

test('a scope without any * names its path, and each path once', () => {
  const scopes = [
    'secrets:read:a/b',
    'namespaces:read',
    'secrets:*:a/b',
    'secrets:delete:c/d/e',
    'secrets:read:a/*',
  ];
  scopes.push(
    'secrets:read:*',
    'secrets:read:*/b',
    'secrets:read:a/b*',
    'secrets:write:a/*b',
    'secrets:write:c/x',
  );
  assert.deepEqual(literalPaths(scopes.map(aScope)), ['a/b', 'c/d/e', 'c/x']);
  assert.deepEqual(literalPaths([]), []);
});

test('a scope names its path exactly when it has no *', () => {
  fc.assert(
    fc.property(fc.array(anyScope, { maxLength: 6 }), (texts) => {
      const expected = texts
        .filter((text) => text.startsWith('secrets:'))
        .map((text) => text.split(':')[2] ?? '')
        .filter((pattern) => !pattern.includes('*'));
      assert.deepEqual(literalPaths(texts.map(aScope)), [...new Set(expected)]);
    }),
  );
});
