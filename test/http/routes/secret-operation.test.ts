/** What a request wants of secrets, from its raw target or its body (contract section 5.2). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PATH_RULE } from '../../../src/domain/scopes/secret-path.ts';
import { WritError } from '../../../src/errors.ts';
import {
  INTROSPECT,
  LIST_NAMESPACES,
  NAMED_BY_BODY,
  parseChangeTarget,
  parseListTarget,
  parseReadTarget,
  pathInBody,
} from '../../../src/http/routes/secret-operation.ts';
import { aNamespace, anyNamespace, anyPath, aPath } from '../../domain/scopes/scope-universe.ts';
import { notTexts, untyped } from '../../domain/wrong-types.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };

const PREFIX = '/v1/secrets/';
const MALFORMED = { kind: 'malformed-path' };
const segments = (count: number) => Array(count).fill('a').join('/');

test('every url vector is the operation listed: to read, to list, to write, or a malformed path', () => {
  let met = 0;
  for (const { method, target, op, path, namespace, status } of vectors.url) {
    // Another prefix is another route: the router answers those.
    if (!target.startsWith(PREFIX)) continue;
    met += 1;
    const raw = target.slice(PREFIX.length);
    const operation = method === 'GET' ? parseReadTarget(raw) : parseChangeTarget('write', raw);
    if (status === 400) assert.deepEqual(operation, MALFORMED, target);
    else if (op === 'list')
      assert.deepEqual(operation, { kind: 'list', namespace: aNamespace(namespace ?? '') }, target);
    else if (op === 'write')
      assert.deepEqual(operation, { kind: 'use', action: 'write', secret: aPath(path ?? '') }, target);
    else {
      assert.equal(op, 'read', target);
      assert.ok(operation.kind === 'read-or-list', target);
      assert.deepEqual(operation.secret, aPath(path ?? ''), target);
    }
  }
  assert.equal(met, vectors.url.length - 2);
});

test('GET of several raw segments is a secret or the nested namespace of the same name', () => {
  const secret = aPath('production/openai');
  const operation = { kind: 'read-or-list', secret, namespace: aNamespace('production/openai') };
  assert.deepEqual(parseReadTarget('production/openai'), operation);
  assert.deepEqual(parseReadTarget('%70roduction/open%61i'), operation);
});

test('GET of one raw segment is a namespace, however many it decodes to', () => {
  assert.deepEqual(parseReadTarget('a'), { kind: 'list', namespace: aNamespace('a') });
  assert.deepEqual(parseReadTarget('a%2Fb%2FK'), { kind: 'list', namespace: aNamespace('a/b/K') });
});

test('a path that leaves no room for a key names a secret and no namespace', () => {
  const long = 'k'.repeat(128);
  for (const [path, isNamespace] of [
    [segments(15), true],
    [segments(16), false],
    [`${long}/${long}/${long}/${'k'.repeat(123)}`, true],
    [`${long}/${long}/${long}/${'k'.repeat(124)}`, false],
    [`${long}/${long}/${long}/${'k'.repeat(125)}`, false],
  ] as const) {
    const namespace = isNamespace ? aNamespace(path) : undefined;
    assert.deepEqual(parseReadTarget(path), { kind: 'read-or-list', secret: aPath(path), namespace });
  }
});

test('a change is of one secret by one action, and of nothing else', () => {
  for (const action of ['read', 'write', 'delete'] as const) {
    assert.deepEqual(parseChangeTarget(action, 'a%2Fb/K'), { kind: 'use', action, secret: aPath('a/b/K') });
  }
  for (const raw of ['a', 'a%2Fb', 'a%2Fb%2FK', '', '/', 'a/', '/a', segments(17), `a/${'k'.repeat(129)}`]) {
    assert.deepEqual(parseChangeTarget('write', raw), MALFORMED, raw);
    assert.deepEqual(parseChangeTarget('delete', raw), MALFORMED, raw);
  }
});

test('attack: what decodes twice, climbs, ends in a slash or hides a byte wants nothing', () => {
  const attacks = [
    'a/b%252Fc',
    'a/%252e%252e/b',
    'a/../b',
    'a/%2e%2e/b',
    'a/.',
    'a/b/',
    'a/b%2F',
    'a//b',
    '%2Fa/b',
  ];
  attacks.push(
    'a/b%00',
    'a/b%0d%0a',
    'a/%c0%ae',
    'a/%',
    'a/%zz',
    'a/b%20',
    'a/b%3Fx',
    'a/b*',
    'a/%2A',
    'a/%C3%A9',
  );
  for (const raw of attacks) {
    assert.deepEqual(parseReadTarget(raw), MALFORMED, raw);
    assert.deepEqual(parseChangeTarget('delete', raw), MALFORMED, raw);
  }
});

test('a namespace in a query has been decoded: what is still encoded is no namespace', () => {
  assert.deepEqual(parseListTarget('a/b'), { kind: 'list', namespace: aNamespace('a/b') });
  for (const text of [
    '',
    '*',
    'a/*',
    'a%2Fb',
    'a/',
    '/a',
    '..',
    'a/../b',
    'a b',
    'é',
    segments(16),
    ...notTexts('a'),
  ]) {
    assert.deepEqual(parseListTarget(untyped(text)), MALFORMED, String(text));
  }
});

test('every path and namespace of the grammar is the operation for itself', () => {
  fc.assert(
    fc.property(anyPath, anyNamespace, (path, namespace) => {
      assert.deepEqual(parseReadTarget(path), {
        kind: 'read-or-list',
        secret: aPath(path),
        namespace: aNamespace(path),
      });
      assert.deepEqual(parseChangeTarget('delete', path), {
        kind: 'use',
        action: 'delete',
        secret: aPath(path),
      });
      assert.deepEqual(parseListTarget(namespace), { kind: 'list', namespace: aNamespace(namespace) });
      assert.deepEqual(parseReadTarget(encodeURIComponent(namespace)), parseListTarget(namespace));
      assert.deepEqual(pathInBody(path), aPath(path));
    }),
  );
});

test('every invalid path is INVALID_PATH in a body, points at its member and repeats nothing of it', () => {
  assert.ok(vectors.invalid_paths.length >= 33, 'all rows are there');
  for (const text of [...vectors.invalid_paths, 'a', '', 'a%2Fb/K', 'a/*', ...notTexts('a/b')]) {
    assert.throws(
      () => pathInBody(untyped(text)),
      (error) => {
        assert.ok(error instanceof WritError, String(text));
        assert.equal(error.code, 'INVALID_PATH');
        assert.deepEqual(error.details, { pointer: '/path' });
        assert.equal(error.message, PATH_RULE);
        return true;
      },
    );
  }
});

test('what needs no path wants just that', () => {
  assert.deepEqual(NAMED_BY_BODY, { kind: 'named-by-body' });
  assert.deepEqual(LIST_NAMESPACES, { kind: 'list-namespaces' });
  assert.deepEqual(INTROSPECT, { kind: 'introspect' });
});
