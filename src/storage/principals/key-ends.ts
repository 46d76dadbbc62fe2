/** API keys that end soon: who is to be told of them, and how many there are. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { KeyEndReminders, KeyEnds, KeyThatEnds } from '../../use-cases/principals/ports.ts';
import { insertAlarms } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { AGENT_IS_KEPT, endsWithinDays, hasAnEnd, KEY_IS_LIVE } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';

/**
 * At most once a day and key. Closes the race of two processes for one key: a row that somebody holds is left to them,
 * and then is marked.
 */
const TAKE_ENDING: Statement = {
  name: 'take_ending_api_keys',
  effect: 'write',
  text: `
    with due as materialized (
      select key.key_id, key.end_told_at is null as is_first
      from api_keys key join agents agent on agent.id = key.agent_id
      where ${endsWithinDays('key', '$1')} and ${KEY_IS_LIVE} and ${AGENT_IS_KEPT}
        and (key.end_told_at is null or key.end_told_at <= clock_timestamp() - interval '1 day')
      order by key.expires_at limit $2 for no key update of key skip locked
    )
    update api_keys taken set end_told_at = clock_timestamp()
    from due, agents agent
    where taken.key_id = due.key_id and agent.id = taken.agent_id
    returning taken.key_id as "keyId", taken.name as "keyName", taken.expires_at as "expiresAt",
      taken.last_used_at as "lastUsedAt", agent.id as "agentId", agent.name as "agentName", due.is_first as "isFirst",
      ${sealList('api_keys', 'taken')}, ${sealList('agents', 'agent')}`,
};

export function createKeyEndReminders(database: Database, seals: RowSeals): KeyEndReminders {
  return {
    take: ({ withinDays, limit }, tell) =>
      database.transaction(async (session) => {
        const taken = await session.query<KeyThatEnds>(TAKE_ENDING, [withinDays, limit]);
        // A row that Writ did not write is reported, and says nothing that people should go by.
        const whole = taken.filter(
          (row) => seals.fits(judgedRow('api_keys', row)) && seals.fits(judgedRow('agents', row)),
        );
        const told = whole.filter(({ isFirst }) => isFirst).map(tell);
        await insertAlarms(session, told, seals);
        return { taken: taken.length, whole };
      }),
  };
}

const READ_ENDS: Statement = {
  name: 'read_api_key_ends',
  effect: 'read',
  text: `
    select count(*) filter (where ${endsWithinDays('key', '$1')})::int as "soon",
      extract(epoch from min(key.expires_at) - clock_timestamp())::float8 as "nextInSeconds"
    from api_keys key join agents agent on agent.id = key.agent_id
    where ${hasAnEnd('key')} and ${KEY_IS_LIVE} and ${AGENT_IS_KEPT}`,
};

/** Of the keys that are live. */
export async function readKeyEnds(database: Database, withinDays: number): Promise<KeyEnds> {
  const [row] = await database.query<KeyEnds>(READ_ENDS, [withinDays]);
  return row ?? { soon: 0, nextInSeconds: null };
}
