/**
 * An approval as every statement reads it, its status judged by the database clock and its votes beside it. Whether its
 * seal and those of its votes fit is judged here.
 */

import { RESTRICTION_MEMBERS } from '../../domain/secrets/token-restrictions.ts';
import type { ApprovalRecord, ApprovalVote } from '../../use-cases/approvals/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { APPROVAL_STATUS, isRevoked, VOTER_IS_LIVE } from '../engine/liveness-sql.ts';
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

/** From JSON, which has no dates and no bytes. */
interface VoteRow extends Omit<ApprovalVote, 'at' | 'counts'> {
  readonly at: string;
  readonly isLive: boolean;
  readonly sealHex: string | null;
}

export interface ApprovalRow extends Omit<ApprovalRecord, 'votes' | 'isWhole'> {
  readonly votes: readonly VoteRow[];
  readonly seal: Uint8Array | null;
  /** By the database clock. */
  readonly readAt: Date;
}

const VOTES = `
      coalesce((
        select json_agg(
          json_build_object(
            'approverId', vote.approver_id, 'approverName', approver.name, 'keyId', vote.key_id,
            'isLive', ${VOTER_IS_LIVE}, 'reason', vote.reason, 'at', vote.at, 'sealHex', encode(vote.seal, 'hex')
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
      seal: 'approval.seal',
      readAt: 'clock_timestamp()',
    })}
    from approvals approval join agents agent on agent.id = approval.agent_id`;

/** What has ended is not judged: it is refused as that. */
export function approvalRecordOf(row: ApprovalRow, seals: RowSeals): ApprovalRecord {
  const { votes: voteRows, seal, readAt: _, ...approval } = row;
  const votes = voteRows.map((vote) => voteOf(vote, row.id, seals));
  const isOpen = row.status === 'pending' || row.status === 'approved';
  const isWhole = !isOpen || seals.fits(sealedRow('approvals', approval, seal));
  const counted = votes.filter(({ counts }) => counts).length;
  // The statement counts every vote that has a seal, be it whose it may.
  const isShort = row.status === 'approved' && counted < row.approvalsRequired;
  return { ...approval, status: isShort ? 'pending' : row.status, votes, isWhole };
}

function voteOf(
  { at: text, isLive, sealHex, ...vote }: VoteRow,
  approvalId: string,
  seals: RowSeals,
): ApprovalVote {
  const at = new Date(text);
  const seal = sealHex === null ? null : Buffer.from(sealHex, 'hex');
  const counts = isLive && seals.fits(sealedRow('approval_votes', { ...vote, approvalId, at }, seal));
  return { ...vote, at, counts };
}
