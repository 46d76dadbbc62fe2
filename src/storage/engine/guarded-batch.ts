/**
 * How a grouped statement says which of its members it wrote. Nearly always it is all of them, which is one row and not
 * one for each.
 */

import type { Session, Statement } from './database.ts';

/** Ends a statement whose `granted` has one row for each member that is written; `$2` is how many asked. */
export const selectApplied = (column: string): string =>
  `select case when count(*) < $2::int then coalesce(array_agg(${column}), '{}') end as granted from granted`;

/** Runs such a statement over the rows, sent as JSON. Resolves with whether the member of that name was written. */
export async function runGuardedBatch<Name>(
  session: Session,
  statement: Statement,
  rows: readonly object[],
): Promise<(name: Name) => boolean> {
  const [answer] = await session.query<{ granted: Name[] | null }>(statement, [
    JSON.stringify(rows),
    rows.length,
  ]);
  if (answer === undefined) throw new Error(`${statement.name} did not say what it wrote`);
  if (answer.granted === null) return () => true;
  const granted = new Set(answer.granted);
  return (name) => granted.has(name);
}
