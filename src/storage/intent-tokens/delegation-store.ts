/** Delegations of intent tokens: the row of the child and its event appear in one statement, or neither does. */

import { MAX_DELEGATIONS } from '../../domain/intent-tokens/delegation.ts';
import type { DelegationRecord, DelegationStore } from '../../use-cases/intent-tokens/ports.ts';
import { insertEventOf } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor, INTENT_TOKEN_IS_LIVE, isNotRevoked, isOfSigner } from '../engine/liveness-sql.ts';
import {
  columns,
  columnTypes,
  type Expressions,
  insertFrom,
  members,
  recordset,
} from '../engine/table-columns.ts';
import { intentTokens } from '../schema.ts';

/** Sent as they are kept; all else is the parent's. */
const OWN = ['jti', 'keyId', 'kid', 'actionsText'] as const;
const RECORD_TYPES: Expressions<keyof DelegationRecord> = {
  ...columnTypes(intentTokens, OWN),
  parentJti: 'uuid',
  parentAgentRevision: 'int',
  callerRevision: 'int',
  issuedAtSeconds: 'float8',
  expiresAtSeconds: 'float8',
};

/**
 * `$1` is a list of one record. Closes the race between delegating and revoking: the rows of the parent and of its
 * ancestors are held in the order of their ids, as whoever uses a token holds them, so that a revocation is committed
 * before, and then there is no child, or comes after, and then ends the child: its ancestors are read here, from the
 * parent's live row. A child is written only for a live key of the parent's principal or of an admin, while that
 * principal is as it was when its policy was decided, and never outlives its parent.
 */
const DELEGATE: Statement = {
  name: 'delegate_intent_token',
  effect: 'write',
  text: `
    with asked as (
      select * from ${recordset('$1', 'asked', RECORD_TYPES)}
    ), chain as (
      select link.jti from asked
      join intent_tokens token on token.jti = asked."parentJti"
      cross join unnest(token.ancestors || token.jti) as link (jti)
    ), held as (
      select token.jti from intent_tokens token
      where token.jti in (select jti from chain) and ${isNotRevoked('token')}
      order by token.jti for share
    ), actor as (
      select agent.id, agent.role ${fromLiveActor('(select "keyId" from asked)')}
        and agent.revision = (select "callerRevision" from asked)
    ), parent as (
      select token.*, agent.name as agent_name from asked
      join intent_tokens token on token.jti = asked."parentJti"
      join agents agent on agent.id = token.agent_id and agent.revision = asked."parentAgentRevision"
      join actor on actor.role = 'admin' or actor.id = token.agent_id
      where ${INTENT_TOKEN_IS_LIVE} and cardinality(token.ancestors) < ${MAX_DELEGATIONS}
        and token.expires_at >= to_timestamp(asked."expiresAtSeconds")
        and not exists (select from chain where chain.jti not in (select jti from held))
        and ${isOfSigner('asked.kid')}
    ), child as (
      ${insertFrom(
        intentTokens,
        {
          ...members('asked', OWN),
          ...columns(intentTokens, 'parent', [
            'planId',
            'agentId',
            'planHashHex',
            'merkleRootHex',
            'treeSize',
            'policyText',
            'rootJti',
          ]),
          issuedAt: 'to_timestamp(asked."issuedAtSeconds")',
          expiresAt: 'to_timestamp(asked."expiresAtSeconds")',
          ancestors: 'parent.ancestors || parent.jti',
        },
        'asked cross join parent',
      )}
      returning jti
    ), event as (
      ${insertEventOf('child', '$2')}
    )
    select parent.agent_name as "agentName" from parent cross join child`,
};

export function createDelegationStore(database: Database): DelegationStore {
  return {
    delegate: async (record, event) => {
      const values = [JSON.stringify([record]), JSON.stringify([event])];
      const [row] = await database.query<{ agentName: string }>(DELEGATE, values);
      return row;
    },
  };
}
