/** The order of checks of contract section 5.4, as far as it precedes a body: the earlier check answers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayUse, type SecretOperation } from '../../../src/domain/secrets/secret-authorization.ts';
import cidr from '../../vectors/cidr.json' with { type: 'json' };
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { aNamespace, aPath } from '../scopes/scope-universe.ts';
import { notTexts, untyped } from '../wrong-types.ts';
import {
  type Asked,
  aRequest,
  blocks,
  decide,
  ELSEWHERE,
  HOME,
  INTROSPECT,
  LIST_NAMESPACES,
  MALFORMED,
  NAMED_BY_BODY,
  refusal,
  toList,
  toReadOrList,
  toUse,
} from './secret-requests.ts';

/** In the order of the contract: what stands first answers. Faults of one rank cannot occur together. */
const FAULTS = {
  'malformed path': { rank: 0, code: 'INVALID_PATH', put: { operation: MALFORMED } },
  'refused address': { rank: 1, code: 'IP_NOT_ALLOWED', put: { from: ELSEWHERE } },
  'revoked token': { rank: 2, code: 'TOKEN_REVOKED', put: { state: 'revoked' } },
  'expired token': { rank: 2, code: 'TOKEN_EXPIRED', put: { state: 'expired' } },
  'exhausted token': { rank: 2, code: 'TOKEN_EXHAUSTED', put: { state: 'exhausted' } },
  'token of a stopped agent': { rank: 2, code: 'EMERGENCY_STOP', put: { state: 'stopped' } },
  'scope that the token lacks': { rank: 3, code: 'SCOPE_DENIED', put: { tokenScopes: [] } },
  'scope that the owner lacks': { rank: 4, code: 'SCOPE_DENIED', put: { ownerScopes: [] } },
} as const satisfies Record<string, { rank: number; code: string; put: Partial<Asked> }>;
type ValidationIssue = keyof typeof FAULTS;
const ALL_FAULTS = Object.keys(FAULTS) as ValidationIssue[];
const WITHOUT_SCOPE = ALL_FAULTS.slice(0, 6);

/** Every kind of operation, the scope that it takes and the faults that count for it. */
const OPERATIONS: readonly {
  name: string;
  operation: SecretOperation;
  scope: string;
  counts: readonly ValidationIssue[];
}[] = [
  { name: 'read', operation: toUse('read', 'a/b'), scope: 'secrets:read:a/b', counts: ALL_FAULTS },
  { name: 'write', operation: toUse('write', 'a/b'), scope: 'secrets:write:a/*', counts: ALL_FAULTS },
  { name: 'delete', operation: toUse('delete', 'a/b'), scope: 'secrets:delete:*', counts: ALL_FAULTS },
  { name: 'list', operation: toList('a'), scope: 'secrets:read:a/*', counts: ALL_FAULTS },
  { name: 'read or list', operation: toReadOrList('a/b'), scope: 'secrets:read:a/b', counts: ALL_FAULTS },
  { name: 'read or LIST', operation: toReadOrList('a/b'), scope: 'secrets:read:a/b/*', counts: ALL_FAULTS },
  {
    name: 'list namespaces',
    operation: LIST_NAMESPACES,
    scope: 'namespaces:read',
    counts: ALL_FAULTS,
  },
  { name: 'introspect', operation: INTROSPECT, scope: 'secrets:read:a/b', counts: ALL_FAULTS.slice(0, 2) },
  { name: 'named by body', operation: NAMED_BY_BODY, scope: 'secrets:write:a/b', counts: WITHOUT_SCOPE },
  { name: 'malformed', operation: MALFORMED, scope: 'secrets:read:a/b', counts: ALL_FAULTS.slice(0, 1) },
];

test('without a fault nothing refuses, whatever is asked for', () => {
  for (const { name, operation, scope } of OPERATIONS) {
    const expected = operation.kind === 'malformed-path' ? 'INVALID_PATH' : undefined;
    assert.equal(refusal({ operation, tokenScopes: [scope], ownerScopes: [scope] }), expected, name);
  }
});

test('of any two faults the earlier one answers, for every kind of operation; a fault that does not count changes nothing', () => {
  let pairs = 0;
  for (const { name, operation, scope, counts } of OPERATIONS) {
    for (const one of ALL_FAULTS) {
      for (const other of ALL_FAULTS) {
        if (one !== other && FAULTS[one].rank === FAULTS[other].rank) continue;
        const faulty = { operation, tokenScopes: [scope], ...FAULTS[one].put, ...FAULTS[other].put };
        const present: ValidationIssue[] = operation.kind === 'malformed-path' ? ['malformed path'] : [];
        present.push(one, other);
        // A malformed path is a operation of its own, for which nothing else counts.
        const first = present.includes('malformed path') ? ['malformed path' as const] : present;
        const counting = first.filter((fault) => counts.includes(fault));
        const [earliest] = counting.toSorted((a, b) => FAULTS[a].rank - FAULTS[b].rank);
        const expected = earliest === undefined ? undefined : FAULTS[earliest].code;
        assert.equal(refusal(faulty), expected, `${name}: ${one}, ${other}`);
        pairs += 1;
      }
    }
  }
  assert.equal(pairs, OPERATIONS.length * (8 * 8 - 4 * 3));
});

test('all faults at once: the path, then the address, then the end of the token, then the scope', () => {
  const worst = { tokenScopes: [], ownerScopes: [], from: ELSEWHERE, state: 'revoked' } as const;
  const operation = toUse('read', 'a/b');
  assert.equal(refusal({ ...worst, operation: MALFORMED }), 'INVALID_PATH');
  assert.equal(refusal({ ...worst, operation }), 'IP_NOT_ALLOWED');
  assert.equal(refusal({ ...worst, operation, from: HOME }), 'TOKEN_REVOKED');
  assert.equal(refusal({ ...worst, operation, from: HOME, state: 'live' }), 'SCOPE_DENIED');
});

test('both lists of scopes must allow, each by itself', () => {
  const operation = toUse('read', 'a/b');
  const [wide, fitting, beside] = [['secrets:*:*'], ['secrets:read:a/b'], ['secrets:read:a/c']];
  for (const lists of [
    [wide, fitting],
    [fitting, wide],
    [fitting, fitting],
  ] as const) {
    assert.equal(
      refusal({ operation, tokenScopes: lists[0], ownerScopes: lists[1] }),
      undefined,
      String(lists),
    );
  }
  const refused = [
    [wide, beside],
    [beside, wide],
    [beside, fitting],
    [fitting, []],
    [[], fitting],
    [[], []],
    // Neither may fill what the other lacks: the token may write, the owner read.
    [['secrets:write:a/b'], fitting],
    [fitting, ['namespaces:read']],
  ] as const;
  for (const [tokenScopes, ownerScopes] of refused) {
    const asked = { operation, tokenScopes, ownerScopes };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${tokenScopes} under ${ownerScopes}`);
  }
});

test('a credential without an owner beside it is judged by its own list', () => {
  const operation = toUse('delete', 'a/b');
  assert.equal(refusal({ operation, tokenScopes: ['secrets:delete:a/b'], ownerScopes: null }), undefined);
  for (const scope of ['secrets:read:*', 'secrets:write:*', 'secrets:delete:a/c', 'namespaces:read']) {
    assert.equal(refusal({ operation, tokenScopes: [scope], ownerScopes: null }), 'SCOPE_DENIED', scope);
  }
});

test('GET of several segments needs to read the path or to list what lies below it, in one and the same way', () => {
  const operation = toReadOrList('a/b');
  const [reads, lists] = [['secrets:read:a/b'], ['secrets:read:a/b/*']];
  const both = ['secrets:read:a/*'];
  for (const [tokenScopes, ownerScopes] of [
    [reads, reads],
    [lists, lists],
    [both, reads],
    [both, lists],
    [reads, both],
    [[...reads, ...lists], lists],
  ] as const) {
    assert.equal(
      refusal({ operation, tokenScopes, ownerScopes }),
      undefined,
      `${tokenScopes} / ${ownerScopes}`,
    );
  }
  for (const [tokenScopes, ownerScopes] of [
    // One may read it, the other list it: together they may do neither.
    [reads, lists],
    [lists, reads],
    [['secrets:write:a/*'], both],
    [['secrets:read:a/b/c'], both],
    [['secrets:read:a/b/c*'], both],
    [['secrets:read:a/b*/x'], both],
  ] as const) {
    const asked = { operation, tokenScopes, ownerScopes };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${tokenScopes} / ${ownerScopes}`);
  }
});

test('GET of several segments is decided once: to read, and to list where the secret is absent, or to list', () => {
  const { secret, namespace } = { secret: aPath('a/b'), namespace: aNamespace('a/b') };
  const [reads, lists] = ['secrets:read:a/b', 'secrets:read:a/b/*'];
  for (const [tokenScopes, ownerScopes, operation] of [
    [[reads], [reads], { kind: 'read', secret, orList: undefined }],
    [[reads, lists], [reads], { kind: 'read', secret, orList: undefined }],
    [[reads], [reads, lists], { kind: 'read', secret, orList: undefined }],
    [[reads, lists], [reads, lists], { kind: 'read', secret, orList: namespace }],
    [[lists], [lists], { kind: 'list', namespace }],
    [[lists], [reads, lists], { kind: 'list', namespace }],
  ] as const) {
    const asked = { operation: toReadOrList('a/b'), tokenScopes, ownerScopes };
    assert.deepEqual(decide(asked), { allowed: true, operation }, `${tokenScopes} / ${ownerScopes}`);
  }
});

test('whatever else is allowed is what was asked for', () => {
  for (const { name, operation, scope } of OPERATIONS) {
    if (operation.kind === 'malformed-path' || operation.kind === 'read-or-list') continue;
    const asked = { operation, tokenScopes: [scope], ownerScopes: [scope] };
    assert.deepEqual(decide(asked), { allowed: true, operation }, name);
  }
});

test('a path too long to be a namespace can be read and not listed', () => {
  const deep = aPath(Array(16).fill('a').join('/'));
  const operation: SecretOperation = { kind: 'read-or-list', secret: deep, namespace: undefined };
  assert.equal(refusal({ operation, tokenScopes: ['secrets:read:*'] }), undefined);
  assert.equal(refusal({ operation, tokenScopes: ['secrets:read:a/b'] }), 'SCOPE_DENIED');
  const { grant } = aRequest({ operation, tokenScopes: ['secrets:*:*'] });
  const read = { allowed: true, operation: { kind: 'read', secret: deep, orList: undefined } };
  assert.deepEqual(decide({ operation, tokenScopes: ['secrets:*:*'], ownerScopes: ['secrets:*:*'] }), read);
  assert.equal(mayUse(grant, 'read', deep), true);
});

test('a token lists namespaces by namespaces:read alone, an API key without it', () => {
  const operation = LIST_NAMESPACES;
  assert.equal(refusal({ operation, tokenScopes: ['namespaces:read'] }), undefined);
  assert.equal(refusal({ operation, tokenScopes: ['secrets:read:a/b', 'namespaces:read'] }), undefined);
  for (const scopes of [[], ['secrets:read:*'], ['secrets:*:*']]) {
    const asked = { operation, tokenScopes: scopes, ownerScopes: ['namespaces:read', 'secrets:*:*'] };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${scopes}: the owner's does not stand for the token's`);
    const key = { operation, tokenScopes: scopes, ownerScopes: null, namespacesTakeScope: false };
    assert.equal(refusal(key), undefined);
  }
});

test('a token lists namespaces as long as its owner could ask for namespaces:read', () => {
  const asked = { operation: LIST_NAMESPACES, tokenScopes: ['namespaces:read'] };
  for (const scope of ['namespaces:read', 'secrets:read:a/b', 'secrets:*:a/*', 'secrets:read:*']) {
    assert.equal(refusal({ ...asked, ownerScopes: ['secrets:write:r/*', scope] }), undefined, scope);
  }
  for (const ownerScopes of [
    [],
    ['secrets:write:r/*'],
    ['secrets:write:*'],
    ['secrets:write:*', 'secrets:delete:*'],
  ]) {
    assert.equal(refusal({ ...asked, ownerScopes }), 'SCOPE_DENIED', String(ownerScopes));
  }
});

test('a credential without an address list is taken from anywhere, one with an empty list from nowhere', () => {
  const asked = { operation: toUse('read', 'a/b'), tokenScopes: ['secrets:read:a/b'] };
  for (const from of [HOME, ELSEWHERE, '::1', '', 'unknown', ...notTexts(HOME)]) {
    assert.equal(refusal({ ...asked, allowed: null, from: untyped(from) }), undefined, String(from));
    assert.equal(refusal({ ...asked, allowed: [], from: untyped(from) }), 'IP_NOT_ALLOWED', String(from));
  }
});

test('attack: no spelling of an address gets past the list', () => {
  const asked = { operation: INTROSPECT, allowed: blocks('192.0.2.0/24') };
  for (const from of [HOME, `::ffff:${HOME}`, '::ffff:c000:207']) {
    assert.equal(refusal({ ...asked, from }), undefined, from);
  }
  const spellings = [`::${HOME}`, '0300.0.02.07', '192.0.519', '3221225991', ` ${HOME}`, `${HOME}/32`];
  spellings.push(`${HOME}%eth0`, `${HOME}:80`, `${HOME},${ELSEWHERE}`, '', 'localhost', `2002:c000:207::`);
  for (const from of [...spellings, ...notTexts(HOME)]) {
    assert.equal(refusal({ ...asked, from: untyped(from) }), 'IP_NOT_ALLOWED', String(from));
  }
});

test('every match and list vector holds for the token’s list and for the owner’s', () => {
  const rows = [
    ...vectors.match.map(({ action, path, ...row }) => ({ ...row, operation: toUse(untyped(action), path) })),
    ...vectors.list.map(({ namespace, ...row }) => ({ ...row, operation: toList(namespace) })),
  ];
  assert.equal(rows.length, vectors.match.length + vectors.list.length);
  for (const { granted, operation, allow } of rows) {
    const expected = allow ? undefined : 'SCOPE_DENIED';
    const what = `${granted} on ${JSON.stringify(operation)}`;
    assert.equal(refusal({ operation, tokenScopes: granted }), expected, what);
    assert.equal(refusal({ operation, tokenScopes: ['secrets:*:*'], ownerScopes: granted }), expected, what);
  }
});

test('every address match vector is let in or IP_NOT_ALLOWED, as listed, whatever is asked for', () => {
  for (const { allowed_ips, client, allow } of cidr.matches) {
    const allowed = allowed_ips === null ? null : blocks(...allowed_ips);
    for (const { name, operation, scope } of OPERATIONS) {
      if (operation.kind === 'malformed-path') continue;
      const asked = { operation, tokenScopes: [scope], allowed, from: client };
      assert.equal(
        refusal(asked),
        allow ? undefined : 'IP_NOT_ALLOWED',
        `${name}: ${client} on ${allowed_ips}`,
      );
    }
  }
});
