/** What verification asks of the database about an intent token, many questions in one statement. */

import type { IntentTokenReader, IntentTokenState } from '../../use-cases/intent-tokens/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import {
  AGENT_IS_STOPPED,
  hasExpired,
  INTENT_TOKEN_IS_REVOKED,
  TRUSTED_KID,
} from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import { selectList } from '../engine/table-columns.ts';

interface StateRow extends IntentTokenState {
  readonly position: number;
}

/** The list is read by a query of its own: by its length the statement would be planned anew each time, twice its work. */
const FIND_STATES: Statement = {
  name: 'find_intent_token_states',
  effect: 'read',
  text: `
    select ${selectList<StateRow>({
      position: 'asked.position::int',
      agentId: 'token.agent_id',
      kid: TRUSTED_KID,
      agentRole: 'agent.role',
      agentRevision: 'agent.revision',
      planId: 'token.plan_id',
      actionsText: 'token.actions',
      agentPolicyText: 'agent.policy',
      expired: hasExpired('token'),
      revoked: INTENT_TOKEN_IS_REVOKED,
      stopped: AGENT_IS_STOPPED,
    })}, ${sealList('agents', 'agent')}
    from unnest((select $1::uuid[])) with ordinality as asked (jti, position)
    join intent_tokens token on token.jti = asked.jti
    join agents agent on agent.id = token.agent_id`,
};

export function createIntentTokenReader(database: Database, seals: RowSeals): IntentTokenReader {
  const questions = createBatcher<string, { state: IntentTokenState | undefined }>({
    orderKey: (jti) => jti,
    run: async (jtis) => {
      const rows = await database.query<StateRow>(FIND_STATES, [jtis]);
      const byPosition = new Map(rows.map((row) => [row.position, row]));
      return jtis.map((_, index) => ({ state: byPosition.get(index + 1) }));
    },
  });
  return {
    findState: async (jti) => {
      const { state } = await questions.submit(jti);
      // Not in the group: a row that does not fit is the fault of one question, not of all.
      if (state !== undefined && !state.revoked && !state.expired) seals.require(judgedRow('agents', state));
      return state;
    },
  };
}
