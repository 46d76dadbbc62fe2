/** Lists intent tokens and ends them: revoking writes one row, and its event, or neither. */

import { INTENT_TOKEN_VALIDITY } from '../../domain/formats/ttl.ts';
import type { IntentTokenEntry, IntentTokenInventory } from '../../use-cases/intent-tokens/ports.ts';
import { insertEventOf } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor, hasExpired, INTENT_TOKEN_STATE, isNotRevoked } from '../engine/liveness-sql.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { intentTokens } from '../schema.ts';

/** Of clocks: a server does not serve while its own is further from the database's. */
const SLACK_SECONDS = 3600;

const SELECT = `
    select ${selectList<IntentTokenEntry>({
      ...columns(intentTokens, 'token', [
        'jti',
        'planId',
        'planHashHex',
        'agentId',
        'keyId',
        'rootJti',
        'issuedAt',
        'expiresAt',
        'revokedAt',
      ]),
      agentName: 'agent.name',
      totalSteps: 'token.tree_size / 2',
      parentJti: 'token.ancestors[cardinality(token.ancestors)]',
      consumedSteps: 'used.consumed_steps::text',
      state: INTENT_TOKEN_STATE,
    })}
    from intent_tokens token
    join agents agent on agent.id = token.agent_id
    left join intent_token_uses used on used.root_jti = token.root_jti`;

/**
 * Below the ids of all that can be live: they begin with the milliseconds of their making (RFC 9562 section 5.7), and
 * nothing is valid for more than a day. So whoever asks for what is live does not read through what is dead.
 */
const OLDEST_LIVE = `rpad(
      lpad(to_hex((extract(epoch from now() - interval '${INTENT_TOKEN_VALIDITY.maxSeconds + SLACK_SECONDS} s') * 1000)::bigint), 12, '0'),
      32, '0')::uuid`;

/** Two statements, so that each has the index that fits. */
const LIST_ALL: Statement = { name: 'list_intent_tokens', effect: 'read', text: listText('true') };

const LIST_OWN: Statement = {
  name: 'list_own_intent_tokens',
  effect: 'read',
  text: listText('token.agent_id = $4'),
};

function listText(whose: string): string {
  return `${SELECT}
    where ${whose} and token.jti < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      and token.jti >= case when $2::text = 'live' then ${OLDEST_LIVE} else '${'0'.repeat(32)}'::uuid end
      and ($2::text is null or ${INTENT_TOKEN_STATE} = $2)
    order by token.jti desc limit $3`;
}

const OWNER: Statement = {
  name: 'owner_of_intent_token',
  effect: 'read',
  text: `select agent_id as "agentId", plan_id as "planId" from intent_tokens where jti = $1`,
};

/**
 * Closes the race between two revocations: one of them writes the event. A use that is under way holds the row, so it is
 * committed before this statement, or finds the row revoked.
 */
const REVOKE: Statement = {
  name: 'revoke_intent_token',
  effect: 'write',
  text: `
    with actor as (
      select agent.id, agent.role ${fromLiveActor('$2')}
    ), revoked as (
      update intent_tokens token set revoked_at = clock_timestamp()
      from actor
      where token.jti = $1 and ${isNotRevoked('token')} and (actor.role = 'admin' or actor.id = token.agent_id)
      returning token.jti
    ), event as (
      ${insertEventOf('revoked', '$3')}
    )
    select exists (select from actor) as live, exists (select from revoked) as revoked`,
};

/** The index holds delegations only, by their root. */
const HEIRS: Statement = {
  name: 'list_delegations_of_intent_token',
  effect: 'read',
  text: `
    with heir as (
      select token.jti from intent_tokens ended
      join intent_tokens token on token.root_jti = ended.root_jti and token.root_jti <> token.jti
        and token.ancestors @> array[ended.jti] and not ${hasExpired('token')}
      where ended.jti = $1
    )
    select array(select jti from heir order by jti limit $2) as jtis, (select count(*)::int from heir) as count`,
};

export function createIntentTokenInventory(database: Database): IntentTokenInventory {
  return {
    list: async ({ agentId, state, limit, before }) => {
      const filter = [before ?? null, state ?? null, limit];
      return agentId === undefined
        ? database.query<IntentTokenEntry>(LIST_ALL, filter)
        : database.query<IntentTokenEntry>(LIST_OWN, [...filter, agentId]);
    },
    findOwner: async (jti) => (await database.query<{ agentId: string; planId: string }>(OWNER, [jti]))[0],
    revoke: async (jti, { actorKeyId, event }) => {
      const values = [jti, actorKeyId, JSON.stringify([event])];
      const [outcome] = await database.query<{ live: boolean; revoked: boolean }>(REVOKE, values);
      if (outcome?.live !== true) return 'actor_not_live';
      return outcome.revoked ? 'revoked' : 'unchanged';
    },
    listHeirs: async (jti, limit) => {
      const [heirs] = await database.query<{ jtis: string[]; count: number }>(HEIRS, [jti, limit]);
      return heirs ?? { jtis: [], count: 0 };
    },
  };
}
