/** Guarantees of secret paths and of what a URL names (contract section 5.2), against `vectors/scopes.json`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseNamespace, parseSecretPath, readSecretTarget } from '../../../src/domain/scopes/secret-path.ts';
import { assertCostsUnder } from '../../support/duration.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';
import vectors from '../../vectors/scopes.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const PREFIX = '/v1/secrets/';
const ALPHABET = 'ABZabz019_.@+=~-';
const ROUTERS_ROWS = ['//v1/secrets/a/b', '/V1/secrets/a/b'];
const segment = fc
  .string({ unit: fc.constantFrom(...ALPHABET), minLength: 1, maxLength: 20 })
  .filter((text) => text !== '.' && text !== '..');
const secretPath = fc.array(segment, { minLength: 2, maxLength: 16 });

const isSecret = (raw: string) => readSecretTarget(raw).kind === 'secret';

test('every url vector names the secret, the namespace or nothing, as listed', () => {
  const elsewhere: string[] = [];
  for (const row of vectors.url) {
    if (row.status === 404) {
      // These never reach this reader: their target has another prefix.
      assert.equal(row.target.startsWith(PREFIX), false, row.target);
      elsewhere.push(row.target);
      continue;
    }
    const target = readSecretTarget(row.target.slice(PREFIX.length));
    const named =
      target.kind === 'secret'
        ? target.secret.path
        : target.kind === 'namespace'
          ? target.namespace.namespace
          : undefined;
    const expected = row.target === '/v1/secrets/production' ? 'production' : (row.path ?? row.namespace);
    assert.equal(named, expected, row.target);
    // A write to a namespace is the router's 400: the target must say that it names no secret.
    assert.equal(target.kind === 'secret', row.path !== undefined, row.target);
  }
  assert.deepEqual(elsewhere, ROUTERS_ROWS);
});

test('every invalid path is refused as text and in a URL', () => {
  assert.ok(vectors.invalid_paths.length >= 33);
  for (const text of vectors.invalid_paths) {
    assert.deepEqual(parseSecretPath(text), { ok: false }, JSON.stringify(text));
    assert.deepEqual(parseNamespace(text), { ok: false }, JSON.stringify(text));
    assert.equal(isSecret(text.split('/').map(percentEncode).join('/')), false, JSON.stringify(text));
  }
});

test('a path is split into namespace and key at its last slash', () => {
  const parsed = parseSecretPath('production/openai/KEY');
  const segments = ['production', 'openai', 'KEY'];
  const secret = { path: 'production/openai/KEY', namespace: 'production/openai', key: 'KEY', segments };
  assert.deepEqual(parsed, { ok: true, secret });
});

test('every path of the grammar is one path, however much of it is percent-encoded', () => {
  fc.assert(
    fc.property(secretPath, fc.boolean(), (segments, encodeSlashes) => {
      const path = segments.join('/');
      const [first = '', ...rest] = segments.map((text) => [...text].map(percentByte).join(''));
      const raw = `${first}/${rest.join(encodeSlashes ? '%2F' : '/')}`;
      const parsed = parseSecretPath(path);
      assert.equal(parsed.ok, path.length <= 512);
      const secret = parsed.ok ? parsed.secret : undefined;
      assert.deepEqual(
        readSecretTarget(raw),
        secret === undefined ? { kind: 'invalid' } : { kind: 'secret', secret },
      );
    }),
  );
});

test('a path that is accepted has only segments that are accepted alone', () => {
  const anything = fc.string({ unit: fc.constantFrom(...ALPHABET, '/', '.', '%', '*', ':', ' ', '\0', 'é') });
  fc.assert(
    fc.property(anything, (text) => {
      const parts = text.split('/');
      const good = parts.every((part) => /^[A-Za-z0-9_.@+=~-]+$/.test(part) && part !== '.' && part !== '..');
      assert.equal(parseSecretPath(text).ok, good && parts.length >= 2 && parts.length <= 16);
    }),
    { numRuns: PROPERTY_RUNS },
  );
});

test('the limits are 16 segments, 128 characters a segment and 512 in all', () => {
  const long = 'k'.repeat(128);
  assert.ok(parseSecretPath(Array(16).fill('a').join('/')).ok);
  assert.ok(parseSecretPath(`a/${long}`).ok);
  assert.ok(parseSecretPath(`${long}/${long}/${long}/${'k'.repeat(125)}`).ok);
  assert.equal(parseSecretPath(Array(17).fill('a').join('/')).ok, false);
  assert.equal(parseSecretPath(`a/${long}k`).ok, false);
  assert.equal(parseSecretPath(`${long}/${long}/${long}/${'k'.repeat(126)}`).ok, false);
});

test('a namespace leaves room for a key', () => {
  const long = 'k'.repeat(128);
  const full = `${long}/${long}/${long}/${'k'.repeat(123)}`;
  for (const text of ['a', Array(15).fill('a').join('/'), full]) {
    assert.ok(parseNamespace(text).ok, text);
    assert.ok(parseSecretPath(`${text}/k`).ok, text);
  }
  for (const text of [Array(16).fill('a').join('/'), `${full}k`, `${long}k`]) {
    assert.equal(parseNamespace(text).ok, false, text);
    assert.equal(parseSecretPath(`${text}/k`).ok, false, text);
  }
});

test('dot segments, empty segments, slashes at either end and patterns are no namespace', () => {
  const refused = [
    '',
    '.',
    '..',
    'a/..',
    './a',
    'a//b',
    '/a',
    'a/',
    'a/*',
    '*',
    'a%2Fb',
    'a b',
    'a\n',
    'é',
    'a\\b',
  ];
  for (const text of refused) assert.equal(parseNamespace(text).ok, false, JSON.stringify(text));
});

test('an encoded slash counts as part of its segment, not as a separator of the URL', () => {
  assert.equal(readSecretTarget('a%2Fb%2FK').kind, 'namespace');
  assert.equal(readSecretTarget('a%2Fb/K').kind, 'secret');
  assert.equal(readSecretTarget('a/b%2FK').kind, 'secret');
  assert.deepEqual(readSecretTarget('a%2Fb/K'), readSecretTarget('a/b/K'));
});

test('attack: decoding twice, dot segments and slashes in disguise name nothing', () => {
  const attacks = [
    'a/b%252Fc',
    'a/%252e%252e/b',
    '%252e',
    'a/%2e%2e/b',
    'a/%2E/b',
    '%2e%2e/%2e%2e',
    'a/..',
    '..',
    '.',
  ];
  attacks.push(
    'a/b%2F',
    'a/%2Fb',
    '%2Fa',
    'a%2F',
    'a%2F%2Fb',
    '//',
    '/',
    'a/',
    '/a',
    'a//b',
    'a/b/',
    'a/b%2f..',
  );
  attacks.push(
    'a/%c0%ae%c0%ae',
    'a/%ef%bc%8e',
    'a/%u002e',
    'a/%',
    'a/%2',
    'a/%zz',
    'a/b?version=1',
    'a/b%23',
    'a/b;v=1',
  );
  attacks.push('a/b%00', 'a/b%0d%0aX:y', 'a/%F0%9F', 'a/%ED%A0%80', 'a/b%20', 'a/b+%2B c', 'a\\b', 'a%5Cb/c');
  for (const raw of attacks) assert.deepEqual(readSecretTarget(raw), { kind: 'invalid' }, raw);
});

test('case is kept: another spelling is another secret', () => {
  const [upper, lower] = [parseSecretPath('a/KEY'), parseSecretPath('a/key')];
  assert.notDeepEqual(upper, lower);
});

test('a plus sign is a plus sign, not a blank', () => {
  const target = readSecretTarget('a/b+c');
  assert.equal(target.kind === 'secret' && target.secret.path, 'a/b+c');
});

test('a megabyte of target is refused at once', () => {
  assertCostsUnder({ floors: 250 }, () => {
    for (const raw of ['/'.repeat(1e6), '%2F'.repeat(4e5), 'a/'.repeat(5e5)])
      assert.equal(isSecret(raw), false);
    for (const text of ['/'.repeat(1e6), 'a/'.repeat(5e5)]) assert.equal(parseSecretPath(text).ok, false);
  });
});

test('what is no text names nothing', () => {
  for (const value of notTexts('a/b')) {
    assert.deepEqual(parseSecretPath(untyped(value)), { ok: false });
    assert.deepEqual(parseNamespace(untyped(value)), { ok: false });
    assert.deepEqual(readSecretTarget(untyped(value)), { kind: 'invalid' });
  }
});

function percentByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

function percentEncode(text: string): string {
  // A lone surrogate has no encoding: these are the bytes that a careless writer gives it.
  return /\p{Surrogate}/u.test(text) ? '%ED%A0%80' : encodeURIComponent(text);
}
