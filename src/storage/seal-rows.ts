/**
 * Seals the rows of a database from before rows had seals: once, in bounded batches, while nothing is served. A batch is
 * one transaction, so what a start has left it is found unsealed by the next one.
 */

import type { RowSeals } from '../use-cases/ports.ts';
import type { Database, Session, Statement } from './engine/database.ts';
import { isLiveSigningKey, isNotRevoked, isUndecided } from './engine/liveness-sql.ts';
import { judgedRow, SEALED_TABLES, type SealedTable, sealList } from './engine/sealed-rows.ts';

const BATCH = 500;

/** SQL, of an alias of the table: a row that has ended has no seal. */
export function hasNotEnded(name: SealedTable, row: string): string {
  if (name === 'approvals') return isUndecided(row);
  if (name === 'signing_keys') return isLiveSigningKey(row);
  return 'revokedAt' in SEALED_TABLES[name].open ? isNotRevoked(row) : 'true';
}

const unsealed = (name: SealedTable): Statement => ({
  name: `find_unsealed_${name}`,
  effect: 'write',
  text: `
    select ${sealList(name, 'unsealed')}, unsealed.ctid::text as place from ${name} unsealed
    where seal is null and ${hasNotEnded(name, 'unsealed')} limit ${BATCH} for update`,
});

/** By their places, which do not move while the rows are held. */
const sealPlaces = (name: SealedTable): Statement => ({
  name: `seal_${name}`,
  effect: 'write',
  text: `
    update ${name} row set seal = decode(made.seal_hex, 'hex')
    from unnest($1::text[], $2::text[]) as made (place, seal_hex) where row.ctid = made.place::tid`,
});

/** How many rows of each table were sealed. */
export async function sealAllRows(
  database: Database,
  seals: RowSeals,
): Promise<Readonly<Record<string, number>>> {
  const sealed: Record<string, number> = {};
  for (const name of Object.keys(SEALED_TABLES) as SealedTable[]) {
    sealed[name] = 0;
    for (;;) {
      const count = await database.transaction((session) => sealBatch(session, seals, name));
      sealed[name] += count;
      if (count < BATCH) break;
    }
  }
  return sealed;
}

async function sealBatch(session: Session, seals: RowSeals, name: SealedTable): Promise<number> {
  const rows = await session.query<{ place: string }>(unsealed(name), []);
  const made = rows.map((row) => seals.hexOf(judgedRow(name, row).message));
  if (rows.length > 0) await session.query(sealPlaces(name), [rows.map(({ place }) => place), made]);
  return rows.length;
}
