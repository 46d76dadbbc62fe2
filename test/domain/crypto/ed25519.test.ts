/**
 * Ed25519 verification in plain JavaScript: the vectors of RFC 8032, agreement with node:crypto on everything an honest
 * or a clumsy signer makes, and refusal of what only a lax verifier takes.
 */

import assert from 'node:assert/strict';
import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { etc, Point } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { isSmallOrder, verifyEd25519 } from '../../../src/domain/crypto/ed25519.ts';
import { privateKeyFromSeed } from '../../../src/keys/signing/signing-key.ts';
import { COSTLY_RUNS } from '../../support/effort.ts';
import { EVERY_TYPE } from '../every-type.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

/** Section 7.1, tests 1 to 3. */
const RFC_8032 = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
].map((row) => ({
  seed: hex(row.seed),
  publicKey: hex(row.publicKey),
  message: hex(row.message),
  signature: hex(row.signature),
}));

/** RFC 8410 frame. */
const publicKeyObject = (bytes: Uint8Array): KeyObject =>
  createPublicKey({
    key: Buffer.concat([hex('302a300506032b6570032100'), bytes]),
    format: 'der',
    type: 'spki',
  });
const rawPublicKey = (key: KeyObject): Uint8Array =>
  new Uint8Array(Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url'));

interface Question {
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
  readonly publicKey: Uint8Array;
}

function nodeVerifies({ signature, message, publicKey }: Question): boolean {
  try {
    return verify(null, message, publicKeyObject(publicKey), signature);
  } catch {
    return false;
  }
}

for (const [index, row] of RFC_8032.entries()) {
  test(`test ${index + 1} of RFC 8032 section 7.1 verifies, and node:crypto makes the same signature`, () => {
    assert.ok(verifyEd25519(row));
    const key = privateKeyFromSeed(row.seed);
    assert.deepEqual(rawPublicKey(key), row.publicKey);
    assert.deepEqual(new Uint8Array(sign(null, row.message, key)), row.signature);
  });
}

test('a vector of the RFC under the key or the message of another is refused', () => {
  const [one, two] = RFC_8032;
  assert.ok(one !== undefined && two !== undefined);
  assert.equal(verifyEd25519({ ...one, publicKey: two.publicKey }), false);
  assert.equal(verifyEd25519({ ...one, message: two.message }), false);
  assert.equal(verifyEd25519({ ...one, signature: two.signature }), false);
});

const aSeed = fc.uint8Array({ minLength: 32, maxLength: 32 });
const aMessage = fc.uint8Array({ maxLength: 200 });

function signed(seed: Uint8Array, message: Uint8Array): Question {
  const key = privateKeyFromSeed(seed);
  return { message, publicKey: rawPublicKey(key), signature: new Uint8Array(sign(null, message, key)) };
}

test('what node:crypto signs verifies, whatever key and message', () => {
  fc.assert(
    fc.property(aSeed, aMessage, (seed, message) => assert.ok(verifyEd25519(signed(seed, message)))),
    { numRuns: COSTLY_RUNS },
  );
});

test('with any bit flipped anywhere it agrees with node:crypto, and both refuse', () => {
  const part = fc.constantFrom<keyof Question>('signature', 'message', 'publicKey');
  fc.assert(
    fc.property(
      aSeed,
      fc.uint8Array({ minLength: 1, maxLength: 80 }),
      part,
      fc.nat(),
      (seed, message, name, nat) => {
        const question = signed(seed, message);
        const bytes = Uint8Array.from(question[name]);
        const bit = nat % (8 * bytes.length);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const mutated = { ...question, [name]: bytes };
        assert.equal(verifyEd25519(mutated), nodeVerifies(mutated));
        assert.equal(verifyEd25519(mutated), false);
      },
    ),
    { numRuns: COSTLY_RUNS },
  );
});

test('random bytes for a signature are refused by both', () => {
  fc.assert(
    fc.property(aSeed, fc.uint8Array({ minLength: 64, maxLength: 64 }), (seed, signature) => {
      const question = { ...signed(seed, seed), signature };
      assert.equal(verifyEd25519(question), false);
      assert.equal(nodeVerifies(question), false);
    }),
    { numRuns: COSTLY_RUNS },
  );
});

test('S + L, the second form of every signature, is refused', () => {
  for (const row of RFC_8032) {
    const s = BigInt(`0x${Buffer.from(row.signature.slice(32)).reverse().toString('hex')}`);
    for (const other of [s + L, s + 2n * L, s + 4n * L]) {
      const tail = Buffer.from(other.toString(16).padStart(64, '0'), 'hex').reverse();
      const signature = new Uint8Array([...row.signature.slice(0, 32), ...tail]);
      assert.equal(verifyEd25519({ ...row, signature }), false);
    }
  }
});

/** All points of the curve whose order divides 8, in their canonical encoding. */
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
].map(hex);

/** y of 2^255 − 19 and one above, and a sign bit where x is 0: other texts of the same points. */
const OTHER_ENCODINGS = [
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
].map(hex);

test('the table of small-order points is the eight of them', () => {
  const points = SMALL_ORDER.map((bytes) => Point.fromBytes(bytes));
  assert.equal(new Set(points.map((point) => point.toHex())).size, 8);
  for (const point of points) assert.ok(point.multiplyUnsafe?.(8n).is0() ?? point.clearCofactor().is0());
});

for (const publicKey of [...SMALL_ORDER, ...OTHER_ENCODINGS]) {
  const name = Buffer.from(publicKey).toString('hex');
  test(`the small-order key ${name.slice(0, 8)}…${name.slice(-4)} is known as one and verifies nothing`, () => {
    assert.ok(isSmallOrder(publicKey));
    const zero = new Uint8Array(32);
    for (const r of [...SMALL_ORDER, ...OTHER_ENCODINGS]) {
      for (const message of [new Uint8Array(), hex('00'), hex('0102')]) {
        assert.equal(
          verifyEd25519({ publicKey, message, signature: new Uint8Array([...r, ...zero]) }),
          false,
        );
      }
    }
  });
}

test('under the identity key one signature fits every message, and is refused', () => {
  const [publicKey] = SMALL_ORDER;
  assert.ok(publicKey !== undefined);
  // R = [S]B with any S: then R = [S]B − [k]A for every k, because A is nothing. Some releases of node:crypto take it.
  const s = 7n;
  const r = Point.BASE.multiply(s).toBytes();
  const signature = new Uint8Array([...r, 7, ...new Uint8Array(31)]);
  for (const text of ['', 'anything', 'transfer everything']) {
    const question: Question = { publicKey, message: new Uint8Array(Buffer.from(text)), signature };
    assert.equal(verifyEd25519(question), false);
  }
});

test('an honest public key is not of small order', () => {
  fc.assert(
    fc.property(aSeed, (seed) => assert.equal(isSmallOrder(rawPublicKey(privateKeyFromSeed(seed))), false)),
    { numRuns: COSTLY_RUNS },
  );
});

test('bytes that are no point count as small order', () => {
  const noPoint = hex('0200000000000000000000000000000000000000000000000000000000000000');
  assert.throws(() => Point.fromBytes(noPoint));
  assert.ok(isSmallOrder(noPoint));
});

/** What a signer can make who knows the key and adds a point of small order: only a lax verifier takes it. */
function withTorsion(torsion: InstanceType<typeof Point>, where: 'R' | 'A'): Question {
  const scalar = 0x1234567890abcdef1234567890abcdefn;
  const nonce = 0xfedcba0987654321n;
  const message = hex('c0ffee');
  const honest = Point.BASE.multiply(scalar);
  const publicKey = (where === 'A' ? honest.add(torsion) : honest).toBytes();
  const base = Point.BASE.multiply(nonce);
  const r = (where === 'R' ? base.add(torsion) : base).toBytes();
  const digest = sha512(etc.concatBytes(r, publicKey, message));
  const k = etc.mod(BigInt(`0x${Buffer.from(digest).reverse().toString('hex')}`), L);
  const s = etc.mod(nonce + k * scalar, L);
  const tail = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse();
  return { publicKey, message, signature: new Uint8Array([...r, ...tail]) };
}

test('the helper of the next tests makes a good signature when it adds nothing', () => {
  const question = withTorsion(Point.ZERO, 'R');
  assert.ok(nodeVerifies(question));
  assert.ok(verifyEd25519(question));
});

for (const where of ['R', 'A'] as const) {
  test(`a signature with a small-order point added to ${where} is judged as node:crypto judges it`, () => {
    for (const bytes of SMALL_ORDER.slice(1)) {
      const question = withTorsion(Point.fromBytes(bytes), where);
      assert.equal(verifyEd25519(question), nodeVerifies(question), Buffer.from(bytes).toString('hex'));
    }
  });
}

for (const [name, value] of EVERY_TYPE) {
  test(`${name} as signature, message or key is refused without an exception`, () => {
    const [good] = RFC_8032;
    assert.ok(good !== undefined);
    for (const member of ['signature', 'message', 'publicKey'] as const) {
      assert.equal(verifyEd25519({ ...good, [member]: value } as Question), false);
    }
    assert.equal(isSmallOrder(value as Uint8Array), true);
  });
}

test('a signature or key of another length is refused', () => {
  for (const row of RFC_8032) {
    for (const signature of [
      row.signature.slice(1),
      row.signature.slice(0, 63),
      new Uint8Array([...row.signature, 0]),
    ])
      assert.equal(verifyEd25519({ ...row, signature }), false);
    for (const publicKey of [row.publicKey.slice(0, 31), new Uint8Array([...row.publicKey, 0])])
      assert.equal(verifyEd25519({ ...row, publicKey }), false);
  }
});
