/** The key-encryption key: what it wraps opens under the same key, for the same purpose, untouched, or not at all. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyEncryption, UnwrapError } from '../../../src/keys/encryption/key-encryption.ts';

const MASTER = Uint8Array.from({ length: 32 }, (_, index) => index);
const PLAIN = new TextEncoder().encode('thirty-two bytes of a signing key');
const kek = createKeyEncryption(MASTER);

test('what was wrapped opens to the same bytes, the empty ones too', () => {
  for (const plaintext of [PLAIN, new Uint8Array(), new Uint8Array(100_000).fill(7)]) {
    assert.deepEqual(Uint8Array.from(kek.unwrap(kek.wrap(plaintext, 'p'), 'p')), Uint8Array.from(plaintext));
  }
});

test('a wrap is nonce, ciphertext and tag, and never twice the same', () => {
  const wraps = Array.from({ length: 50 }, () => Buffer.from(kek.wrap(PLAIN, 'p')));
  assert.ok(wraps.every((wrapped) => wrapped.length === 12 + PLAIN.length + 16));
  assert.equal(new Set(wraps.map((wrapped) => wrapped.subarray(0, 12).toString('hex'))).size, 50);
  assert.ok(wraps.every((wrapped) => !wrapped.includes(Buffer.from(PLAIN))));
});

test('every changed bit of every byte is noticed', () => {
  const wrapped = kek.wrap(PLAIN, 'p');
  for (const [index, byte] of wrapped.entries()) {
    for (const bit of [1, 128]) {
      const tampered = Uint8Array.from(wrapped);
      tampered[index] = byte ^ bit;
      assert.throws(() => kek.unwrap(tampered, 'p'), UnwrapError, `byte ${index}`);
    }
  }
});

test('what is shorter or longer than it was does not open', () => {
  const wrapped = kek.wrap(PLAIN, 'p');
  for (let length = 0; length < wrapped.length; length += 1) {
    assert.throws(() => kek.unwrap(wrapped.subarray(0, length), 'p'), UnwrapError, `${length} bytes`);
    assert.throws(() => kek.unwrap(wrapped.subarray(wrapped.length - length), 'p'), UnwrapError);
  }
  assert.throws(() => kek.unwrap(Uint8Array.from([...wrapped, 0]), 'p'), UnwrapError);
  assert.throws(() => kek.unwrap(Uint8Array.from([0, ...wrapped]), 'p'), UnwrapError);
});

test('what was wrapped for one purpose does not open for another', () => {
  const wrapped = kek.wrap(PLAIN, 'signing-key:a');
  for (const purpose of ['signing-key:b', 'signing-key:', '', 'check', 'signing-key:a ']) {
    assert.throws(() => kek.unwrap(wrapped, purpose), UnwrapError, purpose);
  }
});

test('another master key opens nothing and has another name', () => {
  for (const index of [0, 15, 31]) {
    const changed = Uint8Array.from(MASTER);
    changed[index] = (changed[index] ?? 0) ^ 1;
    const other = createKeyEncryption(changed);
    assert.throws(() => other.unwrap(kek.wrap(PLAIN, 'p'), 'p'), UnwrapError);
    assert.notEqual(other.kekId, kek.kekId);
    assert.equal(other.readCheckValue(kek.checkValue()), undefined);
  }
});

test('the same master key is the same key everywhere, under a name that does not tell it', () => {
  const again = createKeyEncryption(Uint8Array.from(MASTER));
  assert.equal(again.kekId, kek.kekId);
  assert.match(kek.kekId, /^[0-9a-f]{16}$/);
  assert.ok(!Buffer.from(MASTER).toString('hex').includes(kek.kekId));
  assert.deepEqual(Uint8Array.from(again.unwrap(kek.wrap(PLAIN, 'p'), 'p')), PLAIN);
  assert.equal(again.readCheckValue(kek.checkValue()), 'sealed');
});

test('only a check value passes as one', () => {
  assert.equal(kek.readCheckValue(kek.checkValue()), 'sealed');
  const before = kek.wrap(Buffer.from('writ key-encryption key check'), 'check');
  assert.equal(kek.readCheckValue(before), 'unsealed', 'one from before rows had seals');
  for (const value of [
    new Uint8Array(),
    new Uint8Array(60),
    kek.wrap(PLAIN, 'check'),
    kek.wrap(PLAIN, 'p'),
  ]) {
    assert.equal(kek.readCheckValue(value), undefined);
  }
});

test('a master key of another length is a mistake of ours', () => {
  for (const length of [0, 16, 31, 33, 64]) {
    assert.throws(() => createKeyEncryption(new Uint8Array(length)), TypeError);
  }
});

test('an error tells nothing of key or plaintext', () => {
  const wrapped = kek.wrap(PLAIN, 'p');
  try {
    kek.unwrap(wrapped, 'q');
    assert.fail('it opened');
  } catch (error) {
    assert.ok(error instanceof UnwrapError);
    const told = `${error.message} ${error.stack} ${JSON.stringify(error)}`;
    for (const bytes of [MASTER, PLAIN, wrapped]) {
      assert.ok(!told.includes(Buffer.from(bytes).toString('hex')));
      assert.ok(!told.includes(Buffer.from(bytes).toString('base64')));
    }
  }
});
