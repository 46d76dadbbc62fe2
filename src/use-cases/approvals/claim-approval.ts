/**
 * The requester's side of an approval (contract section 7): ask what has become of it, and be handed the token, which
 * is made then, once, and is in exactly one answer.
 */

import { hasLostVotes } from '../../domain/approvals/approval-decision.ts';
import { shownDigest } from '../../domain/approvals/request-digest.ts';
import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { namedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import {
  type MadeScopedToken,
  type MakeScopedTokenDeps,
  makeScopedToken,
  tokenIssuedEvent,
} from '../scoped-tokens/mint-scoped-token.ts';
import {
  type DecideApprovalDeps,
  findApproval,
  noSuchApproval,
  requireUnchanged,
} from './decide-approval.ts';
import type { ApprovalRecord, ApprovalStore } from './ports.ts';

export interface ClaimApprovalDeps extends MakeScopedTokenDeps {
  readonly store: ApprovalStore;
  readonly digest: DecideApprovalDeps['digest'];
  readonly confirm: Authenticator['confirm'];
}

export interface PolledApproval {
  readonly approval: ApprovalRecord;
  /** Only in the answer that claims it. */
  readonly claimed: MadeScopedToken | undefined;
}

/** Rejects with `NOT_FOUND` for anybody but the requester, with `INTEGRITY_ERROR` for one that was edited. */
export type ClaimApproval = (id: string, caller: Caller, context: RequestContext) => Promise<PolledApproval>;

export function createClaimApproval(deps: ClaimApprovalDeps): ClaimApproval {
  return (id, firstCaller, context) =>
    retryGuardedWrite(async (isFirst) => {
      // A claim that was refused may have met a key that has ended meanwhile, or a stop: its row says so.
      const caller = isFirst ? firstCaller : await deps.confirm(firstCaller, context);
      const approval = await findApproval(deps.store, id);
      if (approval.agentId !== caller.principal.id) throw noSuchApproval(id);
      const isApproved = approval.status === 'approved';
      // An edited one that has lost its votes, or never had them, is not to be waited for.
      if (isApproved || hasLostVotes(approval)) requireUnchanged(deps, approval);
      if (!isApproved) return { approval, claimed: undefined };
      // Its time starts at the claim, not when it was asked for.
      const { text, token } = makeScopedToken(deps, caller, approval, approval.scopes);
      const claimed = auditEvent(caller.principal, context, {
        id: deps.newId(),
        type: 'approval.claimed',
        resource: { type: 'approval', id },
        metadata: {
          key_id: caller.keyId,
          token_id: token.id,
          scopes: token.scopes,
          expires_at: formatTimestamp(token.expiresAt),
          ...namedRestrictions(token),
          secret_count: approval.boundSecrets.length,
          request_digest: shownDigest(approval.requestDigest),
        },
      });
      const issued = tokenIssuedEvent(deps, token, caller, context, { approval_id: id });
      // What a fresh look finds is the answer: another poll may have been first, or the time is over.
      const { tier, boundSecrets } = approval;
      const bound = { ...token, tier, boundSecrets };
      if (!(await deps.store.claim(approval, bound, [claimed, issued]))) return RETRY;
      // This answer says `approved`, which is what whoever waits looks for; every later one says `claimed`.
      return { approval, claimed: { text, token } };
    });
}
