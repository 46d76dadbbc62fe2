/** Guarantees of the Ed25519 JWK and its thumbprint (RFC 8037, RFC 7638), against `vectors/jwk.json`. */

import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { calculateJwkThumbprint } from 'jose';
import { decodeBase64url, encodeBase64url } from '../../../src/domain/crypto/base64url.ts';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { ed25519Jwk, jwkThumbprint, publishedJwk } from '../../../src/domain/crypto/jwk.ts';
import vectors from '../../vectors/jwk.json' with { type: 'json' };
import { notTexts, untyped } from '../wrong-types.ts';

const PUBLIC_KEY = decodeBase64url(vectors.jwk.x) ?? new Uint8Array();

test('the key of RFC 8037 appendix A.2 has the thumbprint of appendix A.3', () => {
  assert.deepEqual(ed25519Jwk(PUBLIC_KEY), vectors.jwk);
  assert.equal(jwkThumbprint(vectors.jwk.x, portableSha256), vectors.thumbprint);
});

test('Node reads the JWK as the same public key', () => {
  const key = createPublicKey({ key: { ...ed25519Jwk(PUBLIC_KEY) }, format: 'jwk' });
  assert.deepEqual(key.export({ format: 'der', type: 'spki' }).subarray(-32), Buffer.from(PUBLIC_KEY));
});

test('the published form names its kid and its use, and the algorithm only by the name that every library knows', () => {
  const kid = vectors.thumbprint;
  const published = { ...vectors.jwk, kid, use: 'sig' };
  assert.deepEqual(publishedJwk(PUBLIC_KEY, { kid, alg: 'EdDSA' }), { ...published, alg: 'EdDSA' });
  assert.deepEqual(publishedJwk(PUBLIC_KEY, { kid, alg: 'Ed25519' }), published);
});

test('any key has the thumbprint that another implementation computes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (key) => {
      const jwk = ed25519Jwk(key);
      assert.equal(jwkThumbprint(jwk.x, portableSha256), await calculateJwkThumbprint({ ...jwk }));
    }),
  );
});

test('what is not 32 bytes is no public key', () => {
  for (const length of [0, 31, 33, 64]) assert.throws(() => ed25519Jwk(new Uint8Array(length)), TypeError);
  for (const value of [...notTexts(vectors.jwk.x), vectors.jwk.x]) {
    assert.throws(() => ed25519Jwk(untyped(value)), TypeError);
  }
});

test('a text that is not 32 bytes has no thumbprint, so it cannot write members of its own', () => {
  const x = vectors.jwk.x;
  const short = encodeBase64url(new Uint8Array(31));
  const refused = ['', short, `${x}=`, `${x}A`, `${x.slice(0, -1)}p`, ` ${x}`, `${x}","kty":"RSA`];
  for (const text of refused) assert.throws(() => jwkThumbprint(text, portableSha256), TypeError, text);
  for (const value of notTexts(x))
    assert.throws(() => jwkThumbprint(untyped(value), portableSha256), TypeError);
});
