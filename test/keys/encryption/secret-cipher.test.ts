/** The secret cipher: a value opens to whom it was sealed for, untouched, or not at all. */

import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createKeyEncryption, type KeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { createSecretCipher } from '../../../src/keys/encryption/secret-cipher.ts';
import type { SealBinding, SealedValue } from '../../../src/use-cases/secrets/ports.ts';
import { PROPERTY_RUNS } from '../../support/effort.ts';

const MASTER = Uint8Array.from({ length: 32 }, (_, index) => index);
const kek = createKeyEncryption(MASTER);
const cipher = createSecretCipher(createMasterKeys([kek]));

const BINDING: SealBinding = {
  secretId: '0197c0de-0000-7000-8000-000000000001',
  path: 'production/openai/KEY',
  version: 3,
};
const VALUE = utf8('päss\0word, and some more of it to fill a block or two');

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

function hexOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex');
}

function assertShut(sealed: SealedValue, binding: SealBinding, why: string): void {
  assert.equal(cipher.open(sealed, binding), undefined, why);
}

/** RFC 5869 with an empty salt, for one block of output. */
function hkdf(info: string, length: number): Uint8Array {
  const extracted = createHmac('sha256', Buffer.alloc(32)).update(MASTER).digest();
  const expanded = createHmac('sha256', extracted)
    .update(Buffer.from(`${info}\u0001`))
    .digest();
  return Uint8Array.from(expanded.subarray(0, length));
}

const KEK_ID = Buffer.from(hkdf('writ key-encryption id', 8)).toString('hex');
const purposeOf = ({ secretId, path, version }: SealBinding) => `secret:${secretId}:${version}:${path}`;

interface Gcm {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: string;
}

/** Ciphertext and tag; AES-128 for a key of 16 bytes. */
function gcmSeal({ key, nonce, aad }: Gcm, plain: Uint8Array): Uint8Array {
  const aes = createCipheriv(key.length === 16 ? 'aes-128-gcm' : 'aes-256-gcm', key, nonce);
  aes.setAAD(Buffer.from(aad));
  return Uint8Array.from(Buffer.concat([aes.update(plain), aes.final(), aes.getAuthTag()]));
}

function gcmOpen({ key, nonce, aad }: Gcm, sealed: Uint8Array): Uint8Array {
  const aes = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 });
  aes.setAAD(Buffer.from(aad)).setAuthTag(sealed.subarray(-16));
  return Uint8Array.from(Buffer.concat([aes.update(sealed.subarray(0, -16)), aes.final()]));
}

/** The documented format, put together without the code under test. */
function sealedByHand(parts: { dataKey: Uint8Array; nonce: Uint8Array; binding?: SealBinding }): SealedValue {
  const { dataKey, nonce, binding = BINDING } = parts;
  const purpose = purposeOf(binding);
  const wrapNonce = new Uint8Array(12).fill(0x57);
  const wrap = { key: hkdf('writ key-encryption', 32), nonce: wrapNonce, aad: `${KEK_ID}:${purpose}` };
  const valueKey = dataKey.length === 16 ? dataKey : dataKey.slice(0, 32);
  return {
    wrappedKey: Uint8Array.from([...wrapNonce, ...gcmSeal(wrap, dataKey)]),
    kekId: KEK_ID,
    nonce,
    ciphertext: gcmSeal({ key: valueKey, nonce, aad: purpose }, VALUE),
  };
}

function withFlippedBit(bytes: Uint8Array, bit: number): Uint8Array {
  return bytes.map((byte, index) => (index === bit >> 3 ? byte ^ (0x80 >> (bit & 7)) : byte));
}

test('what was sealed opens to the same bytes, from none to 64 KiB and beyond', () => {
  for (const length of [0, 1, 15, 16, 17, 65_535, 65_536, 1_000_000]) {
    const value = Uint8Array.from({ length }, (_, index) => (index * 7) & 0xff);
    const opened = cipher.open(cipher.seal(value, BINDING), BINDING);
    assert.equal(hexOf(opened), hexOf(value), `${length} bytes`);
  }
});

test('whatever bytes are sealed, those open', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (value) => {
      assert.equal(hexOf(cipher.open(cipher.seal(value, BINDING), BINDING)), hexOf(value));
    }),
  );
});

test('a sealed value has the documented parts, names its key and shows nothing of what is in it', () => {
  for (const value of [new Uint8Array(), VALUE]) {
    const { wrappedKey, kekId, nonce, ciphertext } = cipher.seal(value, BINDING);
    assert.equal(wrappedKey.length, 12 + 32 + 16);
    assert.equal(nonce.length, 12);
    assert.equal(ciphertext.length, value.length + 16);
    assert.equal(kekId, KEK_ID);
    for (const part of [wrappedKey, nonce, ciphertext]) {
      const shows = value.length > 0 && Buffer.from(part).includes(Buffer.from(value.subarray(0, 8)));
      assert.equal(shows, false);
    }
  }
});

test('known answer: what another implementation sealed opens', () => {
  // Made with AESGCM and HKDF of Python's `cryptography` 48.0.0: master key 00..1f, data key 20..3f, nonce 40..4b,
  // nonce of the wrap 50..5b, additional data `secret:<id>:3:<path>`, with `<kek id>:` before it for the wrap.
  const sealed = {
    wrappedKey: fromHex(
      '505152535455565758595a5bf2b924a268bd96a2362124fd59d350120bf38b840f33a29234afedcdfeefdf90499073b31b4e1d6a9007239ee083336d',
    ),
    kekId: '491dc10c3d0e6ae9',
    nonce: fromHex('404142434445464748494a4b'),
    ciphertext: fromHex('b29719f22376b26420562d06d819e75dea112b6760cf15fa5882'),
  };
  assert.equal(hexOf(cipher.open(sealed, BINDING)), hexOf(utf8('päss\0word')));
});

test('what is put together by hand from the documented format opens, and the reverse', () => {
  const dataKey = new Uint8Array(32).fill(0xd4);
  const byHand = sealedByHand({ dataKey, nonce: new Uint8Array(12).fill(0x4e) });
  assert.equal(hexOf(cipher.open(byHand, BINDING)), hexOf(VALUE));

  const { wrappedKey, nonce, ciphertext } = cipher.seal(VALUE, BINDING);
  const purpose = purposeOf(BINDING);
  const wrap = {
    key: hkdf('writ key-encryption', 32),
    nonce: wrappedKey.subarray(0, 12),
    aad: `${KEK_ID}:${purpose}`,
  };
  const key = gcmOpen(wrap, wrappedKey.subarray(12));
  assert.equal(hexOf(gcmOpen({ key, nonce, aad: purpose }, ciphertext)), hexOf(VALUE));
});

test('it opens only for the same secret, path and version', () => {
  const sealed = cipher.seal(VALUE, BINDING);
  assert.equal(hexOf(cipher.open(sealed, { ...BINDING })), hexOf(VALUE));
  const others: Partial<SealBinding>[] = [
    { secretId: '0197c0de-0000-7000-8000-000000000002' },
    { secretId: BINDING.secretId.toUpperCase() },
    { secretId: '' },
    { path: 'production/openai/key' },
    { path: 'production/openai/KEY2' },
    { path: 'production/openai' },
    { path: '/production/openai/KEY' },
    { path: 'production/openai/KEY ' },
    { path: '' },
    { version: 2 },
    { version: 4 },
    { version: 33 },
    { version: 0 },
    { version: -3 },
    { version: 3.5 },
  ];
  for (const other of others) assertShut(sealed, { ...BINDING, ...other }, JSON.stringify(other));
});

test('it opens only under the key that it names and that sealed it', () => {
  const sealed = cipher.seal(VALUE, BINDING);
  const otherKek = createKeyEncryption(MASTER.map((byte) => byte ^ 1));
  const other = createSecretCipher(createMasterKeys([otherKek]));
  assert.equal(other.open(sealed, BINDING), undefined);
  assert.equal(other.open({ ...sealed, kekId: otherKek.kekId }, BINDING), undefined, 'under a changed name');
  for (const kekId of [otherKek.kekId, '', KEK_ID.toUpperCase(), `${KEK_ID} `]) {
    assertShut({ ...sealed, kekId }, BINDING, `named ${kekId}`);
  }
});

test('every flipped bit of wrapped key, nonce and tag is noticed, and of the ciphertext', () => {
  const sealed = cipher.seal(VALUE, BINDING);
  for (const part of ['wrappedKey', 'nonce', 'ciphertext'] as const) {
    for (let bit = 0; bit < sealed[part].length * 8; bit += 1) {
      assertShut({ ...sealed, [part]: withFlippedBit(sealed[part], bit) }, BINDING, `bit ${bit} of ${part}`);
    }
  }
});

test('a flipped bit anywhere in a long value, or in the tag alone of an empty one, is noticed', () => {
  const long = cipher.seal(new Uint8Array(65_536).fill(7), BINDING);
  for (let bit = 0; bit < long.ciphertext.length * 8; bit += 16_411) {
    assertShut({ ...long, ciphertext: withFlippedBit(long.ciphertext, bit) }, BINDING, `bit ${bit}`);
  }
  const empty = cipher.seal(new Uint8Array(), BINDING);
  for (let bit = 0; bit < 128; bit += 1) {
    assertShut({ ...empty, ciphertext: withFlippedBit(empty.ciphertext, bit) }, BINDING, `bit ${bit}`);
  }
});

test('a part that is shorter or longer than it was does not open', () => {
  const sealed = cipher.seal(VALUE, BINDING);
  for (const part of ['wrappedKey', 'nonce', 'ciphertext'] as const) {
    const bytes = sealed[part];
    for (let length = 0; length < bytes.length; length += 1) {
      assertShut({ ...sealed, [part]: bytes.subarray(0, length) }, BINDING, `${length} first of ${part}`);
      const last = bytes.subarray(bytes.length - length);
      assertShut({ ...sealed, [part]: last }, BINDING, `${length} last of ${part}`);
    }
    for (const more of [[0], Array(4).fill(0), Array(16).fill(0), [...bytes]]) {
      assertShut({ ...sealed, [part]: Uint8Array.from([...bytes, ...more]) }, BINDING, `longer ${part}`);
      assertShut({ ...sealed, [part]: Uint8Array.from([...more, ...bytes]) }, BINDING, `longer ${part}`);
    }
  }
});

test('a nonce or a data key of another length is refused, also where everything else fits', () => {
  const dataKey = new Uint8Array(32).fill(0xd4);
  const nonce = new Uint8Array(12).fill(0x4e);
  assert.equal(hexOf(cipher.open(sealedByHand({ dataKey, nonce }), BINDING)), hexOf(VALUE));
  for (const length of [8, 11, 13, 16]) {
    const sealed = sealedByHand({ dataKey, nonce: new Uint8Array(length).fill(0x4e) });
    assertShut(sealed, BINDING, `nonce of ${length} bytes`);
  }
  // An AES-128 key that is really what the value is under, and an AES-256 key with a byte too many.
  for (const length of [16, 33]) {
    const sealed = sealedByHand({ dataKey: new Uint8Array(length).fill(0xd4), nonce });
    assertShut(sealed, BINDING, `data key of ${length} bytes`);
  }
});

test('parts of two sealed values never open together, be they of two secrets, two versions or of one', () => {
  const others = [
    { ...BINDING, secretId: '0197c0de-0000-7000-8000-000000000002', path: 'production/stripe/KEY' },
    { ...BINDING, version: 4 },
    BINDING,
  ];
  const parts = ['wrappedKey', 'nonce', 'ciphertext'] as const;
  for (const binding of others) {
    const [mine, theirs] = [cipher.seal(VALUE, BINDING), cipher.seal(VALUE, binding)];
    // Every way to take some parts from one and the rest from the other.
    for (let mix = 1; mix < 2 ** parts.length - 1; mix += 1) {
      const taken = parts.filter((_, index) => (mix >> index) & 1);
      const mixed = { ...mine, ...Object.fromEntries(taken.map((part) => [part, theirs[part]])) };
      for (const of of [BINDING, binding]) assertShut(mixed, of, `${taken} of ${purposeOf(binding)}`);
    }
  }
});

test('two seals of one value share nothing: not the data key, not a nonce, not a byte of a block', () => {
  const seals = Array.from({ length: 40 }, () => cipher.seal(VALUE, BINDING));
  const distinct = (texts: (string | undefined)[]) => assert.equal(new Set(texts).size, seals.length);
  distinct(seals.map(({ wrappedKey }) => hexOf(kek.unwrap(wrappedKey, purposeOf(BINDING)))));
  distinct(seals.map(({ wrappedKey }) => hexOf(wrappedKey.subarray(0, 12))));
  distinct(seals.map(({ nonce }) => hexOf(nonce)));
  for (let at = 0; at + 8 <= VALUE.length + 16; at += 8) {
    distinct(seals.map(({ ciphertext }) => hexOf(ciphertext.subarray(at, at + 8))));
  }
});

/** Without a copy, which would lie in the memory that buffers share. */
function hexOfView({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}

/** A cipher, and what it had wrapped: the data keys and what they are bound to. */
function recordingCipher() {
  const wraps: { readonly dataKeyHex: string; readonly purpose: string }[] = [];
  const key: KeyEncryption = {
    ...kek,
    wrap: (plain, purpose) => {
      wraps.push({ dataKeyHex: hexOfView(plain), purpose });
      return kek.wrap(plain, purpose);
    },
  };
  const recording = createSecretCipher(createMasterKeys([key]));
  return { recording, wraps };
}

test('nothing that leaves tells of the data key, neither the nonces nor the memory behind any part', () => {
  const { recording, wraps } = recordingCipher();
  for (let count = 0; count < 40; count += 1) {
    const { wrappedKey, nonce, ciphertext } = recording.seal(VALUE, BINDING);
    const keyHex = wraps[count]?.dataKeyHex ?? '';
    assert.equal(keyHex.length, 64);
    for (const part of [wrappedKey, nonce, ciphertext]) {
      assert.equal(hexOfView(new Uint8Array(part.buffer)).includes(keyHex), false);
      for (let at = 0; at + 16 <= keyHex.length; at += 2) {
        assert.equal(
          hexOfView(part).includes(keyHex.slice(at, at + 16)),
          false,
          `from digit ${at} of the key`,
        );
      }
    }
  }
});

const segment = fc.string({ unit: fc.constantFrom(...'0123ab-.@+=~_'), minLength: 1, maxLength: 4 });
const path = fc
  .array(
    segment.filter((text) => text !== '.' && text !== '..'),
    { minLength: 2, maxLength: 4 },
  )
  .map((segments) => segments.join('/'));
const binding = fc.record({
  secretId: fc.uuid(),
  path,
  version: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});
/** One line of digits cut into a version and the beginning of a path in two ways, and pairs that differ in one part. */
const neighbours = fc.oneof(
  fc
    .tuple(fc.uuid(), fc.stringMatching(/^[1-9]{3,8}$/), fc.nat(), fc.nat(), path)
    .map(([secretId, digits, one, other, rest]) => {
      const cut = (at: number): SealBinding => {
        const length = 1 + (at % (digits.length - 1));
        return {
          secretId,
          version: Number(digits.slice(0, length)),
          path: `${digits.slice(length)}/${rest}`,
        };
      };
      return [cut(one), cut(other)] as const;
    }),
  fc.tuple(binding, binding).chain(([one, other]) =>
    fc
      .subarray(['secretId', 'path', 'version'] as const)
      .map((kept) => ({ ...other, ...Object.fromEntries(kept.map((part) => [part, one[part]])) }))
      .map((near) => [one, near] as const),
  ),
);

test('a value is bound to exactly one secret, path and version: no two of them read the same', () => {
  const { recording, wraps } = recordingCipher();
  let equal = 0;
  fc.assert(
    fc.property(neighbours, ([one, other]) => {
      wraps.length = 0;
      const sealed = recording.seal(VALUE, one);
      recording.seal(VALUE, other);
      const bound = wraps.map(({ purpose }) => purpose);
      const same =
        one.secretId === other.secretId && one.path === other.path && one.version === other.version;
      assert.equal(bound[0] === bound[1], same, bound.join(' and '));
      assert.equal(cipher.open(sealed, other) !== undefined, same, bound.join(' and '));
      if (same) equal += 1;
    }),
    { numRuns: PROPERTY_RUNS },
  );
  assert.ok(equal > PROPERTY_RUNS / 50 && equal < 0.8 * PROPERTY_RUNS, `${equal} were equal`);
});

test('attack: nothing that was wrapped for another purpose is taken for a data key', () => {
  const dataKey = new Uint8Array(32).fill(0xd4);
  const sealed = sealedByHand({ dataKey, nonce: new Uint8Array(12) });
  const purpose = purposeOf(BINDING);
  const rewrapped = { ...sealed, wrappedKey: kek.wrap(dataKey, purpose) };
  assert.equal(hexOf(cipher.open(rewrapped, BINDING)), hexOf(VALUE));
  for (const other of [
    'check',
    `signing-key:${BINDING.secretId}`,
    '',
    `x${purpose}`,
    `${KEK_ID}:${purpose}`,
  ]) {
    assertShut({ ...sealed, wrappedKey: kek.wrap(dataKey, other) }, BINDING, other);
  }
});

test('a fault that is none of the row is not told as one: it is thrown', () => {
  const fault = new TypeError('a bug');
  const broken: KeyEncryption = {
    ...kek,
    unwrap: () => {
      throw fault;
    },
  };
  const sealed = cipher.seal(VALUE, BINDING);
  assert.throws(
    () => createSecretCipher(createMasterKeys([broken])).open(sealed, BINDING),
    (error) => error === fault,
  );
});
