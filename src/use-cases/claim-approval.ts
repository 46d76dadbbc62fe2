/**
 * The requester's side of an approval (contract section 7): ask what has become of it, and be handed the token, which
 * is made then, once, and is in exactly one answer.
 */

import type { AccessTier } from '../domain/access-tier.ts';
import type { ApprovalRecord, ApprovalStore } from './approval-ports.ts';
import { approvalEvent } from './approval-records.ts';
import { APPROVAL_ID, type DecideApprovalDeps, noSuchApproval, requireUnchanged } from './decide-approval.ts';
import type { Caller, Clock, RequestContext } from './ports.ts';
import type { NewScopedToken } from './secret-ports.ts';
import { START_OVER, startingOver } from './start-over.ts';

export interface ClaimApprovalDeps {
  readonly store: ApprovalStore;
  readonly digest: DecideApprovalDeps['digest'];
  readonly generate: () => { readonly text: string; readonly hash: Uint8Array };
  readonly newId: () => string;
  readonly clock: Clock;
}

export interface PolledApproval {
  readonly approval: ApprovalRecord;
  /** Only in the answer that claims it. */
  readonly claimed: { readonly text: string; readonly token: NewScopedToken } | undefined;
}

/** Rejects with `NOT_FOUND` for anybody but the requester, with `INTEGRITY_ERROR` for one that was edited. */
export type ClaimApproval = (id: string, caller: Caller, context: RequestContext) => Promise<PolledApproval>;

export function createClaimApproval(deps: ClaimApprovalDeps): ClaimApproval {
  return (id, caller, context) =>
    startingOver(async () => {
      const approval = APPROVAL_ID.test(id) ? await deps.store.find(id) : undefined;
      if (approval === undefined || approval.agentId !== caller.principal.id) throw noSuchApproval();
      if (approval.status !== 'approved') return { approval, claimed: undefined };
      requireUnchanged(deps, approval);
      const { text, hash } = deps.generate();
      const token = tokenOf(deps, approval, caller, hash);
      const event = approvalEvent(deps.newId(), caller.principal, context, {
        type: 'approval.claimed',
        approvalId: id,
        metadata: {
          key_id: caller.keyId,
          token_id: token.id,
          scopes: token.scopes,
          expires_at: token.expiresAt.toISOString(),
          max_uses: token.maxUses,
          request_digest: approval.requestDigest,
        },
      });
      // What a fresh look finds is the answer: another poll may have been first, or the time is over.
      if (!(await deps.store.claim(approval, token, event))) return START_OVER;
      // This answer says `approved`, which is what whoever waits looks for; every later one says `claimed`.
      return { approval, claimed: { text, token } };
    });
}

function tokenOf(
  deps: ClaimApprovalDeps,
  approval: ApprovalRecord,
  { principal, keyId }: Caller,
  tokenHash: Uint8Array,
): NewScopedToken & { readonly tier: AccessTier } {
  // Its time starts at the claim, not when it was asked for.
  const createdAt = deps.clock.now();
  return {
    id: deps.newId(),
    tokenHash,
    agentId: principal.id,
    keyId,
    agentRevision: principal.revision,
    scopes: approval.scopes,
    allowedIps: approval.allowedIps,
    maxUses: approval.maxUses,
    description: approval.description,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + approval.ttlSeconds * 1000),
    tier: approval.tier,
  };
}
