/** Guarantees of base64url (RFC 4648 section 5): it equals Node's writer, and one byte string has one text. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64url, encodeBase64url } from '../../../src/domain/crypto/base64url.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';
import { notTexts, untyped } from '../wrong-types.ts';

test('what is written equals what Node writes, and reads back to the same bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const text = encodeBase64url(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64url'));
      assert.deepEqual(decodeBase64url(text), bytes);
    }),
  );
});

test('a text is read only if writing its bytes gives that very text', () => {
  const symbol = fc.constantFrom(...'ABCQgwZaz09-_+/= \n.é');
  let read = 0;
  let refused = 0;
  fc.assert(
    fc.property(fc.string({ unit: symbol, maxLength: 9 }), (text) => {
      const canonical = Buffer.from(text, 'base64url').toString('base64url') === text;
      const bytes = decodeBase64url(text);
      assert.equal(bytes !== undefined, canonical, JSON.stringify(text));
      if (bytes !== undefined) assert.equal(encodeBase64url(bytes), text);
      if (bytes === undefined) refused++;
      else read++;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(Math.min(read, refused) > RARE_CASE_RUNS / 50, `${read} read, ${refused} refused`);
});

test('of all texts of two characters exactly 256 are bytes: trailing bits give no second spelling', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const read = [...alphabet].flatMap((a) => [...alphabet].map((b) => decodeBase64url(a + b))).filter(Boolean);
  assert.equal(read.length, 256);
  assert.equal(new Set(read.map((bytes) => bytes?.[0])).size, 256);
});

test('padding, white space, the other alphabet and impossible lengths are refused', () => {
  assert.deepEqual(decodeBase64url('AA'), new Uint8Array([0]));
  assert.deepEqual(decodeBase64url(''), new Uint8Array([]));
  const refused = [
    'A',
    'AA==',
    'AA=',
    'AAA=',
    ' AA',
    'AA\n',
    'A A',
    '+A',
    '/A',
    'AB',
    'AAB',
    'AAAAA',
    'AA\0',
    'ÁA',
    'A.',
  ];
  for (const text of refused) assert.equal(decodeBase64url(text), undefined, JSON.stringify(text));
});

test('what is no text is not decoded, what are no bytes is not encoded', () => {
  for (const value of notTexts('AA')) assert.equal(decodeBase64url(untyped(value)), undefined);
  for (const value of ['AA', null, undefined, [1], {}, new Uint16Array(1), new ArrayBuffer(1)]) {
    assert.throws(() => encodeBase64url(untyped(value)), TypeError);
  }
});
