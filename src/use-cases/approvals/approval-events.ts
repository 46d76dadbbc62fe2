/** What is written of an approval beside itself: its secrets as they are named, and the notices. */

import { instantOrNull } from '../../domain/formats/rfc3339.ts';
import { parseBoundSecret } from '../../domain/secrets/bound-secrets.ts';
import { namedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { BuildNotice } from '../notices/build-notice.ts';
import type { Notice } from '../notices/ports.ts';
import type { ApprovalRequest } from './ports.ts';

/** As approvers are shown them; one that was edited in the database is left out, and its approval fits no digest. */
export function namedSecrets({ boundSecrets }: Pick<ApprovalRequest, 'boundSecrets'>) {
  const secrets = boundSecrets.flatMap((text) => parseBoundSecret(text) ?? []);
  return {
    secret_count: boundSecrets.length,
    secrets: secrets.map(({ path, tier }) => ({ path, access_tier: tier })),
  };
}

/** What the webhook is told of an approval; undefined where none is configured. */
export type ApprovalNotices = (
  type: 'approval.requested' | 'approval.granted' | 'approval.denied',
  approval: ApprovalRequest & { readonly agentName: string },
  status: string,
  times: { readonly at: Date; readonly effectiveAt?: Date | null },
) => Notice | undefined;

export const createApprovalNotices =
  (buildNotice: BuildNotice): ApprovalNotices =>
  (type, approval, status, { at, effectiveAt }) =>
    buildNotice(type, at, {
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
    });
