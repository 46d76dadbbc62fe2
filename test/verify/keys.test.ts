/** Which keys of a JWKS may verify tokens, and that no other key of the set ever does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableSha256 } from '../../src/domain/crypto/hashing.ts';
import { jwkThumbprint } from '../../src/domain/crypto/jwk.ts';
import { createVerifier, type JsonWebKeySet, VerificationError } from '../../src/verify.ts';
import { EVERY_TYPE } from '../domain/every-type.ts';
import { ENGINES, useEngine } from './engines.ts';
import { AUDIENCE, aSigner, aToken, base64url, claimsIn, ISSUER, NOW_SECONDS } from './signed-tokens.ts';

const signer = aSigner();
const { jwt: GOOD } = aToken(signer);

const verifierWith = (...keys: readonly object[]) =>
  createVerifier({
    jwks: { keys },
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(NOW_SECONDS * 1000),
  });

/** Every encoding of every point whose order divides 8 (RFC 7748 and RFC 8032 list none; the table is complete). */
const SMALL_ORDER = {
  'the identity': `01${'00'.repeat(31)}`,
  'the point of order 2': `ec${'ff'.repeat(30)}7f`,
  'a point of order 4': '00'.repeat(32),
  'the other point of order 4': `${'00'.repeat(31)}80`,
  'a point of order 8': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'the second point of order 8': '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'the third point of order 8': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'the fourth point of order 8': 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  'the identity with its sign bit': `01${'00'.repeat(30)}80`,
  'the point of order 2 with its sign bit': 'ff'.repeat(32).replace(/^ff/, 'ec'),
  'y of 2^255 − 19, which is 0': `ed${'ff'.repeat(30)}7f`,
  'y of 2^255 − 19 with its sign bit': 'ff'.repeat(32).replace(/^ff/, 'ed'),
  'y of 2^255 − 18, which is 1': `ee${'ff'.repeat(30)}7f`,
  'y of 2^255 − 18 with its sign bit': 'ff'.repeat(32).replace(/^ff/, 'ee'),
};

const jwkOf = (publicKey: Uint8Array) => {
  const x = base64url(publicKey);
  return { kty: 'OKP', crv: 'Ed25519', x, kid: jwkThumbprint(x, portableSha256), use: 'sig', alg: 'EdDSA' };
};

for (const engine of ENGINES) {
  test(`by ${engine}, a small-order key of the set verifies nothing`, async (t) => {
    useEngine(t, engine);
    for (const [name, hex] of Object.entries(SMALL_ORDER)) {
      await t.test(name, async () => {
        const publicKey = Buffer.from(hex, 'hex');
        const jwk = jwkOf(publicKey);
        const header = base64url(JSON.stringify({ alg: 'EdDSA', kid: jwk.kid, typ: 'JWT' }));
        const input = `${header}.${GOOD.split('.')[1]}`;
        const verifier = verifierWith(signer.jwk, jwk);
        // R of small order and S = 0 hold for one message in eight or for all; so does R = B, S = 1 for the identity.
        const rs = [...Object.values(SMALL_ORDER), `58${'66'.repeat(31)}`];
        for (const r of rs) {
          for (const s of [0, 1]) {
            const signature = Buffer.concat([Buffer.from(r, 'hex'), Buffer.from([s]), Buffer.alloc(31)]);
            await assert.rejects(
              verifier.verifyToken(`${input}.${base64url(signature)}`),
              (error) => error instanceof VerificationError && error.code === 'TOKEN_INVALID',
            );
          }
        }
        await verifier.verifyToken(GOOD);
        assert.throws(() => verifierWith(jwk), TypeError, 'alone it makes no verifier');
      });
    }
  });
}

const P256 = {
  kty: 'EC',
  crv: 'P-256',
  x: 'x8L6S6xuDiyYRJI4kU991YWlrBAFDhXRSzg1EeeNBV4',
  y: 'EqySLzDkfHQvW0UhOjM3eLaorUbOkvK2zy5rqRfCg7Y',
};
const X25519 = { kty: 'OKP', crv: 'X25519', x: 'XvtlqMGQGppg_4K_a0u-7BtRFaJtEPPwIQ8K7CMxdBc' };
const { kid: _, ...WITHOUT_KID } = signer.jwk;

const NOT_OURS: Readonly<Record<string, object>> = {
  'a key of another type': { ...P256, kid: signer.kid },
  'a key of another curve': { ...X25519, kid: signer.kid },
  'the type in another case': { ...signer.jwk, kty: 'okp' },
  'the curve in another case': { ...signer.jwk, crv: 'ed25519' },
  'a symmetric key': { kty: 'oct', k: signer.jwk.x, kid: signer.kid },
  'a key for encryption': { ...signer.jwk, use: 'enc' },
  'a key for another algorithm': { ...signer.jwk, alg: 'HS256' },
  'no kid': WITHOUT_KID,
  'the kid of another key': { ...aSigner().jwk, kid: signer.kid },
  'a kid of its own choice': { ...signer.jwk, kid: 'main' },
  'x padded': { ...signer.jwk, x: `${signer.jwk.x}=` },
  'x of 31 bytes': { ...signer.jwk, x: base64url(signer.publicKey.subarray(1)) },
  'x of 33 bytes': { ...signer.jwk, x: base64url(Buffer.concat([signer.publicKey, Buffer.from([0])])) },
  'x in hex': { ...signer.jwk, x: Buffer.from(signer.publicKey).toString('hex') },
  'x that is no point': jwkOf(Uint8Array.of(2, ...new Uint8Array(31))),
  'x in a list': { ...signer.jwk, x: [signer.jwk.x] },
};

for (const [name, jwk] of Object.entries(NOT_OURS)) {
  test(`a key that is not one of ours is left out: ${name}`, async () => {
    assert.throws(() => verifierWith(jwk), TypeError);
    const beside = verifierWith(jwk, aSigner().jwk);
    await assert.rejects(
      beside.verifyToken(GOOD),
      (error) => error instanceof VerificationError && error.code === 'TOKEN_INVALID',
    );
    await verifierWith(jwk, signer.jwk).verifyToken(GOOD);
  });
}

test('a key that names the algorithm as RFC 9864 does, or not at all, is taken', async () => {
  const { alg: _alg, use: _use, ...bare } = signer.jwk;
  for (const jwk of [bare, { ...bare, alg: 'Ed25519' }, { ...bare, alg: 'EdDSA', use: 'sig', x5c: ['x'] }])
    await verifierWith(jwk).verifyToken(GOOD);
});

test('what is no key set makes no verifier', () => {
  for (const [name, value] of EVERY_TYPE) {
    const options = { issuer: ISSUER, audience: AUDIENCE };
    assert.throws(() => createVerifier({ ...options, jwks: value as JsonWebKeySet }), TypeError, name);
    const jwks = { keys: value } as JsonWebKeySet;
    assert.throws(() => createVerifier({ ...options, jwks }), TypeError, `keys: ${name}`);
    assert.throws(
      () => createVerifier({ ...options, jwks: { keys: [value as object] } }),
      TypeError,
      `[${name}]`,
    );
  }
  assert.throws(() => verifierWith(...Array.from({ length: 65 }, () => signer.jwk)), TypeError);
});

test('a set that changes after the verifier was made changes nothing', async () => {
  const keys: object[] = [signer.jwk];
  const verifier = verifierWith(...keys);
  const jwks = { keys };
  const fromSet = createVerifier({
    jwks,
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(NOW_SECONDS * 1000),
  });
  keys.length = 0;
  assert.equal((await verifier.verifyToken(GOOD)).jti, claimsIn(GOOD)['jti']);
  assert.equal((await fromSet.verifyToken(GOOD)).jti, claimsIn(GOOD)['jti']);
});
