/** The human side of an approval (contract section 7): look, approve, deny. */

import {
  type ApprovalRefusal,
  type ApprovalSnapshot,
  type ApprovalStatus,
  checkApproval,
  checkDenial,
} from '../../domain/approvals/approval-decision.ts';
import { APPROVAL_ID } from '../../domain/approvals/approval-id.ts';
import { shownDigest } from '../../domain/approvals/request-digest.ts';
import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import type { ApprovalNotices } from './approval-events.ts';
import type { ApprovalPosition, ApprovalRecord, ApprovalStore, DecidedChange } from './ports.ts';
import { digestText } from './request-approval.ts';

export interface DecideApprovalDeps {
  readonly store: ApprovalStore;
  readonly digest: { matches(text: string, digestHex: string): boolean };
  readonly newId: () => string;
  readonly clock: Clock;
  readonly notices: ApprovalNotices;
  readonly denyCaller: DenyCaller;
  readonly denialLog: DenialLog;
}

export interface Decision {
  readonly reason: string | null;
  /** What the approver has seen; undefined: not said. */
  readonly requestDigest?: string | undefined;
}

/**
 * `approve` and `deny` reject with `NOT_FOUND`, `SELF_APPROVAL_FORBIDDEN`, `APPROVAL_ALREADY_DECIDED`,
 * `APPROVAL_EXPIRED`, `VERSION_CONFLICT` for another digest than the approval's, and with `INTEGRITY_ERROR` where what
 * was asked, or the row of the agent that asked, has been changed in the database.
 */
export interface Approvals {
  list(query: {
    readonly status: ApprovalStatus | undefined;
    readonly limit: number;
    readonly before: ApprovalPosition | undefined;
  }): Promise<readonly ApprovalRecord[]>;
  get(id: string): Promise<ApprovalRecord>;
  approve(id: string, decision: Decision, caller: Caller, context: RequestContext): Promise<ApprovalRecord>;
  deny(id: string, decision: Decision, caller: Caller, context: RequestContext): Promise<ApprovalRecord>;
}

export function createApprovals(deps: DecideApprovalDeps): Approvals {
  const get = (id: string): Promise<ApprovalRecord> => findApproval(deps.store, id);

  const decide = async (
    id: string,
    { caller, context }: { caller: Caller; context: RequestContext },
    change: (approval: ApprovalRecord) => DecidedChange,
  ): Promise<ApprovalRecord> => {
    if (!APPROVAL_ID.test(id)) throw noSuchApproval(id);
    const attempt = async () => {
      const outcome = await deps.store.decide(id, caller.keyId, (approval) => {
        requireUnchanged(deps, approval);
        return change(approval);
      });
      return outcome === 'not_held' ? RETRY : outcome;
    };
    const outcome = await retryGuardedWrite(attempt).catch((error: unknown) => {
      const denied = { actor: caller.principal, credentialId: caller.keyId, context };
      return deny(deps.denialLog, denied, error, {
        type: 'auth.denied',
        resource: { type: 'approval', id },
      });
    });
    if (outcome === 'actor_not_live') return deps.denyCaller.deadKey(caller, context);
    if (outcome === 'absent') throw noSuchApproval(id);
    return get(id);
  };

  return {
    get,
    list: (query) => deps.store.list(query),

    approve: (id, { reason, requestDigest }, caller, context) =>
      decide(id, { caller, context }, (approval) => {
        const approverId = caller.principal.id;
        throwIfRefused(checkApproval(situationOf(approval), approverId));
        if (requestDigest !== undefined && !deps.digest.matches(digestText(approval), requestDigest)) {
          throw otherRequest();
        }
        const votes = approval.votes.filter(({ counts }) => counts).length + 1;
        const isLast = votes >= approval.approvalsRequired;
        return {
          change: { kind: 'vote', approverId, reason, isLast },
          event: (effectiveAt) =>
            auditEvent(caller.principal, context, {
              id: deps.newId(),
              type: 'approval.granted',
              resource: { type: 'approval', id },
              metadata: {
                key_id: caller.keyId,
                votes,
                required: approval.approvalsRequired,
                reason,
                request_digest: shownDigest(approval.requestDigest),
                ...(effectiveAt === null ? {} : { effective_at: formatTimestamp(effectiveAt) }),
              },
            }),
          notice: (effectiveAt) =>
            isLast
              ? deps.notices(
                  'approval.granted',
                  approval,
                  approval.delaySeconds > 0 ? 'pending' : 'approved',
                  {
                    at: deps.clock.now(),
                    effectiveAt,
                  },
                )
              : undefined,
        };
      }),

    deny: (id, { reason }, caller, context) =>
      decide(id, { caller, context }, (approval) => {
        throwIfRefused(checkDenial(situationOf(approval), caller.principal.id));
        return {
          change: { kind: 'deny', reason },
          event: () =>
            auditEvent(caller.principal, context, {
              id: deps.newId(),
              type: 'approval.denied',
              resource: { type: 'approval', id },
              metadata: { key_id: caller.keyId, reason, request_digest: shownDigest(approval.requestDigest) },
            }),
          notice: () => deps.notices('approval.denied', approval, 'denied', { at: deps.clock.now() }),
        };
      }),
  };
}

export const noSuchApproval = (id: string): WritError =>
  new WritError('NOT_FOUND', 'There is no such approval.', { about: { type: 'approval', id } });

/** Rejects with `NOT_FOUND`, also for what is no id. */
export async function findApproval(store: Pick<ApprovalStore, 'find'>, id: string): Promise<ApprovalRecord> {
  const approval = APPROVAL_ID.test(id) ? await store.find(id) : undefined;
  if (approval === undefined) throw noSuchApproval(id);
  return approval;
}

/** An approval that was edited in the database is nobody's to approve, nor to be handed out. */
export function requireUnchanged(deps: Pick<DecideApprovalDeps, 'digest'>, approval: ApprovalRecord): void {
  if (!approval.isWhole) throw wasChanged(approval, 'or the row of its agent does not fit its seal');
  if (!deps.digest.matches(digestText(approval), approval.requestDigest)) {
    throw wasChanged(approval, 'does not fit its digest');
  }
  // What was there when rows were first sealed was sealed as it was, and the digest does not cover the times: one that was
  // set by hand must not stand for the votes. Votes that count no more were cast all the same.
  if (approval.effectiveAt !== null && approval.votes.length < approval.approvalsRequired) {
    throw wasChanged(approval, 'took effect with too few votes');
  }
}

const wasChanged = ({ id }: ApprovalRecord, how: string): WritError =>
  new WritError('INTEGRITY_ERROR', 'What is stored of this request was changed, so nothing is granted.', {
    detail: `approval ${id} ${how}`,
    about: { type: 'approval', id },
  });

function situationOf(approval: ApprovalRecord): ApprovalSnapshot {
  return {
    status: approval.status,
    requesterId: approval.agentId,
    requesterRevoked: approval.agentRevoked,
    approverIds: approval.votes.flatMap(({ counts, approverId }) => (counts ? [approverId] : [])),
    approvalsRequired: approval.approvalsRequired,
  };
}

const REFUSALS: Readonly<Record<ApprovalRefusal, string>> = {
  SELF_APPROVAL_FORBIDDEN: 'Nobody decides their own request.',
  APPROVAL_ALREADY_DECIDED: 'This has been decided, by you or for good.',
  APPROVAL_EXPIRED: 'The time to decide this is over; what was not approved is denied.',
};

function throwIfRefused(refusal: ApprovalRefusal | undefined): void {
  if (refusal !== undefined) throw new WritError(refusal, REFUSALS[refusal]);
}

const otherRequest = (): WritError =>
  new WritError('VERSION_CONFLICT', 'request_digest is not this request’s: look at it again.', {
    details: { pointer: '/request_digest' },
  });
