/** Delegating intent tokens. */

import { addDelegationRoutes } from '../http/routes/intent-token-delegation-routes.ts';
import { decodeNodeBase64url } from '../keys/signing/node-base64url.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { newId } from '../platform/ids.ts';
import { createDelegationStore } from '../storage/intent-tokens/delegation-store.ts';
import { createIntentTokenReader } from '../storage/intent-tokens/intent-token-reader.ts';
import { createDelegateIntentToken } from '../use-cases/intent-tokens/delegate-intent-token.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

export function composeDelegation(
  { database, provisioned, clock }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly signingKeys: SigningKeysPart;
  },
): ServedPart {
  const { keyRing, checkSignature } = parts.signingKeys;
  const { authenticator, denyCaller } = parts.authentication;
  const delegate = createDelegateIntentToken({
    store: createDelegationStore(database),
    reader: createIntentTokenReader(database),
    signer: keyRing.active,
    checkSignature,
    decode: decodeNodeBase64url,
    sha256: nodeSha256,
    clock,
    newId,
    issuer: provisioned.issuer,
    audience: provisioned.audience,
    confirm: authenticator.confirm,
    denialLog: parts.audit.denialLog,
  });
  return { addRoutes: (routes) => addDelegationRoutes(routes, { delegate, denyCaller }) };
}
