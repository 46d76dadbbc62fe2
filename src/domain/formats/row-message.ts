/**
 * What the seal of a row covers: one text for the table and the values of its columns, in a fixed order, such that no two
 * rows have the same text.
 */

/** Whole numbers; a list and a time in the one form that its column has (see `storage/engine/sealed-rows.ts`). */
export type SealedValue = string | number | null;

/**
 * JSON (RFC 8259) of the list of both: a text in it ends where its quotes end, so text cannot pass for structure. A
 * number that is not whole, which no such column holds, is its name in quotes: JSON would make null of infinity.
 */
export function rowMessage(table: string, values: readonly SealedValue[]): string {
  return JSON.stringify([
    table,
    ...values.map((value) =>
      typeof value === 'number' && !Number.isSafeInteger(value) ? String(value) : value,
    ),
  ]);
}
