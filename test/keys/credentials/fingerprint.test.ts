/** The fingerprint is HMAC-SHA-256, held against the one of `node:crypto` and against published vectors. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createFingerprint } from '../../../src/keys/credentials/fingerprint.ts';

const base64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64');

test('it is as in RFC 4231 sections 4.2 and 4.3', () => {
  const vectors = [
    [Buffer.alloc(20, 0x0b), 'Hi There', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    [
      Buffer.from('Jefe'),
      'what do ya want for nothing?',
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
  ] as const;
  for (const [key, text, expected] of vectors) assert.equal(createFingerprint(key)(text), base64(expected));
});

test('it is the HMAC of node:crypto, whatever the key and the text, one after the other', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 64 }),
      fc.array(fc.string({ unit: 'grapheme', maxLength: 300 }), { minLength: 1, maxLength: 5 }),
      (key, texts) => {
        const fingerprint = createFingerprint(key);
        for (const text of texts) {
          assert.equal(fingerprint(text), createHmac('sha256', key).update(text).digest('base64'), text);
        }
      },
    ),
  );
});

test('a key longer than a block is a mistake of ours', () => {
  assert.throws(() => createFingerprint(new Uint8Array(65)), TypeError);
});
