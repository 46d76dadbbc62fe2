/**
 * The token object that the published SDKs read (contract section 4.5): its signature is over exactly the members
 * that their `verifyToken` recomputes. The key inside it proves nothing by itself; verifiers pin the JWKS.
 */

import { canonicalText } from '../../domain/json/canonical-json.ts';
import type { IssuedIntentToken } from './sign-intent-token.ts';

export interface SdkTokenFacts
  extends Pick<
    IssuedIntentToken,
    'jti' | 'jwt' | 'issuedAtSeconds' | 'expiresAtSeconds' | 'policyJson' | 'compositeIdentityHex' | 'signer'
  > {
  readonly digest: Pick<IssuedIntentToken['digest'], 'planHashHex' | 'merkleRootHex'>;
}

/** `allowedOperations`: of a delegation. */
export function sdkTokenOf(issued: SdkTokenFacts, allowedOperations?: readonly string[]) {
  const facts = {
    plan_hash: issued.digest.planHashHex,
    issued_at: issued.issuedAtSeconds,
    expires_at: issued.expiresAtSeconds,
    policy: issued.policyJson,
    identity: issued.compositeIdentityHex,
    public_key: issued.signer.publicKeyHex,
    version: '1.0',
  };
  const signed =
    allowedOperations === undefined ? facts : { ...facts, allowed_operations: [...allowedOperations] };
  return {
    ...signed,
    token_id: issued.jti,
    merkle_root: issued.digest.merkleRootHex,
    jwt_token: issued.jwt,
    signature: issued.signer.signText(canonicalText(signed)),
  };
}
