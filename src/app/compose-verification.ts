/** Verifying intent tokens and the steps of their plans online. */

import { addToolEnforcementRoutes } from '../http/routes/verification-enforcement-routes.ts';
import { addPluginVerificationRoutes } from '../http/routes/verification-plugin-routes.ts';
import { addVerificationRoutes } from '../http/routes/verification-routes.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { newId } from '../platform/ids.ts';
import { createIntentTokenUses } from '../storage/intent-tokens/intent-token-use-store.ts';
import { createVerificationEvents } from '../storage/intent-tokens/verification-events.ts';
import { createEnforcePlannedTool } from '../use-cases/intent-tokens/enforce-planned-tool.ts';
import type { TokenReadingDeps } from '../use-cases/intent-tokens/live-token.ts';
import { createVerifyIntentToken } from '../use-cases/intent-tokens/verify-intent-token.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export function composeVerification(
  { database }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly reading: TokenReadingDeps;
  },
): ServedPart {
  const { denialLog } = parts.audit;
  const deps = {
    ...parts.reading,
    uses: createIntentTokenUses(database),
    verifications: createVerificationEvents(database),
    denialLog,
    confirm: parts.authentication.authenticator.confirm,
    sha256: nodeSha256,
    newId,
  };
  const verify = createVerifyIntentToken(deps);
  const enforce = createEnforcePlannedTool(deps);
  return {
    addRoutes: (routes) => {
      addVerificationRoutes(routes, verify);
      addPluginVerificationRoutes(routes, verify);
      addToolEnforcementRoutes(routes, enforce);
    },
  };
}
