/**
 * Asking a human (contract section 7): what was asked is frozen and bound by a digest, so that nobody can approve, or
 * be handed, anything else.
 */

import { type ApprovalRules, rulesForTier } from '../../domain/approvals/approval-decision.ts';
import { shownDigest } from '../../domain/approvals/request-digest.ts';
import { canonicalText } from '../../domain/json/canonical-json.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import { formatScope, type Scope, SECRET_ACTIONS, scopesAllow } from '../../domain/scopes/scope.ts';
import { parseSecretPath } from '../../domain/scopes/secret-path.ts';
import {
  type BoundSecret,
  formatBoundSecret,
  highestTierOf,
  MAX_BOUND_SECRETS,
} from '../../domain/secrets/bound-secrets.ts';
import { namedRestrictions, restrictionsOf } from '../../domain/secrets/token-restrictions.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { Clock } from '../ports.ts';
import { RETRY } from '../retry-guarded-write.ts';
import { MAX_PENDING, type RequestApproval } from '../scoped-tokens/ports.ts';
import type { ApprovalNotices } from './approval-events.ts';
import type { ApprovalRequest, ApprovalStore } from './ports.ts';

export interface ApprovalSettings {
  readonly critical: ApprovalRules;
  /** How long an approval can be decided, and then claimed. */
  readonly windowSeconds: number;
}

export interface RequestApprovalDeps {
  readonly store: ApprovalStore;
  readonly settings: ApprovalSettings;
  /** HMAC-SHA256 in hex. */
  readonly digest: { of(text: string): string };
  /** `apr_` and 8 base32 characters. */
  readonly newApprovalId: () => string;
  readonly newId: () => string;
  readonly clock: Clock;
  readonly notices: ApprovalNotices;
}

export function createRequestApproval(deps: RequestApprovalDeps): RequestApproval {
  return async ({ command, scopes }, { principal, keyId }, context) => {
    const bound = await guardedBy(deps.store, scopes);
    if (bound.length > MAX_BOUND_SECRETS) return 'too_wide';
    const tier = highestTierOf(bound);
    const approval: ApprovalRequest = {
      id: deps.newApprovalId(),
      agentId: principal.id,
      scopes: scopes.map(formatScope),
      ttlSeconds: command.ttlSeconds,
      ...restrictionsOf(command),
      description: command.description,
      tier,
      boundSecrets: bound.map(formatBoundSecret),
      ...rulesForTier(tier, deps.settings.critical),
      windowSeconds: deps.settings.windowSeconds,
    };
    const createdAt = deps.clock.now();
    const requestDigest = deps.digest.of(digestText(approval));
    const outcome = await deps.store.open(
      { ...approval, createdAt, requestDigest },
      {
        keyId,
        agentRevision: principal.revision,
        maxPending: MAX_PENDING,
        event: auditEvent(principal, context, {
          id: deps.newId(),
          type: 'approval.requested',
          resource: { type: 'approval', id: approval.id },
          metadata: {
            key_id: keyId,
            scopes: approval.scopes,
            access_tier: tier,
            secret_count: bound.length,
            approvals_required: approval.approvalsRequired,
            request_digest: shownDigest(requestDigest),
          },
        }),
        notice: deps.notices('approval.requested', { ...approval, agentName: principal.name }, 'pending', {
          at: createdAt,
        }),
      },
    );
    if (outcome === 'too_many') return outcome;
    return outcome === 'not_granted' ? RETRY : { id: approval.id, expiresAt: outcome.expiresAt };
  };
}

/**
 * Everything that was asked, and everything that it takes, in one canonical text. With a restriction more, approvals
 * that are open have another digest: they are to be asked for again.
 */
export function digestText(approval: ApprovalRequest): string {
  return canonicalText({
    id: approval.id,
    agent_id: approval.agentId,
    scopes: [...approval.scopes],
    ttl_seconds: approval.ttlSeconds,
    ...(namedRestrictions(approval) as JsonObject),
    description: approval.description,
    access_tier: approval.tier,
    // Left out where there is none, as in requests from before secrets were named: their digests still fit.
    ...(approval.boundSecrets.length === 0 ? {} : { secrets: [...approval.boundSecrets] }),
    approvals_required: approval.approvalsRequired,
    delay_seconds: approval.delaySeconds,
    window_seconds: approval.windowSeconds,
  });
}

/** What exists now and the scopes name above standard: what the token will open, and nothing that comes after. */
function guardedBy(store: ApprovalStore, scopes: readonly Scope[]): Promise<readonly BoundSecret[]> {
  const names = (path: string): boolean => {
    const parsed = parseSecretPath(path);
    return parsed.ok && SECRET_ACTIONS.some((action) => scopesAllow(scopes, action, parsed.secret));
  };
  return store.guardedMatching(names, MAX_BOUND_SECRETS + 1);
}
