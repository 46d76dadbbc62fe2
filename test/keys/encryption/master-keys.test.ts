/** Which of the keys that a process was given it counts, and which it writes under: what the database lists. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MasterKeyState } from '../../../src/domain/signing-keys/master-key-state.ts';
import { createKeyEncryption, type KeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { createRowSeals } from '../../../src/keys/encryption/row-seals.ts';

const [one, two, three] = [1, 2, 3].map((byte) => createKeyEncryption(new Uint8Array(32).fill(byte))) as [
  KeyEncryption,
  KeyEncryption,
  KeyEncryption,
];

const sealUnder = (masterKeys: ReturnType<typeof createMasterKeys>): Buffer =>
  createRowSeals({ masterKeys, onForged: () => undefined }).of('m');

const listed = (key: KeyEncryption, state: MasterKeyState) => ({
  kekId: key.kekId,
  checkValue: key.checkValue(),
  state,
  since: new Date(),
});

test('the database says which key is active, whatever the order of the settings', () => {
  const keys = createMasterKeys([two, one]);
  assert.deepEqual(keys.follow([listed(one, 'active')]), { missing: [], dropped: true });
  assert.equal(keys.active(), one);
  assert.deepEqual(keys.inUse(), [one.kekId]);
  assert.deepEqual(keys.follow([listed(one, 'retiring'), listed(two, 'active')]), {
    missing: [],
    dropped: false,
  });
  assert.equal(keys.active(), two);
  assert.deepEqual(keys.inUse(), [two.kekId, one.kekId]);
  assert.equal(keys.find(one.kekId), one);
});

test('a retired key counts no more, but for what is under way', () => {
  let now = 0;
  const keys = createMasterKeys([two, one], () => now);
  keys.follow([listed(one, 'retiring'), listed(two, 'active')]);
  assert.deepEqual(keys.follow([listed(one, 'retired'), listed(two, 'active')]), {
    missing: [],
    dropped: true,
  });
  assert.deepEqual(keys.inUse(), [two.kekId]);
  assert.equal(keys.find(one.kekId), one);
  now = 10_000;
  assert.equal(keys.find(one.kekId), undefined);
});

test('a key that was not given is told of, and one under whose name another key stands is none', () => {
  const keys = createMasterKeys([one]);
  const stranger = { ...listed(three, 'active'), kekId: one.kekId };
  assert.deepEqual(keys.follow([stranger]), { missing: [one.kekId], dropped: false });
  assert.deepEqual(keys.follow([listed(one, 'retiring'), listed(two, 'active')]), {
    missing: [two.kekId],
    dropped: false,
  });
  assert.equal(
    keys.active(),
    one,
    'writes go on under the key that it has, and are refused in their statement',
  );
  keys.give(two);
  assert.deepEqual(keys.follow([listed(one, 'retiring'), listed(two, 'active')]).missing, []);
  assert.equal(keys.active(), two);
});

test('a key that is next is read before anything is written under it, however old the list', () => {
  let now = 0;
  const writer = createMasterKeys([two]);
  const keys = createMasterKeys([two, one], () => now);
  const seals = createRowSeals({ masterKeys: keys, onForged: () => undefined });
  const early = { table: 'agents', id: 'x', message: 'm', seal: sealUnder(writer) };
  keys.follow([listed(one, 'active')]);
  now = 10_000;
  assert.equal(seals.whyNot(early), 'its seal is of a master key that is not in use');
  keys.follow([listed(one, 'active'), listed(two, 'next')]);
  assert.deepEqual([keys.active(), keys.inUse()], [one, [one.kekId, two.kekId]]);
  assert.equal(seals.whyNot(early), undefined);
});

test('a row under a listed key that was not given is neither whole nor forged', () => {
  const reported: string[] = [];
  const keys = createMasterKeys([one]);
  const seals = createRowSeals({ masterKeys: keys, onForged: ({ why }) => void reported.push(why) });
  const row = { table: 'agents', id: 'x', message: 'm', seal: sealUnder(createMasterKeys([two])) };
  keys.follow([listed(one, 'active')]);
  assert.equal(seals.fits(row), false);
  assert.deepEqual(reported, ['its seal is of a master key that is not in use']);
  for (const state of ['next', 'active', 'retiring'] as const) {
    keys.follow([listed(one, state === 'active' ? 'retiring' : 'active'), listed(two, state)]);
    assert.throws(() => seals.fits(row), { code: 'UNAVAILABLE' }, state);
    assert.throws(() => seals.require(row), { code: 'UNAVAILABLE' }, state);
  }
  keys.follow([listed(one, 'active'), listed(two, 'retired')]);
  assert.equal(seals.fits(row), false);
  assert.equal(seals.fits({ ...row, seal: null }), false);
  assert.equal(reported.length, 3);
});

test('an empty list changes nothing', () => {
  const keys = createMasterKeys([one]);
  assert.deepEqual(keys.follow([]), { missing: [], dropped: false });
  assert.deepEqual(keys.inUse(), [one.kekId]);
});

test('a seal under the retiring key fits until that key is retired, and is not remembered beyond', () => {
  let now = 0;
  const keys = createMasterKeys([two, one], () => now);
  const seals = createRowSeals({ masterKeys: keys, onForged: () => undefined });
  keys.follow([listed(one, 'active')]);
  const old = { table: 'agents', id: 'x', message: 'm', seal: seals.of('m') };
  assert.ok(old.seal.toString('hex').startsWith(one.kekId));
  assert.equal(seals.whyNot(old), undefined);
  keys.follow([listed(one, 'retiring'), listed(two, 'active')]);
  assert.ok(seals.of('m').toString('hex').startsWith(two.kekId));
  assert.equal(seals.whyNot(old), undefined);
  const mixed = Buffer.concat([seals.of('m').subarray(0, 8), old.seal.subarray(8)]);
  assert.equal(seals.whyNot({ ...old, seal: mixed }), 'its seal does not fit');
  keys.follow([listed(one, 'retired'), listed(two, 'active')]);
  now = 10_000;
  assert.equal(seals.whyNot(old), 'its seal is of a master key that is not in use');
});
