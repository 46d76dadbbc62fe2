/**
 * Names of principals that look alike: compared without case, and I, l and 1, O and 0, rn and m taken for one another.
 * Names from before this rule are kept, so no unique index can hold it; a lock and a condition do.
 */

import type { Database, Session, Statement } from '../engine/database.ts';
import { AGENT_IS_KEPT } from '../engine/liveness-sql.ts';

/** Of an SQL expression. By ASCII rules, whatever the language of the database. */
const skeletonOf = (name: string): string =>
  `replace(translate(lower(${name} collate "C"), '01i', 'oll'), 'rn', 'm')`;

const NAME_LOCKS = 0x4e41_4d45; // "NAME"

const HOLD_NAME: Statement = {
  name: 'hold_principal_name',
  effect: 'write',
  text: `select pg_advisory_xact_lock(${NAME_LOCKS}, hashtext(${skeletonOf('$1::text')}))`,
};

/**
 * Closes the race of two principals for names that look alike. A statement of its own, so that the next one sees what
 * was committed while this one waited. Held until the end.
 */
export async function holdName(session: Session, name: string): Promise<void> {
  await session.query(HOLD_NAME, [name]);
}

/** No live principal has a name that looks like that of `row`. */
export const nameIsFree = (row: string): string => `
  not exists (
    select from agents agent where ${AGENT_IS_KEPT} and ${skeletonOf('agent.name')} = ${skeletonOf(`${row}.name`)}
  )`;

const FIND_UNFIT: Statement = {
  name: 'find_unfit_principal_names',
  effect: 'read',
  text: `
    select id from (
      select agent.id, agent.name, count(*) over (partition by ${skeletonOf('agent.name')}) as alike
      from agents agent where ${AGENT_IS_KEPT}
    ) as known
    where alike > 1 or name collate "C" !~ $1 or length(name) > 64
    order by id limit 100`,
};

/** The ids of live principals whose names could not be given any more: at most 100. `grammar` is of ASCII. */
export async function findUnfitNames(database: Database, grammar: RegExp): Promise<readonly string[]> {
  return (await database.query<{ id: string }>(FIND_UNFIT, [grammar.source])).map(({ id }) => id);
}
