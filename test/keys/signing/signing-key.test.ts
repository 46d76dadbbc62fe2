/** Signing keys: a row is trusted only if its private half opens and yields its public half and its kid. */

import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { after, test } from 'node:test';
import { jwkThumbprint } from '../../../src/domain/crypto/jwk.ts';
import { createKeyEncryption, UnwrapError } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { NoActiveKeyError, openKeyRing } from '../../../src/keys/signing/key-ring.ts';
import { nodeSha256 } from '../../../src/keys/signing/node-sha256.ts';
import { generateSigningKey, openSigningKey } from '../../../src/keys/signing/signing-key.ts';
import { createSigningThread } from '../../../src/keys/signing/signing-thread.ts';
import { createMemories } from '../../../src/storage/engine/memories.ts';

const kek = createKeyEncryption(new Uint8Array(32).fill(1));
const keys = createMasterKeys([kek]);
const thread = createSigningThread();
after(() => thread.close());
const strangerKek = createKeyEncryption(new Uint8Array(32).fill(2));
const x = (publicKey: Uint8Array) => Buffer.from(publicKey).toString('base64url');

test('a generated key opens, and is named by its RFC 7638 thumbprint', () => {
  const stored = generateSigningKey(kek);
  const key = openSigningKey(stored, keys, thread);
  assert.equal(stored.publicKey.length, 32);
  assert.equal(stored.kekId, kek.kekId);
  assert.equal(key.kid, jwkThumbprint(x(stored.publicKey), nodeSha256));
  assert.equal(key.publicKeyHex, Buffer.from(stored.publicKey).toString('hex'));
  assert.notEqual(generateSigningKey(kek).kid, stored.kid);
});

test('a JWT and a text are signed under the public half, with header members alg, kid and typ only', async () => {
  const key = openSigningKey(generateSigningKey(kek), keys, thread);
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: x(key.publicKey) };
  const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  const claims = '{"sub":"é","list":[1]}';
  const { jwt, signatureHex } = await key.signJwt(claims);
  const [header = '', payload = '', signature = ''] = jwt.split('.');
  assert.deepEqual(JSON.parse(Buffer.from(header, 'base64url').toString()), {
    alg: 'EdDSA',
    kid: key.kid,
    typ: 'JWT',
  });
  assert.equal(Buffer.from(payload, 'base64url').toString(), claims);
  const bytes = Buffer.from(signature, 'base64url');
  assert.equal(bytes.toString('hex'), signatureHex);
  assert.ok(verify(null, Buffer.from(`${header}.${payload}`), publicKey, bytes));
  assert.ok(verify(null, Buffer.from('é'), publicKey, Buffer.from(key.signText('é'), 'hex')));
});

test('the same claims are signed to the same text: Ed25519 is deterministic', async () => {
  const stored = generateSigningKey(kek);
  const [one, again] = [openSigningKey(stored, keys, thread), openSigningKey(stored, keys, thread)];
  assert.deepEqual(await one.signJwt('{}'), await again.signJwt('{}'));
});

test('a row that someone without the master key wrote is refused', () => {
  assert.throws(() => openSigningKey(generateSigningKey(strangerKek), keys, thread), UnwrapError);
});

test('a row whose parts come from two honest rows is refused, however they are mixed', () => {
  const [one, other] = [generateSigningKey(kek), generateSigningKey(kek)];
  for (const mixed of [
    { ...one, publicKey: other.publicKey },
    { ...one, kid: other.kid },
    { ...one, kid: other.kid, publicKey: other.publicKey },
    { ...one, wrappedPrivateKey: other.wrappedPrivateKey },
  ]) {
    assert.throws(() => openSigningKey(mixed, keys, thread), UnwrapError);
  }
});

test('another public key is refused even where the private half is wrapped for that kid', () => {
  const [one, other] = [generateSigningKey(kek), generateSigningKey(kek)];
  const seed = kek.unwrap(one.wrappedPrivateKey, `signing-key:${one.kid}`);
  const rewrapped = kek.wrap(seed, `signing-key:${other.kid}`);
  assert.throws(
    () => openSigningKey({ ...other, wrappedPrivateKey: rewrapped }, keys, thread),
    UnwrapError,
    'the kid and public key of another pair',
  );
  assert.throws(
    () => openSigningKey({ ...one, kid: other.kid, wrappedPrivateKey: rewrapped }, keys, thread),
    UnwrapError,
    'the kid of another pair',
  );
  assert.throws(
    () => openSigningKey({ ...one, publicKey: one.publicKey.subarray(0, 31) }, keys, thread),
    UnwrapError,
  );
});

type Load = Parameters<typeof openKeyRing>[0]['load'];

async function ringOf(load: Load) {
  const forged: string[] = [];
  const memories = createMemories();
  const onForged = ({ id }: { id: string }) => forged.push(id);
  let toldOfNoActive = 0;
  const onNoActive = () => {
    toldOfNoActive += 1;
  };
  const ring = await openKeyRing({
    masterKeys: keys,
    thread,
    alg: 'EdDSA',
    load,
    onForged,
    onNoActive,
    memories,
  });
  return { ring, forged, memories, toldOfNoActive: () => toldOfNoActive };
}

test('a ring without an active key that opens signs nothing, verifies with the others, and reads again', async () => {
  const [stored, mended] = [generateSigningKey(kek), generateSigningKey(kek)];
  const foreign = { ...generateSigningKey(strangerKek), state: 'active' as const };
  const retiring = { ...stored, state: 'retiring' as const };
  for (const first of [[], [retiring], [foreign], [retiring, foreign]]) {
    let rows: Awaited<ReturnType<Load>> = first;
    const { ring, toldOfNoActive } = await ringOf(async () => rows);
    assert.equal(toldOfNoActive(), 1);
    assert.throws(() => ring.active(), { code: 'UNAVAILABLE' });
    assert.equal(ring.find(foreign.kid), undefined);
    const isThere = rows.includes(retiring);
    assert.equal(ring.find(stored.kid)?.kid, isThere ? stored.kid : undefined);
    if (isThere) assert.equal(ring.published().length, 1);
    else assert.throws(() => ring.published(), { code: 'UNAVAILABLE' });
    // What the calls above read is over.
    await new Promise((resolve) => setImmediate(resolve));
    rows = [{ ...mended, state: 'active' }];
    assert.throws(() => ring.active(), { code: 'UNAVAILABLE' }, 'what this call reads is there for the next');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ring.active().kid, mended.kid);
  }
});

test('a row that does not open is reported and left out, whatever is wrong with it, and the others serve', async () => {
  const [good, other] = [generateSigningKey(kek), generateSigningKey(kek)];
  const bad = {
    'wrapped by nobody': { wrappedPrivateKey: new Uint8Array(60) },
    'wrapped in too few bytes': { wrappedPrivateKey: new Uint8Array(3) },
    'of another public half': { publicKey: good.publicKey },
    'of no public half': { publicKey: new Uint8Array(0) },
    'of another thumbprint': { kid: 'other' },
    'of another key-encryption key': { kekId: strangerKek.kekId },
  };
  for (const [what, fault] of Object.entries(bad)) {
    const row = { ...other, ...fault, state: 'retiring' as const };
    for (const rows of [
      [row, { ...good, state: 'active' as const }],
      [{ ...good, state: 'active' as const }, row],
    ]) {
      const { ring, forged } = await ringOf(async () => rows);
      assert.deepEqual(forged, [row.kid], what);
      assert.deepEqual(
        ring.published().map(({ kid }) => kid),
        [good.kid],
        what,
      );
      assert.equal(ring.find(row.kid), undefined, what);
    }
  }
});

test('a ring that meets a bad row later takes what is good beside it', async () => {
  const [one, other, third] = [generateSigningKey(kek), generateSigningKey(kek), generateSigningKey(kek)];
  let rows: Awaited<ReturnType<Load>> = [{ ...one, state: 'active' }];
  const { ring, forged } = await ringOf(async () => rows);
  rows = [
    { ...other, publicKey: one.publicKey, state: 'next' },
    { ...one, state: 'retiring' },
    { ...third, state: 'active' },
  ];
  await ring.refresh();
  assert.deepEqual(forged, [other.kid]);
  assert.equal(ring.active().kid, third.kid);
  assert.equal(ring.find(other.kid), undefined);
});

test('a row that is changed later is refused, although its key was known', async () => {
  const [one, other] = [generateSigningKey(kek), generateSigningKey(kek)];
  let rows: Awaited<ReturnType<Load>> = [
    { ...one, state: 'active' },
    { ...other, state: 'retiring' },
  ];
  const { ring, forged } = await ringOf(async () => rows);
  assert.notEqual(ring.find(other.kid), undefined);
  rows = [
    { ...one, state: 'active' },
    { ...other, publicKey: one.publicKey, state: 'retiring' },
  ];
  await ring.refresh();
  assert.deepEqual(forged, [other.kid]);
  assert.equal(ring.find(other.kid), undefined);
});

test('a ring whose active row is changed keeps what it had until there is another', async () => {
  const [one, other] = [generateSigningKey(kek), generateSigningKey(kek)];
  let rows: Awaited<ReturnType<Load>> = [{ ...one, state: 'active' }];
  const { ring } = await ringOf(async () => rows);
  rows = [
    { ...one, state: 'retiring' },
    { ...other, publicKey: one.publicKey, state: 'active' },
  ];
  await assert.rejects(ring.refresh(), NoActiveKeyError);
  assert.equal(ring.active().kid, one.kid);
  assert.equal(ring.find(other.kid), undefined);
  rows = [
    { ...one, state: 'retiring' },
    { ...other, state: 'active' },
  ];
  await ring.refresh();
  assert.equal(ring.active().kid, other.kid);
  assert.deepEqual(
    ring.published().map(({ kid }) => kid),
    [one.kid, other.kid],
  );
});

test('at another history no key is used or published before the keys were read again', async () => {
  const [lost, present] = [generateSigningKey(kek), generateSigningKey(kek)];
  const answers: (() => void)[] = [];
  let rows: Awaited<ReturnType<Load>> = [{ ...lost, state: 'active' }];
  const { ring, memories } = await ringOf(async () => {
    const read = rows;
    if (rows.length > 0 && rows[0]?.kid === lost.kid && answers.length === 0) return read;
    await new Promise<void>((resolve) => answers.push(resolve));
    return read;
  });
  memories.forgetAll('a connection was lost');
  assert.equal(ring.active().kid, lost.kid, 'the same server may answer again');
  // The job reads while the server is exchanged: what it has read is not taken.
  answers.push(() => {});
  const job = ring.refresh();
  memories.forgetAll('another history');
  rows = [{ ...present, state: 'active' }];
  for (const use of [() => ring.active(), () => ring.find(lost.kid), () => ring.published()]) {
    assert.throws(use, { code: 'UNAVAILABLE' });
  }
  for (let turn = 0; turn < 20; turn += 1) {
    for (const answer of answers.splice(0)) answer();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await job;
  assert.equal(ring.active().kid, present.kid);
  assert.equal(ring.find(lost.kid), undefined);
  assert.deepEqual(
    ring.published().map(({ kid }) => kid),
    [present.kid],
  );
});

test('a ring drops the keys that have ended, also where no active one opens any more', async () => {
  const [active, retiring] = [generateSigningKey(kek), generateSigningKey(kek)];
  const foreign = { ...generateSigningKey(strangerKek), state: 'active' as const };
  let rows: Awaited<ReturnType<Load>> = [
    { ...retiring, state: 'retiring' },
    { ...active, state: 'active' },
  ];
  const { ring } = await ringOf(async () => rows);
  rows = [{ ...retiring, state: 'retiring' }, { kid: active.kid, state: 'ended' }, foreign];
  await assert.rejects(ring.refresh(), NoActiveKeyError);
  assert.equal(ring.find(active.kid), undefined);
  assert.throws(() => ring.active(), { code: 'UNAVAILABLE' });
  assert.deepEqual(
    ring.published().map(({ kid }) => kid),
    [retiring.kid],
  );
});

test('many who miss a key share one read that begins after they asked, and no read overtakes another', async () => {
  const [old, fresh] = [generateSigningKey(kek), generateSigningKey(kek)];
  let rows: Awaited<ReturnType<Load>> = [{ ...old, state: 'active' }];
  const held: (() => void)[] = [];
  let isHeld = false;
  let reads = 0;
  const { ring } = await ringOf(async () => {
    reads += 1;
    const read = rows;
    if (isHeld) await new Promise<void>((resolve) => held.push(resolve));
    return read;
  });
  isHeld = true;
  const early = ring.refresh();
  rows = [
    { ...old, state: 'retiring' },
    { ...fresh, state: 'active' },
  ];
  const misses = Array.from({ length: 100 }, () => ring.readAgain());
  const job = ring.refresh();
  isHeld = false;
  for (const release of held) release();
  await Promise.all([early, ...misses, job]);
  assert.equal(ring.active().kid, fresh.kid);
  assert.equal(reads, 3, 'at the start, the one under way, and one for all others');
});
