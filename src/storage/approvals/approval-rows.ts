/**
 * An approval as every statement reads it, its status judged by the database clock and its votes beside it. Whether its
 * seal and those of its votes fit is judged here, and with them the rows that they stand on: the agent that asked, each
 * voter and the key of each vote. SQL asks of those only whether they have a seal, and any bytes are one.
 */

import { RESTRICTION_MEMBERS } from '../../domain/secrets/token-restrictions.ts';
import type { ApprovalRecord, ApprovalVote } from '../../use-cases/approvals/ports.ts';
import type { RowSeals, SealedRow } from '../../use-cases/ports.ts';
import { APPROVAL_STATUS, isRevoked, VOTER_IS_LIVE } from '../engine/liveness-sql.ts';
import { judgedRow, type SealedTable, sealedColumns, sealedRow } from '../engine/sealed-rows.ts';
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
  readonly voter: object;
  readonly key: object;
}

export interface ApprovalRow extends Omit<ApprovalRecord, 'votes' | 'isWhole'> {
  readonly votes: readonly VoteRow[];
  readonly seal: Uint8Array | null;
  /** By the database clock. */
  readonly readAt: Date;
  readonly asker: object;
}

/** As `sealList`, in an answer that is JSON. */
function sealObject(name: SealedTable, row: string): string {
  const sealed = Object.entries(sealedColumns(name, row)).map(
    ([member, expression]) => `'${name}.${member}', ${expression}`,
  );
  return `json_build_object(${[...sealed, `'${name}.seal', encode(${row}.seal, 'hex')`].join(', ')})`;
}

const VOTES = `
      coalesce((
        select json_agg(
          json_build_object(
            'approverId', vote.approver_id, 'approverName', approver.name, 'keyId', vote.key_id,
            'isLive', ${VOTER_IS_LIVE}, 'reason', vote.reason, 'at', vote.at, 'sealHex', encode(vote.seal, 'hex'),
            'voter', ${sealObject('agents', 'approver')}, 'key', ${sealObject('api_keys', 'key')}
          ) order by vote.at
        )
        from approval_votes vote join agents approver on approver.id = vote.approver_id
        left join api_keys key on key.key_id = vote.key_id
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
      asker: sealObject('agents', 'agent'),
    })}
    from approvals approval join agents agent on agent.id = approval.agent_id`;

/** What has ended is not judged: it is refused as that. */
export function approvalRecordOf(row: ApprovalRow, seals: RowSeals): ApprovalRecord {
  const { votes: voteRows, seal, asker, readAt: _, ...approval } = row;
  const votes = voteRows.map((vote) => voteOf(vote, row.id, seals));
  const isOpen = row.status === 'pending' || row.status === 'approved';
  const isWhole =
    !isOpen || areAllWhole(seals, [sealedRow('approvals', approval, seal), judgedObject('agents', asker)]);
  const counted = votes.filter(({ counts }) => counts).length;
  // The statement counts every vote that has a seal, be it whose it may.
  const isShort = row.status === 'approved' && counted < row.approvalsRequired;
  return { ...approval, status: isShort ? 'pending' : row.status, votes, isWhole };
}

function voteOf(
  { at: text, isLive, sealHex, voter, key, ...vote }: VoteRow,
  approvalId: string,
  seals: RowSeals,
): ApprovalVote {
  const at = new Date(text);
  const counts =
    isLive &&
    areAllWhole(seals, [
      sealedRow('approval_votes', { ...vote, approvalId, at }, bytesOf(sealHex)),
      judgedObject('agents', voter),
      // One from before keys were kept goes by its voter.
      ...(vote.keyId === null ? [] : [judgedObject('api_keys', key)]),
    ]);
  return { ...vote, at, counts };
}

/** Each is looked at, so that each that does not fit is reported. */
const areAllWhole = (seals: RowSeals, rows: readonly SealedRow[]): boolean =>
  rows.filter((row) => !seals.fits(row)).length === 0;

/** A row that was read by `sealObject`, to be judged. */
function judgedObject(name: SealedTable, row: object): SealedRow {
  const sealHex = (row as Readonly<Record<string, string | null>>)[`${name}.seal`] ?? null;
  return judgedRow(name, { ...row, [`${name}.seal`]: bytesOf(sealHex) });
}

const bytesOf = (hex: string | null): Buffer | null => (hex === null ? null : Buffer.from(hex, 'hex'));
