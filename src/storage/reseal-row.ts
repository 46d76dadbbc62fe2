/**
 * The owner's repair of one row: it is read as it is shown, and sealed if it is still the same. Nothing else of it is
 * changed.
 */

import { getTableColumns } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { AuditEvent } from '../use-cases/audit/ports.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { insertAuditEvents } from './audit/audit-store.ts';
import type { Database, Session, Statement } from './engine/database.ts';
import { judgedRow, SEALED_TABLES, type SealedTable, sealList } from './engine/sealed-rows.ts';
import { sqlStateOf } from './engine/storage-errors.ts';
import { hasNotEnded } from './seal-rows.ts';
import { comparedKey } from './unfit-rows.ts';

const MALFORMED = new Set(['22P02', '22021']);

export interface ShownRow {
  readonly table: SealedTable;
  /** The columns of the primary key, as text. */
  readonly primaryKey: readonly string[];
  /** What the seal covers: the name of each column, and its value as text. */
  readonly columns: readonly (readonly [name: string, text: string | null])[];
  /** Revoked, denied or claimed. */
  readonly hasEnded: boolean;
  /** Undefined: its seal fits. */
  readonly why: string | undefined;
  /** What the seal covers, and the seal: for `resealRow`. */
  readonly asRead: string;
}

type Key = Pick<ShownRow, 'table' | 'primaryKey'>;

/** The names of the sealed columns in the table. */
function sealedNames(name: SealedTable): readonly string[] {
  const known = getTableColumns(SEALED_TABLES[name].table as PgTable);
  return SEALED_TABLES[name].sealed.flatMap((member) => known[member]?.name ?? []);
}

const find = (name: SealedTable, isHeld: boolean): Statement => ({
  name: `${isHeld ? 'hold' : 'show'}_one_of_${name}`,
  effect: isHeld ? 'write' : 'read',
  text: `
    select ${sealList(name, 'shown')}, not (${hasNotEnded(name, 'shown')}) as "hasEnded",
      array[${sealedNames(name)
        .map((column) => `shown.${column}::text`)
        .join(', ')}] as texts
    from ${name} shown where ${comparedKey(name, 'shown', '=')} ${isHeld ? 'for update' : ''}`,
});

const seal = (name: SealedTable): Statement => ({
  name: `reseal_one_of_${name}`,
  effect: 'write',
  text: `update ${name} shown set seal = decode($2::text, 'hex') where ${comparedKey(name, 'shown', '=')}`,
});

/** Undefined: there is none. */
export function showRow(session: Session, key: Key, seals: RowSeals): Promise<ShownRow | undefined> {
  return read(session, key, seals, false).catch((error: unknown) => {
    // What is no id at all is nobody's.
    if (MALFORMED.has(sqlStateOf(error) ?? '')) return undefined;
    throw error;
  });
}

async function read(
  session: Session,
  { table, primaryKey }: Key,
  seals: RowSeals,
  isHeld: boolean,
): Promise<(ShownRow & { readonly message: string }) | undefined> {
  const [row] = await session.query<{ hasEnded: boolean; texts: readonly (string | null)[] }>(
    find(table, isHeld),
    [primaryKey],
  );
  if (row === undefined) return undefined;
  const judged = judgedRow(table, row);
  const { message } = judged;
  const held = judged.seal === null ? null : Buffer.from(judged.seal).toString('hex');
  return {
    table,
    primaryKey,
    columns: sealedNames(table).map((name, index) => [name, row.texts[index] ?? null]),
    hasEnded: row.hasEnded,
    why: seals.whyNot(judged),
    asRead: JSON.stringify([message, held]),
    message,
  };
}

/**
 * Seals the row as it was shown, with the event. False, and nothing is done: it is not the same any more, has ended, or
 * its seal fits.
 */
export function resealRow(
  database: Database,
  shown: ShownRow,
  { seals, event }: { readonly seals: RowSeals; readonly event: AuditEvent },
): Promise<boolean> {
  return database.transaction(async (session) => {
    const held = await read(session, shown, seals, true);
    if (held === undefined || held.asRead !== shown.asRead) return false;
    if (held.hasEnded || held.why === undefined) return false;
    await session.query(seal(shown.table), [shown.primaryKey, seals.hexOf(held.message)]);
    await insertAuditEvents(session, [event]);
    return true;
  });
}
