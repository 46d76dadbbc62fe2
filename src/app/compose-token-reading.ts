/** What everything that is presented an intent token reads it with: one of each, so that their questions share statements. */

import { decodeNodeBase64url } from '../keys/signing/node-base64url.ts';
import { createIntentTokenReader } from '../storage/intent-tokens/intent-token-reader.ts';
import type { TokenReadingDeps } from '../use-cases/intent-tokens/live-token.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

export function composeTokenReading(
  { database, provisioned, clock }: AppContext,
  { audit, signingKeys }: { readonly audit: AuditPart; readonly signingKeys: SigningKeysPart },
): TokenReadingDeps {
  const { checkSignature, keyRing } = signingKeys;
  const { issuer, audience } = provisioned;
  const reader = createIntentTokenReader(database, audit.seals);
  return {
    reader,
    checkSignature,
    readKeysAgain: keyRing.readAgain,
    decode: decodeNodeBase64url,
    clock,
    issuer,
    audience,
  };
}
