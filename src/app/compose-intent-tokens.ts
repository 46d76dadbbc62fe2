/** Intent tokens: issued and introspected. */

import { addIntentTokenRoutes } from '../http/routes/intent-token-routes.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { newId } from '../platform/ids.ts';
import { createIntentTokenStore } from '../storage/intent-tokens/intent-token-store.ts';
import {
  createIntrospectIntentToken,
  type IntrospectIntentToken,
} from '../use-cases/intent-tokens/introspect-intent-token.ts';
import { createIssueIntentToken } from '../use-cases/intent-tokens/issue-intent-token.ts';
import type { TokenReadingDeps } from '../use-cases/intent-tokens/live-token.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

export interface IntentTokensPart extends ServedPart {
  readonly introspectIntentToken: IntrospectIntentToken;
}

export function composeIntentTokens(
  { database, provisioned, clock }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly signingKeys: SigningKeysPart;
    readonly reading: TokenReadingDeps;
  },
): IntentTokensPart {
  const { keyRing } = parts.signingKeys;
  const { issuer, audience } = provisioned;
  const issue = createIssueIntentToken({
    store: createIntentTokenStore(database, parts.audit.seals),
    signer: keyRing.active,
    findSigner: keyRing.find,
    readKeysAgain: keyRing.readAgain,
    sha256: nodeSha256,
    clock,
    newId,
    issuer,
    audience,
    confirm: parts.authentication.authenticator.confirm,
    denialLog: parts.audit.denialLog,
  });
  const sha256Hex = (bytes: Uint8Array): string => Buffer.from(nodeSha256.bytes(bytes)).toString('hex');
  return {
    introspectIntentToken: createIntrospectIntentToken(parts.reading),
    addRoutes: (routes) => {
      addIntentTokenRoutes(routes, { issue, sha256Hex });
    },
  };
}
