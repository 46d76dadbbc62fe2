/** What the use cases of approvals ask of the outside: types only. */

import type { ApprovalStatus } from '../../domain/approvals/approval-decision.ts';
import type { AccessTier } from '../../domain/secrets/access-tier.ts';
import type { BoundSecret } from '../../domain/secrets/bound-secrets.ts';
import type { TokenRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { AuditEvent } from '../audit/ports.ts';
import type { Notice } from '../notices/ports.ts';
import type { NewScopedToken } from '../scoped-tokens/ports.ts';

/** What was asked, and what it takes: frozen when it is opened, and bound by the digest. */
export interface ApprovalRequest extends TokenRestrictions {
  /** `apr_` and 8 base32 characters. */
  readonly id: string;
  readonly agentId: string;
  readonly scopes: readonly string[];
  readonly ttlSeconds: number;
  readonly description: string | null;
  readonly tier: AccessTier;
  /** The secrets above standard that the scopes named then, each as `formatBoundSecret` has it. */
  readonly boundSecrets: readonly string[];
  readonly approvalsRequired: number;
  readonly delaySeconds: number;
  readonly windowSeconds: number;
}

export interface ApprovalVote {
  readonly approverId: string;
  readonly approverName: string;
  /** The key it was cast with; null of a vote from before keys were kept. */
  readonly keyId: string | null;
  /** Whoever cast it may still decide, and is live as its key is; Writ wrote all three rows as they are. */
  readonly counts: boolean;
  readonly reason: string | null;
  readonly at: Date;
}

/** Where an approval stands in the order of the list; its row may be gone when the next page is asked for. */
export interface ApprovalPosition {
  readonly createdAt: Date;
  readonly id: string;
}

/** An approval as it stands; `status` is judged by the database clock. */
export interface ApprovalRecord extends ApprovalRequest {
  /** As it is kept: `shownDigest` is what people see. */
  readonly requestDigest: string;
  readonly agentName: string;
  readonly agentRevoked: boolean;
  readonly status: ApprovalStatus;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly effectiveAt: Date | null;
  readonly deniedAt: Date | null;
  readonly reason: string | null;
  readonly claimedAt: Date | null;
  readonly tokenId: string | null;
  readonly votes: readonly ApprovalVote[];
  /** False: it is open, and it or the row of the agent that asked is not what Writ wrote. */
  readonly isWhole: boolean;
}

/** What a decision changes. */
export type ApprovalChange =
  | {
      readonly kind: 'vote';
      readonly approverId: string;
      readonly reason: string | null;
      readonly isLast: boolean;
    }
  | { readonly kind: 'deny'; readonly reason: string | null };

export interface DecidedChange {
  readonly change: ApprovalChange;
  /** From the time at which the approval takes effect, where the vote was the last. */
  readonly event: (effectiveAt: Date | null) => AuditEvent;
  readonly notice: (effectiveAt: Date | null) => Notice | undefined;
}

export interface ApprovalStore {
  /**
   * One transaction that holds the agent's row, so that two requests cannot both be the last that is allowed.
   * `'not_granted'`: key or agent is not live, the agent changed, or the id is taken; nothing was written.
   */
  open(
    approval: ApprovalRequest & { readonly requestDigest: string; readonly createdAt: Date },
    write: {
      readonly keyId: string;
      readonly agentRevision: number;
      readonly maxPending: number;
      readonly event: AuditEvent;
      readonly notice: Notice | undefined;
    },
  ): Promise<{ readonly expiresAt: Date } | 'too_many' | 'not_granted'>;
  find(id: string): Promise<ApprovalRecord | undefined>;
  /** Newest first. */
  list(query: {
    readonly status: ApprovalStatus | undefined;
    readonly limit: number;
    readonly before: ApprovalPosition | undefined;
  }): Promise<readonly ApprovalRecord[]>;
  /**
   * One transaction: the actor's key, both principals and whoever has voted are held, the approval is locked, `decide`
   * says what changes (what it throws undoes everything). `'not_held'`: somebody voted in between; start over.
   */
  decide(
    id: string,
    actorKeyId: string,
    decide: (approval: ApprovalRecord) => DecidedChange,
  ): Promise<'decided' | 'absent' | 'actor_not_live' | 'not_held'>;
  /**
   * One transaction that holds whoever has voted: the approval is claimed, the token made, the events written, or
   * nothing is. False when it cannot be claimed (any more), when it is not whole, when too few of its votes count, or the
   * key or its agent is not live.
   */
  claim(
    approval: { readonly id: string; readonly requestDigest: string },
    token: NewScopedToken & Pick<ApprovalRequest, 'tier' | 'boundSecrets'>,
    events: readonly AuditEvent[],
  ): Promise<boolean>;
  /** The secrets above standard that `matches` names, expired ones too, in the order of their paths: the first `limit`. */
  guardedMatching(matches: (path: string) => boolean, limit: number): Promise<readonly BoundSecret[]>;
}
