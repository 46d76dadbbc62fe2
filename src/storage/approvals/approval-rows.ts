/** An approval as every statement reads it, its status judged by the database clock and its votes beside it. */

import { RESTRICTION_MEMBERS } from '../../domain/secrets/token-restrictions.ts';
import type { ApprovalRecord, ApprovalVote } from '../../use-cases/approvals/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { APPROVAL_STATUS, isRevoked, VOTE_COUNTS } from '../engine/liveness-sql.ts';
import { sealedRow } from '../engine/sealed-rows.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { approvals } from '../schema.ts';

/** What was asked and what it takes: kept as it is opened. */
export const REQUEST_MEMBERS = [
  'id',
  'agentId',
  'scopes',
  'ttlSeconds',
  'description',
  'tier',
  'boundSecrets',
  'approvalsRequired',
  'delaySeconds',
  'windowSeconds',
  'requestDigest',
  'createdAt',
  ...RESTRICTION_MEMBERS,
] as const;

export interface ApprovalRow extends Omit<ApprovalRecord, 'votes'> {
  /** From JSON, which has no dates. */
  readonly votes: readonly (Omit<ApprovalVote, 'at' | 'isWhole'> & {
    readonly at: string;
    readonly sealHex: string | null;
  })[];
}

const VOTES = `
      coalesce((
        select json_agg(
          json_build_object(
            'approverId', vote.approver_id, 'approverName', approver.name, 'keyId', vote.key_id,
            'counts', ${VOTE_COUNTS}, 'reason', vote.reason, 'at', vote.at,
            'sealHex', encode(vote.seal, 'hex')
          ) order by vote.at
        )
        from approval_votes vote join agents approver on approver.id = vote.approver_id
        where vote.approval_id = approval.id
      ), '[]'::json)`;

export const SELECT_APPROVAL = `
    select ${selectList<ApprovalRow>({
      ...columns(approvals, 'approval', [
        ...REQUEST_MEMBERS,
        'expiresAt',
        'effectiveAt',
        'deniedAt',
        'reason',
        'claimedAt',
        'tokenId',
      ]),
      agentName: 'agent.name',
      agentRevoked: isRevoked('agent'),
      status: APPROVAL_STATUS,
      votes: VOTES,
    })}
    from approvals approval join agents agent on agent.id = approval.agent_id`;

export function approvalRecordOf({ votes, ...row }: ApprovalRow, seals: RowSeals): ApprovalRecord {
  return {
    ...row,
    votes: votes.map(({ sealHex, at, ...vote }) => {
      const seal = sealHex === null ? null : Buffer.from(sealHex, 'hex');
      const isWhole = seals.fits(sealedRow('approval_votes', { ...vote, approvalId: row.id }, seal));
      return { ...vote, at: new Date(at), isWhole };
    }),
  };
}
