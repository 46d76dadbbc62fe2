/** Seals as the apps under test have them, and what puts a row right again that a test has changed past the stores. */
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { createRowSeals } from '../../src/keys/encryption/row-seals.ts';
import { judgedRow, type SealedTable, sealList } from '../../src/storage/engine/sealed-rows.ts';
import { TEST_MASTER_KEY } from './test-master-key.ts';

export const TEST_SEALS = createRowSeals({
  kek: createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex')),
  onForged: () => undefined,
});

type Query = (text: string, values: readonly unknown[]) => Promise<object[]>;

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
