/** How many rows are under each master key, by what they name: of all tables at one moment. */

import type { Session, Statement } from './engine/database.ts';
import { STOP_IS_IN_FORCE } from './engine/liveness-sql.ts';
import { SEALED_TABLES, type SealedTable } from './engine/sealed-rows.ts';
import type { RewrappedTable } from './rewrap-rows.ts';

export interface KeyCount {
  readonly table: RewrappedTable;
  readonly kekId: string;
  readonly rows: number;
}

const countOf = (name: SealedTable): string => `
    select '${name}' as "table", encode(substring(seal from 1 for 8), 'hex') as "kekId", count(*)::int as rows
    from ${name} where seal is not null group by 2`;

const COUNT: Statement = {
  name: 'count_rows_of_master_keys',
  effect: 'read',
  text: `${(Object.keys(SEALED_TABLES) as SealedTable[]).map(countOf).join(' union all ')}
    union all
    select 'secret_versions', kek_id, count(*)::int from secret_versions group by 2
    union all
    select 'emergency_stops', kek_id, count(*)::int from emergency_stops stop where ${STOP_IS_IN_FORCE} group by 2
    order by 1, 2`,
};

/** A signing key is counted by its seal. */
export function countRowsOfKeys(session: Session): Promise<readonly KeyCount[]> {
  return session.query<KeyCount>(COUNT, []);
}

const COUNT_MADE_BEFORE: Statement = {
  name: 'count_versions_made_under_others',
  effect: 'read',
  text: `select count(*)::int as rows from secret_versions where made_under is distinct from $1`,
};

/** Versions of secrets whose data key was made under another key. */
export async function countMadeUnderOthers(session: Session, kekId: string): Promise<number> {
  return (await session.query<{ rows: number }>(COUNT_MADE_BEFORE, [kekId]))[0]?.rows ?? 0;
}
