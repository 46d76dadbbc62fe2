/**
 * Looks through the tables that grant for rows that Writ did not write as they are, in bounded batches. It changes
 * nothing, and runs beside servers.
 */

import { getTableColumns } from 'drizzle-orm';
import { getTableConfig, type PgColumn } from 'drizzle-orm/pg-core';
import type { RowSeals } from '../use-cases/ports.ts';
import type { Database, Statement } from './engine/database.ts';
import { hasNotExpired, isApprovalOver, isUndelivered } from './engine/liveness-sql.ts';
import { judgedRow, SEALED_TABLES, type SealedTable, sealList } from './engine/sealed-rows.ts';
import { hasNotEnded } from './seal-rows.ts';

const BATCH = 500;

export interface UnfitRow {
  readonly table: SealedTable;
  /** The columns of the primary key, as text. */
  readonly primaryKey: readonly string[];
  readonly why: string;
}

/** The columns of a table's primary key, in its order. */
export function primaryKeyOf(name: SealedTable): readonly PgColumn[] {
  const { columns, primaryKeys } = getTableConfig(SEALED_TABLES[name].table);
  const [several] = primaryKeys;
  if (several === undefined) return columns.filter((column) => column.primary);
  return several.columns.flatMap((part) => columns.filter((column) => column.name === part.name));
}

/** SQL: the primary key of `row`, as a list of texts. */
export const primaryKeyList = (name: SealedTable, row: string): string =>
  `array[${primaryKeyOf(name)
    .map((column) => `${row}.${column.name}::text`)
    .join(', ')}]`;

/** SQL: the primary key of `row` compared with that which is sent as the list of texts `$1`. */
export function comparedKey(name: SealedTable, row: string, operator: '=' | '>'): string {
  const key = primaryKeyOf(name);
  const own = key.map((column) => `${row}.${column.name}`);
  const sent = key.map((column, index) => `($1::text[])[${index + 1}]::${column.getSQLType()}`);
  return `(${own.join(', ')}) ${operator} (${sent.join(', ')})`;
}

/**
 * SQL, of `row`: it may still grant, by what it says. Whoever closes a row by SQL does what is allowed: it need not fit
 * after that.
 */
export function isLive(name: SealedTable, row: string): string {
  if (name === 'approvals') return `${hasNotEnded(name, row)} and not (${isApprovalOver(row)})`;
  if (name === 'webhook_outbox') return isUndelivered(row);
  if (name === 'approval_votes') {
    return `exists (
      select from approvals approval where approval.id = ${row}.approval_id and ${isLive('approvals', 'approval')}
    )`;
  }
  const expires = 'expiresAt' in getTableColumns(SEALED_TABLES[name].table);
  return expires ? `${hasNotEnded(name, row)} and ${hasNotExpired(row)}` : hasNotEnded(name, row);
}

/** From the beginning, or after the key that is sent. */
const liveRows = (name: SealedTable, isFirst: boolean): Statement => ({
  name: `${isFirst ? 'first' : 'next'}_live_${name}`,
  effect: 'read',
  text: `
    select ${sealList(name, 'looked')}, ${primaryKeyList(name, 'looked')} as "primaryKey" from ${name} looked
    where ${isFirst ? 'true' : comparedKey(name, 'looked', '>')} and ${isLive(name, 'looked')}
    order by ${primaryKeyOf(name)
      .map((column) => `looked.${column.name}`)
      .join(', ')}
    limit ${BATCH}`,
});

/** In the order of tables and keys. What is written meanwhile may be missed. */
export async function findUnfitRows(database: Database, seals: RowSeals): Promise<readonly UnfitRow[]> {
  const found: UnfitRow[] = [];
  for (const table of Object.keys(SEALED_TABLES) as SealedTable[]) {
    let after: readonly string[] | undefined;
    for (;;) {
      const rows = await database.query<{ primaryKey: readonly string[] }>(
        liveRows(table, after === undefined),
        after === undefined ? [] : [after],
      );
      for (const row of rows) {
        const why = seals.whyNot(judgedRow(table, row));
        if (why !== undefined) found.push({ table, primaryKey: row.primaryKey, why });
      }
      if (rows.length < BATCH) break;
      after = rows.at(-1)?.primaryKey;
    }
  }
  return found;
}
