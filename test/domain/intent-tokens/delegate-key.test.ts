/** The key of a delegate: which texts are one, and by which name a token calls it. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { calculateJwkThumbprintUri } from 'jose';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { keyUri, readDelegateKey } from '../../../src/domain/intent-tokens/delegate-key.ts';
import { anEd25519Key } from '../../support/ed25519-keys.ts';

const SPKI = '302a300506032b6570032100';

function aKey() {
  const { publicKey } = anEd25519Key();
  const { x = '' } = publicKey.export({ format: 'jwk' });
  return {
    x,
    rawHex: Buffer.from(x, 'base64url').toString('hex'),
    spkiHex: publicKey.export({ format: 'der', type: 'spki' }).toString('hex'),
  };
}

test('the 32 bytes and what node:crypto exports are the same key, in either case', () => {
  for (let index = 0; index < 20; index += 1) {
    const { x, rawHex, spkiHex } = aKey();
    for (const text of [rawHex, spkiHex, rawHex.toUpperCase(), spkiHex.toUpperCase()]) {
      const jwk = readDelegateKey(text);
      assert.deepEqual(jwk, { kty: 'OKP', crv: 'Ed25519', x });
      createPublicKey({ key: { ...jwk }, format: 'jwk' });
    }
  }
});

test('a key is called by its thumbprint, as another implementation computes it (RFC 9278)', async () => {
  const jwk = readDelegateKey(aKey().rawHex) ?? assert.fail();
  assert.equal(keyUri(jwk, portableSha256), await calculateJwkThumbprintUri({ ...jwk }));
});

const { rawHex, spkiHex } = aKey();
const REFUSED: Readonly<Record<string, string>> = {
  'no text': '',
  'a digit short': rawHex.slice(1),
  'a digit more': `${rawHex}0`,
  'no hex': `g${rawHex.slice(1)}`,
  'a prefix': `0x${rawHex}`,
  'a line': `${rawHex}\n`,
  'the frame alone': SPKI,
  'another curve in the frame': spkiHex.replace('2b6570', '2b656e'),
  'bytes behind the key': `${spkiHex}00`,
  'two keys': rawHex + rawHex,
  'the identity': `01${'00'.repeat(31)}`,
  'the identity, in a frame': `${SPKI}01${'00'.repeat(31)}`,
  'a point of order 2': `ec${'ff'.repeat(30)}7f`,
  'a point of order 4': '00'.repeat(32),
  'a point of order 8': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'bytes that are no point': `02${'00'.repeat(31)}`,
  'a point written in another way': `ee${'ff'.repeat(30)}7f`,
};

for (const [what, text] of Object.entries(REFUSED))
  test(`${what} is no key of a delegate`, () => assert.equal(readDelegateKey(text), undefined));
