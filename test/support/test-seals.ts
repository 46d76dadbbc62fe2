/** Seals as the apps under test have them, and what puts a row right again that a test has changed past the stores. */
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../src/keys/encryption/master-keys.ts';
import { createRowSeals } from '../../src/keys/encryption/row-seals.ts';
import type { Database } from '../../src/storage/engine/database.ts';
import { judgedRow, type SealedTable, sealList } from '../../src/storage/engine/sealed-rows.ts';
import { addMasterKey } from '../../src/storage/signing-keys/master-key-store.ts';
import { TEST_MASTER_KEY } from './test-master-key.ts';

export const TEST_KEK = createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex'));

export const TEST_SEALS = createRowSeals({
  masterKeys: createMasterKeys([TEST_KEK]),
  onForged: () => undefined,
});

/** What is sealed or wrapped under `TEST_KEK` may be written. */
export async function useTestKek(database: Database): Promise<void> {
  const key = { kekId: TEST_KEK.kekId, checkValue: TEST_KEK.checkValue(), state: 'active' } as const;
  await addMasterKey(database, key);
}

type Query = (text: string, values: readonly unknown[]) => Promise<object[]>;

/**
 * What the owner of a database does first who wants to forge a row: nothing refuses a seal or a wrap of another key any
 * more, so that it is judged where it is read.
 */
export async function takeGuardAway(query: Query): Promise<void> {
  await query('drop function master_keys_refuse_inactive cascade', []);
}

/** Seals every row of the table that is as `condition` says, as Writ would have written it. */
export async function resealRows(
  query: Query,
  name: SealedTable,
  condition = 'true',
  values: readonly unknown[] = [],
): Promise<void> {
  const rows = await query(
    `select ${sealList(name, 'changed')}, changed.ctid::text as place from ${name} changed where ${condition}`,
    values,
  );
  for (const row of rows) {
    const seal = TEST_SEALS.of(judgedRow(name, row).message);
    const { place } = row as { place: string };
    await query(`update ${name} set seal = $2 where ctid = $1::text::tid`, [place, seal]);
  }
}
