/** Scoped tokens: issued, listed, revoked, introspected. */

import { addScopedTokenRoutes } from '../http/routes/scoped-token-routes.ts';
import { generateScopedToken, hashScopedToken } from '../keys/credentials/scoped-token-secret.ts';
import { newId } from '../platform/ids.ts';
import { createScopedTokenStore } from '../storage/scoped-tokens/scoped-token-store.ts';
import type { IntrospectIntentToken } from '../use-cases/intent-tokens/introspect-intent-token.ts';
import { createIntrospectToken } from '../use-cases/scoped-tokens/introspect-token.ts';
import { createIssueScopedToken } from '../use-cases/scoped-tokens/issue-scoped-token.ts';
import { createScopedTokenManager } from '../use-cases/scoped-tokens/manage-scoped-tokens.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { ApprovalsPart } from './compose-approvals.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export function composeScopedTokens(
  { database, clock }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly approvals: ApprovalsPart;
    readonly introspectIntentToken: IntrospectIntentToken;
  },
): ServedPart {
  const { authenticator, denyCaller } = parts.authentication;
  const store = createScopedTokenStore(database, parts.audit.seals);
  const issue = createIssueScopedToken({
    store,
    generate: generateScopedToken,
    clock,
    newId,
    confirm: authenticator.confirm,
    denialLog: parts.audit.denialLog,
    requestApproval: parts.approvals.requestApproval,
  });
  return {
    addRoutes: (routes) =>
      addScopedTokenRoutes(routes, {
        issue,
        tokens: createScopedTokenManager({ store, newId, denyCaller }),
        introspect: createIntrospectToken({
          store,
          hashToken: hashScopedToken,
          introspectIntentToken: parts.introspectIntentToken,
        }),
      }),
  };
}
