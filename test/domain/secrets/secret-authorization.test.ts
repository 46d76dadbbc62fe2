/** The order of checks of contract section 5.4, as far as it precedes a body: the earlier check answers. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayList, mayUse, type SecretOperation } from '../../../src/domain/secrets/secret-authorization.ts';
import cidr from '../../vectors/cidr.json' with { type: 'json' };
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { aPath } from '../scopes/scope-universe.ts';
import { notTexts, untyped } from '../wrong-types.ts';
import {
  type Asked,
  aRequest,
  blocks,
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
  'malformed path': { rank: 0, code: 'INVALID_PATH', put: { wish: MALFORMED } },
  'refused address': { rank: 1, code: 'IP_NOT_ALLOWED', put: { from: ELSEWHERE } },
  'revoked token': { rank: 2, code: 'TOKEN_REVOKED', put: { state: 'revoked' } },
  'expired token': { rank: 2, code: 'TOKEN_EXPIRED', put: { state: 'expired' } },
  'exhausted token': { rank: 2, code: 'TOKEN_EXHAUSTED', put: { state: 'exhausted' } },
  'scope that the token lacks': { rank: 3, code: 'SCOPE_DENIED', put: { tokenScopes: [] } },
  'scope that the owner lacks': { rank: 4, code: 'SCOPE_DENIED', put: { ownerScopes: [] } },
} as const satisfies Record<string, { rank: number; code: string; put: Partial<Asked> }>;
type ValidationIssue = keyof typeof FAULTS;
const ALL_FAULTS = Object.keys(FAULTS) as ValidationIssue[];
const WITHOUT_SCOPE = ALL_FAULTS.slice(0, 5);

/** Every kind of wish, the scope that it takes and the faults that count for it. */
const WISHES: readonly {
  name: string;
  wish: SecretOperation;
  scope: string;
  counts: readonly ValidationIssue[];
}[] = [
  { name: 'read', wish: toUse('read', 'a/b'), scope: 'secrets:read:a/b', counts: ALL_FAULTS },
  { name: 'write', wish: toUse('write', 'a/b'), scope: 'secrets:write:a/*', counts: ALL_FAULTS },
  { name: 'delete', wish: toUse('delete', 'a/b'), scope: 'secrets:delete:*', counts: ALL_FAULTS },
  { name: 'list', wish: toList('a'), scope: 'secrets:read:a/*', counts: ALL_FAULTS },
  { name: 'read or list', wish: toReadOrList('a/b'), scope: 'secrets:read:a/b', counts: ALL_FAULTS },
  { name: 'read or LIST', wish: toReadOrList('a/b'), scope: 'secrets:read:a/b/*', counts: ALL_FAULTS },
  {
    name: 'list namespaces',
    wish: LIST_NAMESPACES,
    scope: 'namespaces:read',
    counts: ALL_FAULTS,
  },
  { name: 'introspect', wish: INTROSPECT, scope: 'secrets:read:a/b', counts: ALL_FAULTS.slice(0, 2) },
  { name: 'named by body', wish: NAMED_BY_BODY, scope: 'secrets:write:a/b', counts: WITHOUT_SCOPE },
  { name: 'malformed', wish: MALFORMED, scope: 'secrets:read:a/b', counts: ALL_FAULTS.slice(0, 1) },
];

test('without a fault nothing refuses, whatever is asked for', () => {
  for (const { name, wish, scope } of WISHES) {
    const expected = wish.kind === 'malformed-path' ? 'INVALID_PATH' : undefined;
    assert.equal(refusal({ wish, tokenScopes: [scope], ownerScopes: [scope] }), expected, name);
  }
});

test('of any two faults the earlier one answers, for every kind of wish; a fault that does not count changes nothing', () => {
  let pairs = 0;
  for (const { name, wish, scope, counts } of WISHES) {
    for (const one of ALL_FAULTS) {
      for (const other of ALL_FAULTS) {
        if (one !== other && FAULTS[one].rank === FAULTS[other].rank) continue;
        const faulty = { wish, tokenScopes: [scope], ...FAULTS[one].put, ...FAULTS[other].put };
        const present: ValidationIssue[] = wish.kind === 'malformed-path' ? ['malformed path'] : [];
        present.push(one, other);
        // A malformed path is a wish of its own, for which nothing else counts.
        const first = present.includes('malformed path') ? ['malformed path' as const] : present;
        const counting = first.filter((fault) => counts.includes(fault));
        const [earliest] = counting.toSorted((a, b) => FAULTS[a].rank - FAULTS[b].rank);
        const expected = earliest === undefined ? undefined : FAULTS[earliest].code;
        assert.equal(refusal(faulty), expected, `${name}: ${one}, ${other}`);
        pairs += 1;
      }
    }
  }
  assert.equal(pairs, WISHES.length * (7 * 7 - 3 * 2));
});

test('all faults at once: the path, then the address, then the end of the token, then the scope', () => {
  const worst = { tokenScopes: [], ownerScopes: [], from: ELSEWHERE, state: 'revoked' } as const;
  const wish = toUse('read', 'a/b');
  assert.equal(refusal({ ...worst, wish: MALFORMED }), 'INVALID_PATH');
  assert.equal(refusal({ ...worst, wish }), 'IP_NOT_ALLOWED');
  assert.equal(refusal({ ...worst, wish, from: HOME }), 'TOKEN_REVOKED');
  assert.equal(refusal({ ...worst, wish, from: HOME, state: 'live' }), 'SCOPE_DENIED');
});

test('both lists of scopes must allow, each by itself', () => {
  const wish = toUse('read', 'a/b');
  const [wide, fitting, beside] = [['secrets:*:*'], ['secrets:read:a/b'], ['secrets:read:a/c']];
  for (const lists of [
    [wide, fitting],
    [fitting, wide],
    [fitting, fitting],
  ] as const) {
    assert.equal(refusal({ wish, tokenScopes: lists[0], ownerScopes: lists[1] }), undefined, String(lists));
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
    const asked = { wish, tokenScopes, ownerScopes };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${tokenScopes} under ${ownerScopes}`);
  }
});

test('a credential without an owner beside it is judged by its own list', () => {
  const wish = toUse('delete', 'a/b');
  assert.equal(refusal({ wish, tokenScopes: ['secrets:delete:a/b'], ownerScopes: null }), undefined);
  for (const scope of ['secrets:read:*', 'secrets:write:*', 'secrets:delete:a/c', 'namespaces:read']) {
    assert.equal(refusal({ wish, tokenScopes: [scope], ownerScopes: null }), 'SCOPE_DENIED', scope);
  }
});

test('GET of several segments needs to read the path or to list what lies below it, in one and the same way', () => {
  const wish = toReadOrList('a/b');
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
    assert.equal(refusal({ wish, tokenScopes, ownerScopes }), undefined, `${tokenScopes} / ${ownerScopes}`);
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
    const asked = { wish, tokenScopes, ownerScopes };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${tokenScopes} / ${ownerScopes}`);
  }
});

test('a path too long to be a namespace can be read and not listed', () => {
  const deep = aPath(Array(16).fill('a').join('/'));
  const wish: SecretOperation = { kind: 'read-or-list', secret: deep, namespace: undefined };
  assert.equal(refusal({ wish, tokenScopes: ['secrets:read:*'] }), undefined);
  assert.equal(refusal({ wish, tokenScopes: ['secrets:read:a/b'] }), 'SCOPE_DENIED');
  const { grant } = aRequest({ wish, tokenScopes: ['secrets:*:*'] });
  assert.equal(mayList(grant, undefined), false);
  assert.equal(mayUse(grant, 'read', deep), true);
});

test('a token lists namespaces by namespaces:read alone, an API key without it', () => {
  const wish = LIST_NAMESPACES;
  assert.equal(refusal({ wish, tokenScopes: ['namespaces:read'] }), undefined);
  assert.equal(refusal({ wish, tokenScopes: ['secrets:read:a/b', 'namespaces:read'] }), undefined);
  for (const scopes of [[], ['secrets:read:*'], ['secrets:*:*']]) {
    const asked = { wish, tokenScopes: scopes, ownerScopes: ['namespaces:read', 'secrets:*:*'] };
    assert.equal(refusal(asked), 'SCOPE_DENIED', `${scopes}: the owner's does not stand for the token's`);
    const key = { wish, tokenScopes: scopes, ownerScopes: null, namespacesTakeScope: false };
    assert.equal(refusal(key), undefined);
  }
});

test('a token lists namespaces as long as its owner could ask for namespaces:read', () => {
  const asked = { wish: LIST_NAMESPACES, tokenScopes: ['namespaces:read'] };
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
  const asked = { wish: toUse('read', 'a/b'), tokenScopes: ['secrets:read:a/b'] };
  for (const from of [HOME, ELSEWHERE, '::1', '', 'unknown', ...notTexts(HOME)]) {
    assert.equal(refusal({ ...asked, allowed: null, from: untyped(from) }), undefined, String(from));
    assert.equal(refusal({ ...asked, allowed: [], from: untyped(from) }), 'IP_NOT_ALLOWED', String(from));
  }
});

test('attack: no spelling of an address gets past the list', () => {
  const asked = { wish: INTROSPECT, allowed: blocks('192.0.2.0/24') };
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
    ...vectors.match.map(({ action, path, ...row }) => ({ ...row, wish: toUse(untyped(action), path) })),
    ...vectors.list.map(({ namespace, ...row }) => ({ ...row, wish: toList(namespace) })),
  ];
  assert.equal(rows.length, vectors.match.length + vectors.list.length);
  for (const { granted, wish, allow } of rows) {
    const expected = allow ? undefined : 'SCOPE_DENIED';
    const what = `${granted} on ${JSON.stringify(wish)}`;
    assert.equal(refusal({ wish, tokenScopes: granted }), expected, what);
    assert.equal(refusal({ wish, tokenScopes: ['secrets:*:*'], ownerScopes: granted }), expected, what);
  }
});

test('every address match vector is let in or IP_NOT_ALLOWED, as listed, whatever is asked for', () => {
  for (const { allowed_ips, client, allow } of cidr.matches) {
    const allowed = allowed_ips === null ? null : blocks(...allowed_ips);
    for (const { name, wish, scope } of WISHES) {
      if (wish.kind === 'malformed-path') continue;
      const asked = { wish, tokenScopes: [scope], allowed, from: client };
      assert.equal(
        refusal(asked),
        allow ? undefined : 'IP_NOT_ALLOWED',
        `${name}: ${client} on ${allowed_ips}`,
      );
    }
  }
});
