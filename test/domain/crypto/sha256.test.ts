/** SHA-256 in plain JavaScript: the examples of the standard, and agreement with node:crypto on every length and content. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256 } from '../../../src/domain/crypto/sha256.ts';
import { RARE_CASE_RUNS } from '../../support/effort.ts';

const hexOf = (message: Uint8Array): string => Buffer.from(sha256(message)).toString('hex');
const expected = (message: Uint8Array): string => createHash('sha256').update(message).digest('hex');

/** FIPS 180-2 appendix B, and the empty message. */
const EXAMPLES = {
  '': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  abc: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq:
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ['a'.repeat(1_000_000)]: 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0',
};
for (const [text, hex] of Object.entries(EXAMPLES)) {
  test(`the standard’s example of ${text.length} characters`, () => {
    assert.equal(hexOf(Buffer.from(text)), hex);
  });
}

test('every length around every boundary, whatever was hashed before', () => {
  for (let length = 0; length <= 300; length += 1) {
    for (const byte of [0, 0x80, 0xff]) {
      const message = new Uint8Array(length).fill(byte);
      assert.equal(hexOf(message), expected(message), `${length} bytes of ${byte}`);
    }
  }
});

test('any content agrees with node:crypto, also a part of a larger buffer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(), (bytes, nat) => {
      const part = bytes.subarray(nat % (bytes.length + 1));
      assert.equal(hexOf(bytes), expected(bytes));
      assert.equal(hexOf(part), expected(part));
    }),
    { numRuns: RARE_CASE_RUNS },
  );
});

test('a digest is the caller’s own: later calls do not change it, nor the message', () => {
  const message = new Uint8Array(100).fill(7);
  const digest = sha256(message);
  const before = Buffer.from(digest).toString('hex');
  sha256(new Uint8Array(3));
  assert.equal(Buffer.from(digest).toString('hex'), before);
  assert.deepEqual(message, new Uint8Array(100).fill(7));
});
