/** What the bcrypt hashes of API keys cost, of dead keys too: a refusal of theirs must not tell them from unknown ones. */

import type { Database, Statement } from '../engine/database.ts';

const READ_COSTS: Statement = {
  name: 'read_api_key_costs',
  effect: 'read',
  text: `
    select distinct substring(hash from '^\\$2[aby]\\$(\\d\\d)\\$[./A-Za-z0-9]{53}$') as cost
    from api_keys order by cost`,
};

/** The costs that occur, each once, ascending. What is no bcrypt hash has none. */
export async function readKeyCosts(database: Database): Promise<readonly number[]> {
  const rows = await database.query<{ cost: string | null }>(READ_COSTS, []);
  return rows.flatMap(({ cost }) => (cost === null ? [] : [Number(cost)]));
}
