/** What is written of an approval beside itself: its events, and the notices that go to the webhook. */

import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { parseBoundSecret } from '../../domain/secrets/bound-secrets.ts';
import { namedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { WebhookEvent } from '../notices/ports.ts';
import type { ApprovalRequest } from './ports.ts';

/** As approvers are shown them; one that was edited in the database is left out, and its approval fits no digest. */
export function namedSecrets({ boundSecrets }: Pick<ApprovalRequest, 'boundSecrets'>) {
  const secrets = boundSecrets.flatMap((text) => parseBoundSecret(text) ?? []);
  return {
    secret_count: boundSecrets.length,
    secrets: secrets.map(({ path, tier }) => ({ path, access_tier: tier })),
  };
}

/** Undefined where no webhook is configured. Never holds a token. */
export type ApprovalWebhookEvents = (
  type: 'approval.requested' | 'approval.granted' | 'approval.denied',
  approval: ApprovalRequest & { readonly agentName: string },
  status: string,
  times: { readonly at: Date; readonly effectiveAt?: Date | null },
) => WebhookEvent;

export function createApprovalWebhookEvents(deps: {
  readonly configured: boolean;
  readonly newId: () => string;
}): ApprovalWebhookEvents {
  return (type, approval, status, { at, effectiveAt }) => {
    if (!deps.configured) return undefined;
    const data = {
      id: approval.id,
      status,
      agent_id: approval.agentId,
      agent_name: approval.agentName,
      access_tier: approval.tier,
      ...namedSecrets(approval),
      scopes: approval.scopes,
      ttl_seconds: approval.ttlSeconds,
      ...namedRestrictions(approval),
      description: approval.description,
      approvals_required: approval.approvalsRequired,
      effective_at: instantOrNull(effectiveAt),
    };
    return { id: deps.newId(), payload: JSON.stringify({ type, timestamp: formatTimestamp(at), data }) };
  };
}
