/** The check value that tells whether a master key is the one this database was made with. */

import type { SealedRow } from '../../use-cases/ports.ts';
import type { Session, Statement } from '../engine/database.ts';
import { judgedRow, SEALED_TABLES, type SealedTable, sealList } from '../engine/sealed-rows.ts';
import { kekCheck } from '../schema.ts';

export async function readKekCheck(
  session: Session,
): Promise<{ kekId: string; checkValue: Uint8Array } | undefined> {
  const [row] = await session.orm('read', (orm) =>
    orm.select({ kekId: kekCheck.kekId, checkValue: kekCheck.checkValue }).from(kekCheck),
  );
  return row;
}

export async function writeKekCheck(
  session: Session,
  check: { kekId: string; checkValue: Uint8Array },
): Promise<void> {
  await session.orm('write', (orm) => orm.insert(kekCheck).values(check).onConflictDoNothing());
}

/** From now on all rows are sealed. */
export async function replaceKekCheck(session: Session, checkValue: Uint8Array): Promise<void> {
  await session.orm('write', (orm) => orm.update(kekCheck).set({ checkValue }));
}

/** Of each table. One row that fits is enough. */
const WITNESSES = 100;

const sealedWitnesses = (name: SealedTable): Statement => ({
  name: `sealed_witnesses_${name}`,
  effect: 'read',
  text: `select ${sealList(name, 'kept')} from ${name} kept where kept.seal is not null limit ${WITNESSES}`,
});

const WRAPPED_WITNESSES: Statement = {
  name: 'wrapped_witnesses',
  effect: 'read',
  text: `
    select kek_id as "kekId" from signing_keys
    union (select kek_id from secret_versions limit ${WITNESSES})`,
};

/** What tells the master key of a database that has no check value. */
export interface KeyWitnesses {
  /** Rows with a seal, of whichever key. */
  readonly sealed: readonly SealedRow[];
  /** The keys that wrapped something, by what the rows say. */
  readonly kekIds: readonly string[];
}

/** Both are empty only for a database that no start has used. */
export async function readKeyWitnesses(session: Session): Promise<KeyWitnesses> {
  const sealed: SealedRow[] = [];
  for (const name of Object.keys(SEALED_TABLES) as SealedTable[]) {
    const rows = await session.query<object>(sealedWitnesses(name), []);
    sealed.push(...rows.map((row) => judgedRow(name, row)));
  }
  const wrapped = await session.query<{ kekId: string }>(WRAPPED_WITNESSES, []);
  return { sealed, kekIds: wrapped.map(({ kekId }) => kekId) };
}
