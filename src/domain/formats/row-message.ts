/**
 * What the seal of a row covers: one text for the table and the values of its columns, in a fixed order, such that no two
 * rows have the same text.
 */

/** Whole numbers; a list and a time in the one form that its column has (see `storage/engine/sealed-rows.ts`). */
export type SealedValue = string | number | null;

/**
 * JSON (RFC 8259) of the list of both: a text in it ends where its quotes end, so text cannot pass for structure. A
 * number that is not whole, which no such column holds, is its name in quotes: JSON would make null of infinity.
 * `flags`: how many of the last values are flags, each the name of its column or null. One that is null is left out, so
 * that a row says the same as before its table had the flag.
 */
export function rowMessage(table: string, values: readonly SealedValue[], flags = 0): string {
  const said = flags === 0 ? values : withoutUnset(values, values.length - flags);
  return JSON.stringify([
    table,
    ...said.map((value) =>
      typeof value === 'number' && !Number.isSafeInteger(value) ? String(value) : value,
    ),
  ]);
}

/** A flag stands there by its name, so what is before it is as long as ever. */
const withoutUnset = (values: readonly SealedValue[], first: number): readonly SealedValue[] =>
  values.filter((value, index) => index < first || value !== null);
