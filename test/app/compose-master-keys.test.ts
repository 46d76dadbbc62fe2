/** A process follows what the database says of its master keys, and says what it lacks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppContext } from '../../src/app/app-context.ts';
import { composeMasterKeys } from '../../src/app/compose-master-keys.ts';
import type { MasterKeyState } from '../../src/domain/signing-keys/master-key-state.ts';
import { createKeyEncryption, type KeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../src/keys/encryption/master-keys.ts';
import { createMemories } from '../../src/storage/engine/memories.ts';

const [before, after] = [1, 2].map((byte) => createKeyEncryption(new Uint8Array(32).fill(byte))) as [
  KeyEncryption,
  KeyEncryption,
];

function aProcess(given: readonly KeyEncryption[]) {
  let listed: object[] = [];
  let refuse: () => void = () => undefined;
  const said: unknown[] = [];
  const forgotten: string[] = [];
  const memories = createMemories();
  memories.add('what was read', (why) => forgotten.push(why));
  const masterKeys = createMasterKeys(given);
  const note = (level: string) => (values: object, text: string) => said.push([level, values, text]);
  const part = composeMasterKeys({
    database: {
      memories,
      query: async () => listed,
      onInactiveKey: (listener: () => void) => {
        refuse = listener;
      },
    },
    provisioned: { masterKeys },
    log: { info: note('info'), error: note('error') },
  } as unknown as AppContext);
  const list = (...rows: readonly (readonly [KeyEncryption, MasterKeyState])[]) => {
    listed = rows.map(([key, state]) => ({
      kekId: key.kekId,
      checkValue: key.checkValue(),
      state,
      since: new Date(),
      wrappedRoot: null,
    }));
  };
  return { part, masterKeys, said, forgotten, memories, list, refused: () => refuse() };
}

test('a process without the active key says once what to set, is not ready, and goes on under its own', async () => {
  const { part, masterKeys, said, list } = aProcess([before]);
  list([before, 'retiring'], [after, 'active']);
  await part.refresh();
  await part.refresh();
  assert.deepEqual(part.missing(), [after.kekId]);
  assert.equal(masterKeys.active(), before);
  const errors = said.filter((line) => (line as [string])[0] === 'error') as [string, object, string][];
  assert.equal(errors.length, 1);
  assert.deepEqual(errors[0]?.[1], { missing: [after.kekId], given: [before.kekId] });
  assert.match(errors[0]?.[2] ?? '', /Set MASTER_KEY to that key and MASTER_KEY_PREVIOUS to the one before/);
});

test('a refused write, and another history, have the list read at once', async () => {
  for (const cause of ['a refusal', 'another history']) {
    const { masterKeys, list, refused, memories } = aProcess([before, after]);
    list([before, 'retiring'], [after, 'active']);
    if (cause === 'a refusal') refused();
    else memories.forgetAll('another history');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(masterKeys.active(), after, cause);
  }
});

test('what is remembered is dropped when a key is retired', async () => {
  const { part, list, forgotten } = aProcess([before, after]);
  list([before, 'retiring'], [after, 'active']);
  await part.refresh();
  assert.deepEqual(forgotten, []);
  list([before, 'retired'], [after, 'active']);
  await part.refresh();
  await part.refresh();
  assert.deepEqual(forgotten, ['a master key was retired']);
});
