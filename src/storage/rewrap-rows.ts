/**
 * Puts what is under another master key under the active one: seals, wrapped keys and the digests of open approvals, in
 * short transactions of one table each, beside servers. A row is held while it is judged and written; one that somebody
 * else holds is met again. A row that is not what Writ wrote stays as it is and is named.
 */

import type { Database, Session } from './engine/database.ts';
import { SEALED_TABLES, type SealedTable } from './engine/sealed-rows.ts';
import type { Asked, Remake } from './rewrap-remake.ts';
import { findSealed, writeSealed } from './rewrap-sealed.ts';
import { findStops, writeStops } from './rewrap-stops.ts';
import { findVersions, writeVersions } from './rewrap-versions.ts';

const BATCH = 200;
/** Of whole values. */
const RENEWED_BATCH = 20;

export type RewrappedTable = SealedTable | 'secret_versions' | 'emergency_stops';

/** In the order of locks. */
export const REWRAPPED_TABLES: readonly RewrappedTable[] = [
  ...(Object.keys(SEALED_TABLES) as SealedTable[]),
  'secret_versions',
  'emergency_stops',
];

export interface LeftRow {
  readonly table: RewrappedTable;
  readonly primaryKey: readonly string[];
  readonly why: string;
}

function find(session: Session, table: RewrappedTable, remake: Remake, asked: Asked) {
  if (table === 'secret_versions') return findVersions(session, remake, asked);
  if (table === 'emergency_stops') return findStops(session, remake, asked);
  return findSealed(session, table, remake, asked);
}

const batchOf = (table: RewrappedTable, { renew }: Remake): number =>
  table === 'secret_versions' && renew !== undefined ? RENEWED_BATCH : BATCH;

/**
 * One batch of a table, behind the row `after`, in a transaction of its own. `next` undefined: the table has no further
 * row that is not held by somebody else. With `patiently` one row is waited for.
 */
export function rewrapBatch(
  database: Database,
  table: RewrappedTable,
  options: {
    readonly remake: Remake;
    readonly after: readonly string[] | undefined;
    readonly patiently: boolean;
  },
): Promise<{ readonly rewrapped: number; readonly next: readonly string[] | undefined }> {
  const { remake, after, patiently } = options;
  const limit = patiently ? 1 : batchOf(table, remake);
  return database.transaction(async (session) => {
    const hold = patiently ? 'wait' : 'skip locked';
    const rows = await find(session, table, remake, { after, limit, hold });
    const made = rows.flatMap((row) => (row.made === undefined ? [] : [row.made]));
    if (made.length > 0) {
      if (table === 'secret_versions') await writeVersions(session, made);
      else if (table === 'emergency_stops') await writeStops(session, made);
      else await writeSealed(session, table, made);
    }
    const next = rows.length < limit ? undefined : rows.at(-1)?.primaryKey;
    return { rewrapped: made.length, next };
  });
}

/**
 * One consistent look at every table: what is not under the active key. `open` of it can be put under it, and is to be;
 * `left` is not what Writ wrote.
 */
export function lookForOthers(
  database: Database,
  remake: Remake,
): Promise<{ readonly open: readonly RewrappedTable[]; readonly left: readonly LeftRow[] }> {
  return database.transaction(async (session) => {
    await session.query(
      { name: 'look_at_one_moment', effect: 'read', text: 'set transaction isolation level repeatable read' },
      [],
    );
    const open = new Set<RewrappedTable>();
    const left: LeftRow[] = [];
    for (const table of REWRAPPED_TABLES) {
      const limit = batchOf(table, remake);
      let after: readonly string[] | undefined;
      for (;;) {
        const rows = await find(session, table, remake, { after, limit, hold: undefined });
        for (const { primaryKey, made, why } of rows) {
          if (made === undefined || why !== '') left.push({ table, primaryKey, why });
          else open.add(table);
        }
        if (rows.length < limit) break;
        after = rows.at(-1)?.primaryKey;
      }
    }
    return { open: [...open], left };
  });
}
