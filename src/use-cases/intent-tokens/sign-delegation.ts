/** The claims of a delegation (contract sections 4.5, 4.7) and their signature. */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import type { Ed25519Jwk } from '../../domain/crypto/jwk.ts';
import { keyUri } from '../../domain/intent-tokens/delegate-key.ts';
import { delegatedClaims } from '../../domain/intent-tokens/delegated-claims.ts';
import { MAX_JWT_CHARACTERS } from '../../domain/intent-tokens/intent-jwt.ts';
import { canonicalText } from '../../domain/json/canonical-json.ts';
import { WritError } from '../../errors.ts';
import type { Caller } from '../authentication/ports.ts';
import type { LiveToken } from './live-token.ts';
import type { TokenSigner } from './ports.ts';
import type { SdkTokenFacts } from './sdk-token.ts';

export interface SignedDelegation extends SdkTokenFacts {
  readonly allowedActions: readonly string[];
  readonly totalSteps: number;
}

/** Rejects with `PAYLOAD_TOO_LARGE` for a token that no verifier would read. */
export async function signDelegation(
  deps: { readonly signer: () => TokenSigner; readonly sha256: Sha256; readonly newId: () => string },
  made: {
    readonly command: { readonly delegateKey: Ed25519Jwk; readonly targetAgent: string | undefined };
    readonly caller: Caller;
    readonly parent: LiveToken;
    readonly allowedActions: readonly string[];
    readonly issuedAtSeconds: number;
    readonly expiresAtSeconds: number;
  },
): Promise<SignedDelegation> {
  const { command, caller, parent, allowedActions, issuedAtSeconds, expiresAtSeconds } = made;
  const { jti: parentJti, rootJti, all, planHashHex, merkleRootHex, policy, treeSize } = parent.claims;
  const jti = deps.newId();
  const signer = deps.signer();
  const claims = delegatedClaims(all, {
    jti,
    parentJti,
    rootJti,
    issuedAtSeconds,
    expiresAtSeconds,
    keyId: caller.keyId,
    allowedActions,
    delegateKey: command.delegateKey,
    delegateUri: keyUri(command.delegateKey, deps.sha256),
    targetAgent: command.targetAgent,
  });
  const { jwt } = await signer.signJwt(JSON.stringify(claims));
  if (jwt.length > MAX_JWT_CHARACTERS) {
    throw new WritError(
      'PAYLOAD_TOO_LARGE',
      `The delegated token would be larger than ${MAX_JWT_CHARACTERS} bytes: name fewer actions.`,
    );
  }
  return {
    jti,
    jwt,
    signer,
    issuedAtSeconds,
    expiresAtSeconds,
    policyJson: policy,
    compositeIdentityHex: deps.sha256.hex(canonicalText(claims['identity'] ?? null)),
    digest: { planHashHex, merkleRootHex },
    allowedActions,
    totalSteps: treeSize / 2,
  };
}
