/** Delegating intent tokens. */

import { addDelegationRoutes } from '../http/routes/intent-token-delegation-routes.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { newId } from '../platform/ids.ts';
import { createDelegationStore } from '../storage/intent-tokens/delegation-store.ts';
import { createDelegateIntentToken } from '../use-cases/intent-tokens/delegate-intent-token.ts';
import type { TokenReadingDeps } from '../use-cases/intent-tokens/live-token.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

export function composeDelegation(
  { database }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly signingKeys: SigningKeysPart;
    readonly reading: TokenReadingDeps;
  },
): ServedPart {
  const { keyRing } = parts.signingKeys;
  const { authenticator, denyCaller } = parts.authentication;
  const delegate = createDelegateIntentToken({
    ...parts.reading,
    store: createDelegationStore(database),
    signer: keyRing.active,
    sha256: nodeSha256,
    newId,
    confirm: authenticator.confirm,
    denialLog: parts.audit.denialLog,
  });
  return { addRoutes: (routes) => addDelegationRoutes(routes, { delegate, denyCaller }) };
}
