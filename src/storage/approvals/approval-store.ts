/**
 * Approvals as they are read, decided and claimed. Agents are locked before approvals, everywhere. `approved` and
 * `expired` are never written: they follow from times and from the votes that count, judged by the database clock.
 */

import type { ApprovalStore } from '../../use-cases/approvals/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { insertAuditEvents, insertEventOf } from '../audit/audit-store.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import {
  AGENT_IS_LIVE,
  APPROVAL_STATUS,
  countedVotes,
  DECIDES_APPROVALS,
  fromLiveActor,
  KEY_IS_LIVE,
} from '../engine/liveness-sql.ts';
import { messageOf } from '../engine/sealed-rows.ts';
import { members, recordset } from '../engine/table-columns.ts';
import { oweNotice } from '../notices/owed-notices.ts';
import { insertNewTokens, NEW_TOKEN_TYPES, newTokenRow } from '../scoped-tokens/scoped-token-store.ts';
import { createApprovalRequestStore } from './approval-request-store.ts';
import { type ApprovalRow, approvalRecordOf, SELECT_APPROVAL } from './approval-rows.ts';

const FIND: Statement = {
  name: 'find_approval',
  effect: 'read',
  text: `${SELECT_APPROVAL} where approval.id = $1`,
};

/**
 * Closes the race of two decisions: the second waits here, and reads in a statement of its own. One that both waits
 * and reads would read votes and the clock as they were before it waited.
 */
const LOCK_APPROVAL: Statement = {
  name: 'lock_approval',
  effect: 'write',
  text: `select id from approvals where id = $1 for update`,
};

const LIST: Statement = {
  name: 'list_approvals',
  effect: 'read',
  text: `
    ${SELECT_APPROVAL}
    where ($1::timestamptz is null or (approval.created_at, approval.id) < ($1, $2))
      and ($3::text is null or ${APPROVAL_STATUS} = $3)
    order by approval.created_at desc, approval.id desc limit $4`,
};

/**
 * In the order of ids: the agent that asked, whoever acts, and whoever has voted, so that neither they nor a key of
 * theirs is revoked meanwhile: whoever revokes one locks its agent's row.
 */
const HOLD_PRINCIPALS: Statement = {
  name: 'hold_deciding_principals',
  effect: 'write',
  text: `
    select id from agents where id = any (array(
      select agent_id from api_keys where key_id = $1
      union select agent_id from approvals where id = $2
      union select approver_id from approval_votes where approval_id = $2
    ))
    order by id for share`,
};

const ACTOR_DECIDES: Statement = {
  name: 'actor_decides_approvals',
  effect: 'write',
  text: `
    select 1 ${fromLiveActor('$1')}
      and ${DECIDES_APPROVALS}
    for share of key`,
};

/** One row for each approver: a vote that no longer counts makes way for a new one. The trail has both. */
const VOTE: Statement = {
  name: 'vote_on_approval',
  effect: 'write',
  text: `
    insert into approval_votes (approval_id, approver_id, key_id, reason, at, seal)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (approval_id, approver_id) do update
      set key_id = excluded.key_id, reason = excluded.reason, at = excluded.at, seal = excluded.seal`,
};

const TAKE_EFFECT: Statement = {
  name: 'approval_takes_effect',
  effect: 'write',
  text: `update approvals set effective_at = $2, seal = $3 where id = $1`,
};

/** What has ended has no seal, so that clearing a column reopens nothing. */
const DENY: Statement = {
  name: 'deny_approval',
  effect: 'write',
  text: `update approvals set denied_at = clock_timestamp(), reason = $2, seal = null where id = $1`,
};

/**
 * Under the lock of the approval, which closes the race of two polls: the second waits, and finds it claimed. Its status
 * counts the votes whose voters and keys are live now; `$5` names those that were found whole, with the rows of
 * their voters and keys, of voters who are held.
 */
const CLAIM: Statement = {
  name: 'claim_approval',
  effect: 'write',
  text: `
    with granted as (
      update approvals approval set claimed_at = clock_timestamp(), token_id = asked.id, seal = null
      from ${recordset('$3', 'asked', { ...NEW_TOKEN_TYPES, tier: 'text', boundSecrets: 'text[]' })}
      join agents agent on agent.id = asked."agentId"
      join api_keys key on key.key_id = asked."keyId" and key.agent_id = agent.id
      where approval.id = $1 and approval.request_digest = $2 and approval.agent_id = agent.id
        and ${APPROVAL_STATUS} = 'approved' and ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}
        and ${countedVotes(`concat(vote.approver_id, ' ', vote.key_id) = any ($5::text[])`)} >= approval.approvals_required
      returning asked.*, approval.id as "approvalId"
    ), token as (
      ${insertNewTokens(members('granted', ['tier', 'boundSecrets', 'approvalId']))}
    ), events as (
      ${insertEventOf('granted', '$4')}
    )
    select id from granted`,
};

export function createApprovalStore(database: Database, seals: RowSeals): ApprovalStore {
  return {
    ...createApprovalRequestStore(database, seals),

    find: async (id) => {
      const [row] = await database.query<ApprovalRow>(FIND, [id]);
      return row === undefined ? undefined : approvalRecordOf(row, seals);
    },

    list: async ({ status, limit, before }) =>
      (
        await database.query<ApprovalRow>(LIST, [
          before?.createdAt ?? null,
          before?.id ?? null,
          status ?? null,
          limit,
        ])
      ).map((row) => approvalRecordOf(row, seals)),

    decide: (id, actorKeyId, decide) =>
      database.transaction(async (session) => {
        const held = await holdPrincipals(session, actorKeyId, id);
        if ((await session.query(ACTOR_DECIDES, [actorKeyId])).length === 0) return 'actor_not_live';
        await session.query(LOCK_APPROVAL, [id]);
        const [row] = await session.query<ApprovalRow>(FIND, [id]);
        if (row === undefined) return 'absent';
        const approval = approvalRecordOf(row, seals);
        // Who voted in between may be revoked in this very moment.
        if (approval.votes.some(({ approverId }) => !held.includes(approverId))) return 'not_held';
        const { change, event, notice } = decide(approval);
        let effectiveAt: Date | null = null;
        if (change.kind === 'deny') await session.query(DENY, [id, change.reason]);
        else {
          const { approverId, reason } = change;
          const vote = { approvalId: id, approverId, keyId: actorKeyId, at: row.readAt };
          const seal = seals.of(messageOf('approval_votes', vote));
          await session.query(VOTE, [id, approverId, actorKeyId, reason, vote.at, seal]);
          if (change.isLast) {
            effectiveAt = new Date(row.readAt.getTime() + approval.delaySeconds * 1000);
            const effective = seals.of(messageOf('approvals', { ...approval, effectiveAt }));
            await session.query(TAKE_EFFECT, [id, effectiveAt, effective]);
          }
        }
        await oweNotice(session, notice(effectiveAt), seals);
        await insertAuditEvents(session, [event(effectiveAt)]);
        return 'decided';
      }),

    claim: ({ id, requestDigest }, token, events) =>
      database.transaction(async (session) => {
        const held = await holdPrincipals(session, token.keyId, id);
        await session.query(LOCK_APPROVAL, [id]);
        const [row] = await session.query<ApprovalRow>(FIND, [id]);
        const found = row && approvalRecordOf(row, seals);
        if (found?.isWhole !== true) return false;
        const rows = await session.query(CLAIM, [
          id,
          requestDigest,
          JSON.stringify([
            { ...newTokenRow(token, seals, token), tier: token.tier, boundSecrets: token.boundSecrets },
          ]),
          JSON.stringify(events),
          found.votes
            .filter(({ counts, approverId }) => counts && held.includes(approverId))
            .map(({ approverId, keyId }) => `${approverId} ${keyId ?? ''}`),
        ]);
        return rows.length === 1;
      }),
  };
}

/** Before the approval: agents are locked first, everywhere. */
async function holdPrincipals(
  session: Session,
  actorKeyId: string,
  approvalId: string,
): Promise<readonly string[]> {
  const rows = await session.query<{ id: string }>(HOLD_PRINCIPALS, [actorKeyId, approvalId]);
  return rows.map(({ id }) => id);
}
