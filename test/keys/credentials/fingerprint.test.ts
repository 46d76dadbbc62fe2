/**
 * A fingerprint is SHA-256 under a key, and what others see an HMAC: held against the streaming ones of `node:crypto`, and
 * told apart by key and text.
 */

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createFingerprint,
  createHmacOf,
  createProcessFingerprint,
} from '../../../src/keys/credentials/fingerprint.ts';

test('it is the SHA-256 of node:crypto over key and text, whatever the text, one after the other', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.array(fc.string({ unit: 'grapheme', maxLength: 300 }), { minLength: 1, maxLength: 5 }),
      (key, texts) => {
        const fingerprint = createFingerprint(key);
        const keyText = Buffer.from(key).toString('base64url');
        for (const text of texts) {
          const expected = createHash('sha256').update(keyText).update(text).digest('base64');
          assert.equal(fingerprint(text), expected, text);
        }
      },
    ),
  );
});

test('one text has one name in a process and another in the next', () => {
  const [here, there] = [createProcessFingerprint(), createProcessFingerprint()];
  assert.equal(here('ak_1'), here('ak_1'));
  assert.notEqual(here('ak_1'), here('ak_2'));
  assert.notEqual(here('ak_1'), there('ak_1'));
  assert.match(here(''), /^[A-Za-z0-9+/]{43}=$/);
});

test('what is cut from the end of the key and put before the text gives another name', () => {
  const key = new Uint8Array(32).fill(7);
  const keyText = Buffer.from(key).toString('base64url');
  const fingerprint = createFingerprint(key);
  assert.notEqual(fingerprint(`${keyText.slice(-1)}text`), fingerprint('text'));
});

test('a key of another length is a mistake of ours', () => {
  for (const bytes of [0, 16, 31, 33, 64]) {
    assert.throws(() => createFingerprint(new Uint8Array(bytes)), TypeError);
    assert.throws(() => createHmacOf(new Uint8Array(bytes)), TypeError);
  }
});

test('a key’s fingerprint is its own, differs in every process and is a whole hash', () => {
  const key = 'ak_live_0123456789abcdef00112233445566778899aabbccddeeff001122333a4fc082';
  const [one, other] = [createProcessFingerprint(), createProcessFingerprint()];
  assert.equal(one(key), one(key));
  assert.notEqual(one(key), one(`${key} `));
  assert.notEqual(one(key), other(key));
  assert.equal(Buffer.from(one(key), 'base64').length, 32);
});

test('an HMAC is that of node:crypto, whatever the text and its length, one after the other', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.string({ unit: 'binary', maxLength: 300 }),
    // Either side of what is hashed in place, with as many bytes to a character as there are.
    fc
      .tuple(fc.constantFrom('a', '\u00e9', '\uffff', '\ud800'), fc.integer({ min: 1020, max: 1030 }))
      .map(([character, times]) => character.repeat(times)),
  );
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.array(text, { minLength: 1, maxLength: 5 }),
      (key, texts) => {
        const hmacOf = createHmacOf(key);
        for (const each of texts) {
          assert.equal(hmacOf(each), createHmac('sha256', key).update(each).digest('hex'), each);
        }
      },
    ),
  );
});
