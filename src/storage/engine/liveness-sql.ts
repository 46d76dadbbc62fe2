/**
 * The SQL of "live": each definition stands here and nowhere else. Aliases are fixed: `agent`, `key`, `token`, `secret`,
 * `approval`. Time is `clock_timestamp()`, which goes on while a statement waits for a lock.
 */

import { INTENT_TOKEN_VALIDITY } from '../../domain/formats/ttl.ts';
import { LEAVING_SECONDS } from '../../domain/signing-keys/key-rotation.ts';

export const isRevoked = (row: string): string => `${row}.revoked_at is not null`;
export const isNotRevoked = (row: string): string => `${row}.revoked_at is null`;

/** A row that Writ has not written, or has revoked, has no seal; whether one fits is judged where the row is read. */
const isSealed = (row: string): string => `${row}.seal is not null`;

/** A row may have no end. */
export const hasExpired = (row: string): string => `(${row}.expires_at <= clock_timestamp()) is true`;
export const hasNotExpired = (row: string): string =>
  `(${row}.expires_at is null or ${row}.expires_at > clock_timestamp())`;

/** Of a key: it had not ended then. `at`: an SQL expression of a time that is over. */
export const wasNotEndedAt = (row: string, at: string): string => `
  ((${row}.revoked_at is null or ${row}.revoked_at > ${at})
    and (${row}.expires_at is null or ${row}.expires_at > ${at}))`;

/** It has an end at all. */
export const hasAnEnd = (row: string): string => `${row}.expires_at is not null`;

/** Its end, or `at` where that comes first: nothing lives longer for being given an end. */
export const earlierEnd = (row: string, at: string): string => `least(${row}.expires_at, ${at})`;

/** In `emergency_stops` for everybody but administrators. */
export const EVERYBODY = '00000000-0000-0000-0000-000000000000';

/** Of a `stop`: it is in force. What resumes it proves that it may, which the table itself checks. */
export const STOP_IS_IN_FORCE = 'stop.resumed_at is null';

/**
 * It is stopped, or everybody is. The stops in force are read once for a statement, and not for each row of it: there is
 * nothing in that list that depends on a row. Of a delegated intent token this says all: its principal is its parent's.
 */
export const isStopped = (principal: string): string => `
  (array[${principal}.id, case when ${principal}.role <> 'admin' then '${EVERYBODY}'::uuid end]
    && array(select stop.agent_id from emergency_stops stop where ${STOP_IS_IN_FORCE}))`;

export const AGENT_IS_STOPPED = isStopped('agent');

/** It has a name that nobody else may have, stopped or not. */
export const AGENT_IS_KEPT = `${isNotRevoked('agent')} and ${isSealed('agent')}`;

export const AGENT_IS_LIVE = `${AGENT_IS_KEPT} and not ${AGENT_IS_STOPPED}`;

/** Of a row that has an end: it comes within so many days, an SQL expression, if it has not come. */
export const endsWithinDays = (row: string, days: string): string =>
  `${row}.expires_at <= clock_timestamp() + make_interval(days => ${days}::int)`;

/** The key alone: a statement that lets it act requires `AGENT_IS_LIVE` as well. */
export const KEY_IS_LIVE = `${isNotRevoked('key')} and ${isSealed('key')} and ${hasNotExpired('key')}`;

/**
 * From where a statement knows who acts: the row of the API key `keyId`, an SQL expression, with its agent's, while both
 * are live, else nothing. Further conditions follow with `and`.
 */
export const fromLiveActor = (keyId: string): string => `
      from api_keys key join agents agent on agent.id = key.agent_id
      where key.key_id = ${keyId} and ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}`;

/** Keeps of the rows `asked` those whose key and agent are live, the agent as it was when the row was decided. */
export const WHERE_ISSUER_IS_LIVE = `
      join api_keys key on key.key_id = asked."keyId" and key.agent_id = asked."agentId"
      join agents agent on agent.id = asked."agentId" and agent.revision = asked."agentRevision"
      where ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}`;

/** The scoped token alone, its uses apart; its agent's liveness is required beside it. */
export const TOKEN_IS_LIVE = `${isNotRevoked('token')} and ${isSealed('token')} and token.expires_at > clock_timestamp()`;

const tokenState = (otherwise: string): string => `
  case
    when ${isRevoked('token')} or ${isRevoked('agent')} then 'revoked'
    when ${hasExpired('token')} then 'expired'
    when token.uses >= token.max_uses then 'exhausted'
    ${otherwise}
  end`;

/** What a scoped token can still do, its agent's end included. A stop ends nothing: it is not told of here. */
export const TOKEN_STATE = tokenState(`else 'live'`);

/** What one can do that is presented now. */
export const PRESENTED_TOKEN_STATE = tokenState(`when ${AGENT_IS_STOPPED} then 'stopped' else 'live'`);

/** Of a row of `signing_keys`: it has its private half. */
export const isLiveSigningKey = (row: string): string => `${row}.state in ('next', 'active', 'retiring')`;

/**
 * The key `signer` signs now, or left so lately that a process may not know yet: what a process has signed under a key is
 * written only if this holds.
 */
export const SIGNER_SIGNS = `${isSealed('signer')} and (signer.state = 'active'
      or signer.state = 'retiring' and signer.state_since > clock_timestamp() - interval '${LEAVING_SECONDS} s')`;

/** The kid, an SQL expression, is that of a key that signs. Read once for a statement, which is half as dear as a join. */
export const isOfSigner = (kid: string): string =>
  `${kid} = any (array(select signer.kid from signing_keys signer where ${SIGNER_SIGNS}))`;

/** What `signer` has signed is what Writ has signed. Of a key that is retired nothing lives any more, by its own end. */
const SIGNER_IS_TRUSTED = `signer.state in ('active', 'retiring', 'retired')`;

/** The kid of `token`, null where its key is not ours any more. */
export const TRUSTED_KID = `
  (select signer.kid from signing_keys signer where signer.kid = token.kid and ${SIGNER_IS_TRUSTED})`;

/**
 * A token that `signer`, who is retiring, has signed may not have expired. As of the start of the transaction, which an
 * index can serve; no token lives longer than a day, and none was signed since the key left.
 */
export const SIGNER_HAS_LIVE_TOKENS = `
  (signer.state_since > clock_timestamp() - interval '${INTENT_TOKEN_VALIDITY.maxSeconds + 3600} s'
    and exists (select from intent_tokens token where token.kid = signer.kid and token.expires_at > now()))`;

/**
 * Of an intent token: itself, its agent, an ancestor or the agent of one is revoked, or one of them is gone; or the key
 * of one of them is compromised or gone. An ancestor's too: whoever had the key could write the token that was passed on.
 */
export const INTENT_TOKEN_IS_REVOKED = `
  (${isRevoked('token')} or ${isRevoked('agent')} or ${TRUSTED_KID} is null or exists (
    select from unnest(token.ancestors) as ancestor (jti)
    left join intent_tokens parent on parent.jti = ancestor.jti
    left join agents parent_agent on parent_agent.id = parent.agent_id
    left join signing_keys signer on signer.kid = parent.kid and ${SIGNER_IS_TRUSTED}
    where parent_agent.id is null or ${isRevoked('parent')} or ${isRevoked('parent_agent')} or signer.kid is null
  ))`;

/** What an intent token can still do, a stop apart; aliases `token` and `agent`, as above. */
export const INTENT_TOKEN_STATE = `
  case when ${INTENT_TOKEN_IS_REVOKED} then 'revoked' when ${hasExpired('token')} then 'expired' else 'live' end`;

/** As a condition of a write: its agent is not stopped either. */
export const INTENT_TOKEN_IS_LIVE = `
  (not ${INTENT_TOKEN_IS_REVOKED} and not ${hasExpired('token')} and not ${AGENT_IS_STOPPED})`;

/** An expired secret keeps its row and reads as absent. */
export const SECRET_IS_LIVE = hasNotExpired('secret');

/** As of the start of the transaction, which an index can serve: for a count, never for a release. */
export const SECRET_HAD_EXPIRED = `secret.expires_at <= now()`;

/** As of the start of the transaction, which an index can serve: a reminder, which opens nothing. */
export const SECRET_ROTATION_IS_DUE = `secret.rotation_due_at <= now()`;

/** How long a request under an idempotency key is answered again (contract section 4.1). */
export const REPEATABLE_FOR = `interval '10 minutes'`;

/** Of a principal: one of role agent never decides. */
export const DECIDES_APPROVALS = `agent.role in ('admin', 'approver')`;

/**
 * Of a `vote` on an `approval`, its seal apart: whoever cast it is live and may decide what somebody else has asked for, and the key it
 * was cast with is live as well. A row from before keys were kept has none, and goes by its voter.
 */
export const VOTER_IS_LIVE = `
  (vote.approver_id <> approval.agent_id
    and exists (
      select from agents agent where agent.id = vote.approver_id and ${AGENT_IS_LIVE} and ${DECIDES_APPROVALS}
    )
    and (vote.key_id is null or exists (
      select from api_keys key
      where key.key_id = vote.key_id and key.agent_id = vote.approver_id and ${KEY_IS_LIVE}
    )))`;

/** Of an approval: its row may still grant. */
export const isUndecided = (row: string): string => `${row}.denied_at is null and ${row}.claimed_at is null`;

/** Of one that is undecided: whatever its votes, it is expired. The sum could be a time that there is not. */
export const isApprovalOver = (row: string): string =>
  `case when ${row}.effective_at is null then ${row}.expires_at <= clock_timestamp()
    else ${row}.effective_at <= clock_timestamp() - make_interval(secs => ${row}.window_seconds) end`;

/** Of a notice that is owed to the webhook. */
export const isUndelivered = (row: string): string =>
  `${row}.delivered_at is null and ${row}.given_up_at is null`;

/** Of an `approval`; `which` narrows them further: in SQL a vote has a seal or none. */
export const countedVotes = (which = 'true'): string => `
  (select count(*) from approval_votes vote
   where vote.approval_id = approval.id and ${isSealed('vote')} and ${VOTER_IS_LIVE} and ${which})`;

/** Above standard and from before approvals named their secrets: it would open none of them, and is to be asked for again. */
const NAMES_NO_SECRET = `(approval.access_tier <> 'standard' and approval.bound_secrets = '{}')`;

/**
 * What a revoked agent asked for has ended with it. One that was in effect and has lost a vote is pending again until
 * its time to be claimed is over: whoever votes then completes it. Its votes are read only where they decide.
 */
export const APPROVAL_STATUS = `
  case
    when approval.denied_at is not null then 'denied'
    when approval.claimed_at is not null then 'claimed'
    when ${isRevoked('agent')} or ${NAMES_NO_SECRET} then 'expired'
    when approval.effective_at is null and ${hasExpired('approval')} then 'expired'
    when approval.effective_at is null or approval.effective_at > clock_timestamp() then 'pending'
    when approval.effective_at + make_interval(secs => approval.window_seconds) <= clock_timestamp() then 'expired'
    when ${countedVotes()} < approval.approvals_required then 'pending'
    else 'approved'
  end`;
