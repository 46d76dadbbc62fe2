/**
 * What an `Idempotency-Key` answers (contract section 4.1): the same request gets the same token, rebuilt and compared
 * with what was recorded; another request under the key is refused.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import { decidePlan } from '../../domain/policies/policy-decision.ts';
import { WritError } from '../../errors.ts';
import type { Caller } from '../authentication/ports.ts';
import type { AssessedPlan } from './assess-plan.ts';
import type { IdempotencyRecord, IdempotencyScope, TokenSigner } from './ports.ts';
import {
  type IssuedIntentToken,
  type OnBehalfOf,
  startSigning,
  type UnsignedIntentToken,
} from './sign-intent-token.ts';

/** The key as sent and what it binds: the endpoint and the hash of the body as sent. */
export interface IdempotencyKey {
  readonly key: string;
  readonly path: string;
  readonly bodySha256Hex: string;
}

export interface Idempotency {
  readonly scope: IdempotencyScope;
  readonly bodySha256Hex: string;
}

export function idempotencyScope({ path, key }: IdempotencyKey, { principal }: Caller): IdempotencyScope {
  return { agentId: principal.id, path, key };
}

export const keyReused = (): WritError =>
  new WritError('IDEMPOTENCY_KEY_REUSED', 'This Idempotency-Key was used for another request.');

/** The token was granted idempotency, so its policy is not decided again; what differs from the record is never given out. */
export async function rebuildToken(
  deps: { readonly findSigner: (kid: string) => TokenSigner | undefined; readonly sha256: Sha256 },
  repeated: {
    readonly assessed: AssessedPlan;
    readonly onBehalfOf: OnBehalfOf;
    readonly idempotency: Idempotency;
    readonly earlier: IdempotencyRecord;
    readonly caller: Caller;
  },
): Promise<IssuedIntentToken> {
  const { assessed, onBehalfOf, idempotency, earlier, caller } = repeated;
  const signer = deps.findSigner(earlier.kid);
  if (earlier.bodySha256Hex !== idempotency.bodySha256Hex || signer === undefined) throw keyReused();
  const granted = decidePlan([{ source: 'request', policy: assessed.policy }], assessed.plan.steps);
  const assessment = { ...assessed.assessment, validation: granted.policy_validation };
  const { token, signature } = startSigning(
    {
      assessment,
      detailsMember: assessed.detailsMember,
      onBehalfOf,
      principal: caller.principal,
      fields: earlier,
      signer,
    },
    deps.sha256,
  );
  const signed = await signature;
  if (deps.sha256.hex(signed.jwt) !== earlier.jwtSha256Hex) throw keyReused();
  return Object.assign(token, signed);
}

/** What has to be known to rebuild the token, and to know it again. */
export function idempotencyRecordOf(
  issued: UnsignedIntentToken,
  jwt: string,
  idempotency: Idempotency,
  sha256: Sha256,
): IdempotencyRecord {
  const { jti, planId, keyId, issuer, audience, issuedAtSeconds, expiresAtSeconds } = issued;
  return {
    jti,
    planId,
    keyId,
    issuer,
    audience,
    issuedAtSeconds,
    expiresAtSeconds,
    kid: issued.signer.kid,
    bodySha256Hex: idempotency.bodySha256Hex,
    jwtSha256Hex: sha256.hex(jwt),
  };
}
