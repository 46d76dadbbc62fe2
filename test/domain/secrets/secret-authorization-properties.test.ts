/** The checks of contract section 5.4 that precede a body, against a naive reading of its sentences, and what never changes them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SecretAction } from '../../../src/domain/scopes/scope.ts';
import type { PresentedState, SecretOperation } from '../../../src/domain/secrets/secret-authorization.ts';
import { PROPERTY_RUNS, TABLE_RUNS } from '../../support/effort.ts';
import {
  anyPattern,
  naiveMatches,
  pathOf,
  SMALL_PATHS,
  SMALL_PATTERNS,
  widened,
} from '../scopes/scope-universe.ts';
import { ELSEWHERE, HOME, refusal, toList, toReadOrList, toUse } from './secret-requests.ts';

// The contract's sentences once more, on texts instead of parsed scopes, and with each condition for itself.

interface Spec {
  readonly kind: SecretOperation['kind'];
  readonly action: SecretAction;
  readonly path: string;
  readonly token: readonly string[];
  readonly owner: readonly string[];
  readonly home: boolean;
  readonly state: PresentedState;
}

function expectedRefusal(spec: Spec): string | undefined {
  if (spec.kind === 'malformed-path') return 'INVALID_PATH';
  if (!spec.home) return 'IP_NOT_ALLOWED';
  if (spec.kind === 'introspect') return undefined;
  if (spec.state === 'stopped') return 'EMERGENCY_STOP';
  if (spec.state !== 'live') return `TOKEN_${spec.state.toUpperCase()}`;
  const both = (allows: (scopes: readonly string[]) => boolean) => allows(spec.token) && allows(spec.owner);
  const may = {
    'named-by-body': () => true,
    use: () => both((scopes) => namesPath(scopes, spec.action, spec.path)),
    list: () => both((scopes) => namesAllBelow(scopes, spec.path)),
    'read-or-list': () =>
      both((scopes) => namesPath(scopes, 'read', spec.path)) ||
      both((scopes) => namesAllBelow(scopes, spec.path)),
    'list-namespaces': () => spec.token.includes('namespaces:read') && mayAskForNamespaces(spec.owner),
    'list-due': () => both((scopes) => patternsFor(scopes, 'read').length > 0),
  };
  return may[spec.kind]() ? undefined : 'SCOPE_DENIED';
}

/** Whoever holds a read scope may. */
function mayAskForNamespaces(scopes: readonly string[]): boolean {
  return scopes.includes('namespaces:read') || patternsFor(scopes, 'read').length > 0;
}

function patternsFor(scopes: readonly string[], action: SecretAction): string[] {
  return scopes.flatMap((scope) => {
    const [kind, named, pattern = ''] = scope.split(':');
    return kind === 'secrets' && (named === action || named === '*') ? [pattern] : [];
  });
}

function namesPath(scopes: readonly string[], action: SecretAction, path: string): boolean {
  return patternsFor(scopes, action).some((pattern) => naiveMatches(pattern, path));
}

/** One scope names every path of the small universe below the namespace: it has a path for any two that differ. */
function namesAllBelow(scopes: readonly string[], namespace: string): boolean {
  const below = SMALL_PATHS.filter((path) => path.startsWith(`${namespace}/`));
  return patternsFor(scopes, 'read').some((pattern) => below.every((path) => naiveMatches(pattern, path)));
}

const KINDS = [
  'use',
  'list',
  'read-or-list',
  'list-namespaces',
  'list-due',
  'introspect',
  'named-by-body',
  'malformed-path',
] as const;
const STATES = ['live', 'revoked', 'expired', 'exhausted', 'stopped'] as const;
const ACTIONS = ['read', 'write', 'delete'] as const;
const anyState = fc.oneof(
  { weight: 3, arbitrary: fc.constant('live' as const) },
  { weight: 1, arbitrary: fc.constantFrom(...STATES) },
);
/** Those that name something, and any other shape. */
const smallPattern = fc.oneof(
  fc.constantFrom('*', '*/*', 'a/*', 'b/*', '*/a', '*/b', 'a/b', 'b/a', 'a/b/*', '*/*/*'),
  fc.constantFrom(...SMALL_PATTERNS),
);
const smallScope = fc
  .tuple(fc.constantFrom('read', 'read', '*', 'write', 'delete'), smallPattern)
  .map(([action, pattern]) => `secrets:${action}:${pattern}`);
const smallScopes = fc.array(fc.oneof({ weight: 6, arbitrary: smallScope }, fc.constant('namespaces:read')), {
  maxLength: 6,
});

function operationOf({ kind, action, path }: Pick<Spec, 'kind' | 'action' | 'path'>): SecretOperation {
  if (kind === 'use') return toUse(action, path);
  if (kind === 'list') return toList(path);
  return kind === 'read-or-list' ? toReadOrList(path) : { kind };
}

function refusalOf(spec: Spec): string | undefined {
  const { token, owner, state, home } = spec;
  const operation = operationOf(spec);
  return refusal({ operation, tokenScopes: token, ownerScopes: owner, state, from: home ? HOME : ELSEWHERE });
}

const anySpec: fc.Arbitrary<Spec> = fc.record({
  kind: fc.constantFrom(...KINDS),
  action: fc.constantFrom(...ACTIONS),
  path: fc.constantFrom('a/a', 'a/b', 'b/a', 'b/b'),
  token: smallScopes,
  owner: smallScopes,
  home: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  state: anyState,
});

test('every request is decided as the contract’s sentences say, one by one', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(anySpec, (spec) => {
      const expected = expectedRefusal(spec);
      assert.equal(refusalOf(spec), expected);
      const what = `${spec.kind} ${expected}`;
      seen.set(what, (seen.get(what) ?? 0) + 1);
    }),
    { numRuns: TABLE_RUNS },
  );
  for (const kind of ['use', 'list', 'read-or-list', 'list-namespaces', 'list-due']) {
    for (const outcome of ['undefined', 'SCOPE_DENIED', 'TOKEN_EXPIRED', 'IP_NOT_ALLOWED']) {
      assert.ok(
        (seen.get(`${kind} ${outcome}`) ?? 0) > 3,
        `${kind} ${outcome}: ${seen.get(`${kind} ${outcome}`)}`,
      );
    }
  }
});

/** Scopes and what is left of them when each is dropped or made narrower. */
const narrowed = fc
  .array(
    anyPattern.chain((narrow) => fc.tuple(fc.constant(narrow), widened(narrow), fc.boolean(), fc.boolean())),
    { maxLength: 3 },
  )
  .chain((rows) =>
    fc.record({
      wide: fc.constant(rows.map(([, wide, everyAction]) => `secrets:${everyAction ? '*' : 'read'}:${wide}`)),
      narrow: fc.constant(rows.flatMap(([pattern, , , kept]) => (kept ? [`secrets:read:${pattern}`] : []))),
      path: rows.length === 0 ? fc.constant('a/b') : fc.oneof(...rows.map(([, wide]) => pathOf(wide))),
    }),
  );

test('to narrow either list of scopes never allows what was refused', () => {
  const outcomes = { both: 0, onlyWide: 0 };
  fc.assert(
    fc.property(
      narrowed,
      fc.boolean(),
      fc.constantFrom(...KINDS),
      ({ wide, narrow, path }, ofToken, kind) => {
        const other = ['secrets:*:*', 'namespaces:read'];
        const operation =
          kind === 'list'
            ? toList('a')
            : operationOf({ kind: kind === 'read-or-list' ? 'use' : kind, action: 'read', path });
        const under = (scopes: readonly string[]) =>
          refusal(
            ofToken
              ? { operation, tokenScopes: scopes, ownerScopes: other }
              : { operation, tokenScopes: other, ownerScopes: scopes },
          );
        const [before, after] = [under(wide), under(narrow)];
        if (after === undefined) assert.equal(before, undefined, `${narrow} of ${wide}`);
        else if (before !== undefined) assert.equal(after, before);
        if (kind === 'use' && before === undefined) outcomes[after === undefined ? 'both' : 'onlyWide'] += 1;
      },
    ),
    { numRuns: TABLE_RUNS },
  );
  assert.ok(
    outcomes.both > TABLE_RUNS / 400 && outcomes.onlyWide > TABLE_RUNS / 40,
    JSON.stringify(outcomes),
  );
});

test('introspection is answered to the dead and to whoever holds no scope, but only where the address is allowed', () => {
  fc.assert(
    fc.property(anySpec, (spec) => {
      const asked = { ...spec, kind: 'introspect' as const };
      assert.equal(refusalOf(asked), spec.home ? undefined : 'IP_NOT_ALLOWED');
    }),
  );
});

test('scopes never decide about a malformed path, about what the body will name, or about a dead token', () => {
  fc.assert(
    fc.property(anySpec, smallScopes, smallScopes, fc.constantFrom(...KINDS), (spec, token, owner, other) => {
      for (const kind of ['malformed-path', 'named-by-body'] as const) {
        assert.equal(refusalOf({ ...spec, kind }), refusalOf({ ...spec, kind, token, owner }));
      }
      const dead = { ...spec, state: 'expired' as const };
      assert.equal(
        refusalOf(dead),
        refusalOf({ ...dead, token, owner }),
        'whatever it could do when it lived',
      );
      if ([spec.kind, other].some((kind) => kind === 'malformed-path' || kind === 'introspect')) return;
      assert.equal(refusalOf(dead), refusalOf({ ...dead, kind: other }), 'and whatever is asked');
    }),
    { numRuns: PROPERTY_RUNS },
  );
});
