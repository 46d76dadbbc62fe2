/** Guarantees of the API key's form (contract section 2), against `vectors/api-keys.json`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { formatApiKey, parseApiKey } from '../../../src/domain/principals/api-key.ts';
import { looksLikeScopedToken } from '../../../src/domain/scoped-tokens/scoped-token-format.ts';
import vectors from '../../vectors/api-keys.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const VALID = 'ak_live_0123456789abcdef00112233445566778899aabbccddeeff001122333a4fc082';
const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const parts = fc.record({
  environment: fc.constantFrom('live' as const, 'test' as const),
  keyIdHex: hex(16),
  secretHex: hex(40),
});

test('every vector is accepted or refused as listed', () => {
  assert.ok(vectors.keys.length >= 16);
  for (const row of vectors.keys) {
    const expected = row.valid
      ? { ok: true, key: { text: row.key, keyId: row.key_id, prefix24: row.key.slice(0, 24) } }
      : { ok: false };
    assert.deepEqual(parseApiKey(row.key), expected, row.why ?? row.key);
  }
});

test('what is formatted parses to the same parts, and is 72 bytes', () => {
  fc.assert(
    fc.property(parts, (given) => {
      const text = formatApiKey(given);
      const prefix24 = `ak_${given.environment}_${given.keyIdHex}`;
      assert.equal(Buffer.byteLength(text), 72);
      assert.deepEqual(parseApiKey(text), { ok: true, key: { text, keyId: given.keyIdHex, prefix24 } });
    }),
  );
});

test('the checksum is the CRC-32 that everyone else computes', () => {
  fc.assert(
    fc.property(parts, (given) => {
      const text = formatApiKey(given);
      assert.equal(text.slice(64), crc32(text.slice(0, 64)).toString(16).padStart(8, '0'));
    }),
  );
});

test('changing any one character of a key is refused', () => {
  for (let index = 0; index < VALID.length; index++) {
    for (const replacement of '0123456789abcdefAZ_ \0é') {
      if (VALID[index] === replacement) continue;
      const changed = VALID.slice(0, index) + replacement + VALID.slice(index + 1);
      assert.deepEqual(parseApiKey(changed), { ok: false }, `${replacement} at ${index}`);
    }
  }
});

test('swapping two neighbouring characters of a key is refused', () => {
  let swaps = 0;
  for (let index = 0; index + 1 < VALID.length; index++) {
    const [left = '', right = ''] = VALID.slice(index, index + 2);
    if (left === right) continue;
    swaps++;
    assert.deepEqual(parseApiKey(VALID.slice(0, index) + right + left + VALID.slice(index + 2)), {
      ok: false,
    });
  }
  assert.ok(swaps > 30);
});

test('what is no text is refused, also if it would turn into a key', () => {
  for (const value of notTexts(VALID)) assert.deepEqual(parseApiKey(untyped(value)), { ok: false });
});

test('a key is never formatted from parts of another form', () => {
  const good = { environment: 'live' as const, keyIdHex: '0'.repeat(16), secretHex: 'a'.repeat(40) };
  assert.ok(parseApiKey(formatApiKey(good)).ok);
  for (const environment of ['prod', 'LIVE', '', ...notTexts('live')]) {
    assert.throws(() => formatApiKey({ ...good, environment: untyped(environment) }), TypeError);
  }
  for (const keyIdHex of ['', '0'.repeat(15), '0'.repeat(17), 'A'.repeat(16), ...notTexts(good.keyIdHex)]) {
    assert.throws(() => formatApiKey({ ...good, keyIdHex: untyped(keyIdHex) }), TypeError);
  }
  for (const secretHex of ['', 'a'.repeat(39), 'a'.repeat(41), 'G'.repeat(40), ...notTexts(good.secretHex)]) {
    assert.throws(() => formatApiKey({ ...good, secretHex: untyped(secretHex) }), TypeError);
  }
});

test('a refused secret is not named in the error', () => {
  const secretHex = 'deadbeef'.repeat(6);
  const attempt = () => formatApiKey({ environment: 'live', keyIdHex: '0'.repeat(16), secretHex });
  assert.throws(attempt, (error) => error instanceof TypeError && !`${error.stack}`.includes('deadbeef'));
});

test('only the form of a scoped token looks like one', () => {
  assert.equal(looksLikeScopedToken(`ast_tok_${'-_Az09'.repeat(7)}A`), true);
  const body = 'A'.repeat(43);
  const others = [`ast_tok_${body}A`, `ast_tok_${body.slice(1)}`, `AST_TOK_${body}`, ` ast_tok_${body}`];
  others.push(`ast_tok_${body}\n`, `ast_tok_${body.slice(1)}=`, `ast_tok_${body.slice(1)}+`, VALID, '');
  for (const text of others) assert.equal(looksLikeScopedToken(text), false, JSON.stringify(text));
  for (const value of notTexts(`ast_tok_${body}`)) assert.equal(looksLikeScopedToken(untyped(value)), false);
});
