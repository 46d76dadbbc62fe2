/**
 * The life of an approval (contract section 7): what may still be done to it, given what it is now. Whether it is
 * pending, approved or expired follows from times and is never written; the database judges those.
 */

import type { AccessTier } from '../secrets/access-tier.ts';

export const APPROVAL_STATUSES = ['pending', 'approved', 'denied', 'expired', 'claimed'] as const;
export type ApprovalStatus = (typeof APPROVAL_STATUSES)[number];

/** An approval as whoever decides it finds it, under lock. */
export interface ApprovalSnapshot {
  readonly status: ApprovalStatus;
  readonly requesterId: string;
  /** The agent that asked was revoked. */
  readonly requesterRevoked: boolean;
  /** Of the votes that count. */
  readonly approverIds: readonly string[];
  readonly approvalsRequired: number;
}

export type ApprovalRefusal = 'SELF_APPROVAL_FORBIDDEN' | 'APPROVAL_ALREADY_DECIDED' | 'APPROVAL_EXPIRED';

/**
 * What keeps this principal from approving, beside what keeps it from denying; undefined when nothing does. With enough
 * votes it is decided, also while its delay runs and its status is still `pending`.
 */
export function checkApproval(situation: ApprovalSnapshot, approverId: string): ApprovalRefusal | undefined {
  const refusal = checkDenial(situation, approverId);
  if (refusal !== undefined) return refusal;
  const decided = situation.approverIds.length >= situation.approvalsRequired;
  return decided || situation.approverIds.includes(approverId) ? 'APPROVAL_ALREADY_DECIDED' : undefined;
}

/**
 * Whoever may decide may deny until the claim, also after having approved. Nobody decides their own request, whatever
 * has become of it.
 */
export function checkDenial(situation: ApprovalSnapshot, approverId: string): ApprovalRefusal | undefined {
  if (situation.requesterId === approverId) return 'SELF_APPROVAL_FORBIDDEN';
  if (situation.status === 'denied' || situation.status === 'claimed') return 'APPROVAL_ALREADY_DECIDED';
  if (situation.requesterRevoked) return 'APPROVAL_ALREADY_DECIDED';
  return situation.status === 'expired' ? 'APPROVAL_EXPIRED' : undefined;
}

export interface VotedApproval {
  readonly status: ApprovalStatus;
  readonly effectiveAt: object | null;
  readonly votes: readonly { readonly counts: boolean }[];
  readonly approvalsRequired: number;
}

export interface ApprovalRules {
  readonly approvalsRequired: number;
  readonly delaySeconds: number;
}

/** It took effect, and then a vote stopped to count: it is pending again, and takes another one. */
export function hasLostVotes({ status, effectiveAt, votes, approvalsRequired }: VotedApproval): boolean {
  if (status !== 'pending' || effectiveAt === null) return false;
  return votes.filter(({ counts }) => counts).length < approvalsRequired;
}

/** Standard and sensitive take one approver and no delay; critical takes what the operator has set. */
export function rulesForTier(tier: AccessTier, critical: ApprovalRules): ApprovalRules {
  return tier === 'critical' ? critical : { approvalsRequired: 1, delaySeconds: 0 };
}
