/** Approvals: asked for, decided, claimed. */

import { addApprovalRoutes } from '../http/routes/approval-routes.ts';
import { generateScopedToken } from '../keys/credentials/scoped-token-secret.ts';
import { createRequestDigest } from '../keys/encryption/approval-mac.ts';
import { newApprovalId, newId } from '../platform/ids.ts';
import { createApprovalStore } from '../storage/approvals/approval-store.ts';
import { createApprovalNotices } from '../use-cases/approvals/approval-events.ts';
import { createClaimApproval } from '../use-cases/approvals/claim-approval.ts';
import { createApprovals } from '../use-cases/approvals/decide-approval.ts';
import { createRequestApproval } from '../use-cases/approvals/request-approval.ts';
import type { RequestApproval } from '../use-cases/scoped-tokens/ports.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export interface ApprovalsPart extends ServedPart {
  readonly requestApproval: RequestApproval;
}

export function composeApprovals(
  { config, database, provisioned, clock, buildNotice }: AppContext,
  parts: { readonly audit: AuditPart; readonly authentication: AuthenticationPart },
): ApprovalsPart {
  const shared = {
    store: createApprovalStore(database, parts.audit.seals),
    digest: createRequestDigest(provisioned.masterKeys),
    notices: createApprovalNotices(buildNotice),
    newId,
    clock,
  };
  const settings = {
    critical: { approvalsRequired: config.criticalApprovals, delaySeconds: config.criticalDelaySeconds },
    windowSeconds: config.approvalTtlSeconds,
  };
  const { denialLog } = parts.audit;
  const { authenticator, denyCaller } = parts.authentication;
  return {
    requestApproval: createRequestApproval({ ...shared, settings, newApprovalId }),
    addRoutes: (routes) =>
      addApprovalRoutes(routes, {
        approvals: createApprovals({ ...shared, denyCaller, denialLog }),
        claim: createClaimApproval({
          ...shared,
          generate: generateScopedToken,
          confirm: authenticator.confirm,
        }),
      }),
  };
}
