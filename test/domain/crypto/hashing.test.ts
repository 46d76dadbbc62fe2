/** The portable hash is SHA-256: published digests, and agreement with node:crypto on everything else. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bytesToHex,
  DIGEST_BYTES,
  DIGEST_HEX,
  equalInConstantTime,
  hexToBytes,
  portableSha256,
  textToBytes,
} from '../../../src/domain/crypto/hashing.ts';
import { anyCharacter } from '../any-character.ts';
import { everyTypeExcept } from '../every-type.ts';

const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

// FIPS 180-4 example messages: printf %s abc | sha256sum
for (const [text, digest] of [
  ['', EMPTY],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
] as const) {
  test(`${JSON.stringify(text)} has its published digest, as text and as bytes`, () => {
    assert.equal(portableSha256.hex(text), digest);
    assert.equal(bytesToHex(portableSha256.bytes(textToBytes(text))), digest);
  });
}

test('text and bytes of every length have the digest that node:crypto gives', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: anyCharacter, maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }),
      (text, bytes) => {
        assert.equal(portableSha256.hex(text), createHash('sha256').update(text, 'utf8').digest('hex'));
        assert.deepEqual(
          Buffer.from(portableSha256.bytes(bytes)),
          createHash('sha256').update(bytes).digest(),
        );
      },
    ),
  );
});

test('text is hashed as UTF-8', () => {
  assert.deepEqual([...textToBytes('é😀')], [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80]);
  assert.notEqual(portableSha256.hex('é'), portableSha256.hex('e\u0301'));
});

test('hashing leaves its input as it was', () => {
  const bytes = Uint8Array.of(1, 2, 3);
  portableSha256.bytes(bytes);
  assert.deepEqual([...bytes], [1, 2, 3]);
});

test('hex and bytes turn into each other, and what is not hex is refused', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.deepEqual(hexToBytes(bytesToHex(bytes)), bytes)));
  for (const wrong of ['0', 'zz', '0x00', ' 00']) assert.throws(() => hexToBytes(wrong));
});

test('a digest in hex is 64 lower-case digits and nothing around them', () => {
  assert.match(EMPTY, DIGEST_HEX);
  assert.equal(EMPTY.length, 2 * DIGEST_BYTES);
  for (const wrong of [
    '',
    EMPTY.toUpperCase(),
    EMPTY.slice(1),
    `${EMPTY}0`,
    `${EMPTY}\n`,
    ` ${EMPTY.slice(1)}`,
  ]) {
    assert.doesNotMatch(wrong, DIGEST_HEX);
  }
});

test('bytes are equal only if their length and every bit are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), fc.nat({ max: 7 }), (bytes, at, bit) => {
      assert.equal(equalInConstantTime(bytes, bytes.slice()), true);
      const flipped = bytes.slice();
      flipped[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
      assert.equal(equalInConstantTime(bytes, flipped), false);
      assert.equal(equalInConstantTime(bytes, bytes.subarray(1)), false);
      assert.equal(equalInConstantTime(bytes.subarray(1), bytes), false);
    }),
  );
  assert.equal(equalInConstantTime(new Uint8Array(), new Uint8Array()), true);
});

for (const [name, value] of everyTypeExcept((value) => typeof value === 'string')) {
  test(`${name} is not hashed as text`, () => {
    assert.throws(() => portableSha256.hex(value as string), TypeError);
    assert.throws(() => textToBytes(value as string), TypeError);
  });
}

for (const [name, value] of everyTypeExcept((value) => value instanceof Uint8Array)) {
  test(`${name} is not hashed as bytes`, () => {
    assert.throws(() => portableSha256.bytes(value as Uint8Array), TypeError);
  });
}
