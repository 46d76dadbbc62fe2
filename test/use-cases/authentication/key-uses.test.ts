/** Uses of keys are written together, each key once a minute; what could not be written is written next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyUses } from '../../../src/use-cases/authentication/key-uses.ts';
import type { KeyUse } from '../../../src/use-cases/authentication/ports.ts';

function aBench() {
  const clock = { ms: 1_000_000 };
  const written: (readonly KeyUse[])[] = [];
  const fault: { error?: Error } = {};
  const uses = createKeyUses({
    now: () => new Date(clock.ms),
    store: {
      noteUses: async (batch) => {
        if (fault.error !== undefined) throw fault.error;
        written.push(batch);
      },
    },
  });
  const note = (keyId: string, ipAddress: string | null = null): void => {
    const known = uses.noted.get(keyId) ?? { writtenUseMs: 0, writtenAtMs: 0 };
    uses.noted.set(keyId, { ...known, at: new Date(clock.ms), ipAddress });
  };
  return { clock, written, fault, uses, note };
}

test('a key is written at once, and then once a minute with its latest use', async () => {
  const { clock, written, uses, note } = aBench();
  note('one', '192.0.2.1');
  await uses.write();
  assert.deepEqual(written, [[{ keyId: 'one', at: new Date(clock.ms), ipAddress: '192.0.2.1' }]]);
  for (let second = 1; second < 60; second += 1) {
    clock.ms += 1000;
    note('one', `192.0.2.${second}`);
    await uses.write();
  }
  assert.equal(written.length, 1);
  clock.ms += 1000;
  await uses.write();
  assert.deepEqual(written.slice(1), [
    [{ keyId: 'one', at: new Date(clock.ms - 1000), ipAddress: '192.0.2.59' }],
  ]);
});

test('nothing new is written of a key that rests, and after a minute it is forgotten', async () => {
  const { clock, written, uses, note } = aBench();
  note('one');
  await uses.write();
  await uses.write('all');
  assert.equal(written.length, 1);
  clock.ms += 60_000;
  await uses.write();
  assert.deepEqual([written.length, uses.noted.size], [1, 0]);
});

test('at the end all is written that was not', async () => {
  const { clock, written, uses, note } = aBench();
  note('one');
  await uses.write();
  clock.ms += 1;
  note('one');
  await uses.write('all');
  assert.deepEqual(written.at(-1), [{ keyId: 'one', at: new Date(clock.ms), ipAddress: null }]);
});

test('what could not be written is written next', async () => {
  const { written, fault, uses, note } = aBench();
  note('one', '192.0.2.1');
  fault.error = new Error('no database');
  await assert.rejects(uses.write(), fault.error);
  delete fault.error;
  await uses.write();
  assert.equal(written.flat().length, 1);
});

test('many keys are written a thousand at a time', async () => {
  const { written, uses, note } = aBench();
  for (let key = 0; key < 2500; key += 1) note(String(key));
  await uses.write();
  assert.deepEqual(
    written.map(({ length }) => length),
    [1000, 1000, 500],
  );
});
