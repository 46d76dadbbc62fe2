/** The native decoder of base64url decides every text as the portable one does, and gives the same bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64url, encodeBase64url } from '../../../src/domain/crypto/base64url.ts';
import { decodeNodeBase64url } from '../../../src/keys/signing/node-base64url.ts';
import { PROPERTY_RUNS, RARE_CASE_RUNS } from '../../support/effort.ts';

const bytesOf = (bytes: Uint8Array | undefined) => bytes && [...bytes];

test('texts of the alphabet and of what passes for it are decided alike', () => {
  const symbol = fc.constantFrom(...'ABCQgwZaz09-_+/= \n.é\u0000😀');
  let read = 0;
  fc.assert(
    fc.property(fc.string({ unit: symbol, maxLength: 9 }), (text) => {
      const expected = bytesOf(decodeBase64url(text));
      assert.deepEqual(bytesOf(decodeNodeBase64url(text)), expected, JSON.stringify(text));
      if (expected !== undefined) read += 1;
    }),
    { numRuns: RARE_CASE_RUNS },
  );
  assert.ok(read > RARE_CASE_RUNS / 50);
});

test('what is written is read back, and with any character changed or added it is what the portable one says', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      fc.nat(200),
      fc.string({ maxLength: 2 }),
      (bytes, at, put) => {
        const text = encodeBase64url(bytes);
        assert.deepEqual(bytesOf(decodeNodeBase64url(text)), [...bytes]);
        const changed = text.slice(0, at) + put + text.slice(at + 1);
        assert.deepEqual(bytesOf(decodeNodeBase64url(changed)), bytesOf(decodeBase64url(changed)));
      },
    ),
    { numRuns: PROPERTY_RUNS },
  );
});
