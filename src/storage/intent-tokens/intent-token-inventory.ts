/** Lists intent tokens and ends them: revoking writes one row, and its event, or neither. */

import { INTENT_TOKEN_VALIDITY } from '../../domain/formats/ttl.ts';
import type { IntentTokenEntry, IntentTokenInventory } from '../../use-cases/intent-tokens/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { hasExpired, INTENT_TOKEN_STATE } from '../engine/liveness-sql.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { createTokenList, createTokenRevocation, type HeldTokens } from '../held-tokens.ts';
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

const HELD: HeldTokens = {
  name: 'intent_token',
  table: 'intent_tokens',
  id: 'jti',
  select: SELECT,
  state: INTENT_TOKEN_STATE,
  also: `token.jti >= case when $2::text = 'live' then ${OLDEST_LIVE} else '${'0'.repeat(32)}'::uuid end`,
};

const revokeToken = createTokenRevocation(HELD);

const OWNER: Statement = {
  name: 'owner_of_intent_token',
  effect: 'read',
  text: `select agent_id as "agentId", plan_id as "planId" from intent_tokens where jti = $1`,
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
    list: createTokenList<IntentTokenEntry>(database, HELD),
    findOwner: async (jti) => (await database.query<{ agentId: string; planId: string }>(OWNER, [jti]))[0],
    revoke: (jti, write) => revokeToken(database, jti, write),
    listHeirs: async (jti, limit) => {
      const [heirs] = await database.query<{ jtis: string[]; count: number }>(HEIRS, [jti, limit]);
      return heirs ?? { jtis: [], count: 0 };
    },
  };
}
