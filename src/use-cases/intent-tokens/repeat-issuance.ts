/**
 * What an `Idempotency-Key` answers (contract section 4.1): the same request gets the same token, rebuilt and compared
 * with what was recorded, as long as it would be granted now; another request under the key is refused.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import { RETRY } from '../retry-guarded-write.ts';
import type { PlanAssessment } from './assess-plan.ts';
import type {
  IdempotencyRecord,
  IdempotencyScope,
  IntentTokenStore,
  RepeatableToken,
  RepeatStanding,
  TokenSigner,
} from './ports.ts';
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

const keyReused = (): WritError =>
  new WritError('IDEMPOTENCY_KEY_REUSED', 'This Idempotency-Key was used for another request.');

/** What was said under a key cannot be said otherwise. Throws `IDEMPOTENCY_KEY_REUSED`. */
export function requireSameBody(
  earlier: IdempotencyRecord | undefined,
  now: { readonly bodySha256Hex: string } | undefined,
): void {
  if (earlier !== undefined && earlier.bodySha256Hex !== now?.bodySha256Hex) throw keyReused();
}

export interface RepeatIssuanceDeps {
  readonly store: Pick<IntentTokenStore, 'recordRepeat'>;
  /** By kid; undefined for a key that is no longer ours. */
  readonly findSigner: (kid: string) => TokenSigner | undefined;
  /** Reads the signing keys again: a read that begins after the call. */
  readonly readKeysAgain: () => Promise<void>;
  readonly sha256: Sha256;
  readonly newId: () => string;
  readonly denialLog: Pick<DenialLog, 'record'>;
}

export interface RepeatedIssuance {
  readonly assessment: PlanAssessment;
  readonly detailsMember: string | undefined;
  readonly onBehalfOf: OnBehalfOf;
  readonly idempotency: Idempotency;
  readonly earlier: RepeatableToken;
  readonly caller: Caller;
  readonly context: RequestContext;
}

/**
 * Hands the token out once more, which is a grant of now: the policy was decided again before, and what the token and
 * its key have become since is judged here and again in the guarded write. What differs from the record is never given
 * out. Rejects with `IDEMPOTENCY_KEY_SPENT`, which is on record, `IDEMPOTENCY_KEY_REUSED` and `INTEGRITY_ERROR`.
 */
export async function repeatIssuance(
  deps: RepeatIssuanceDeps,
  repeated: RepeatedIssuance,
): Promise<IssuedIntentToken | typeof RETRY> {
  const { earlier, caller, idempotency, context } = repeated;
  if (earlier.standing === 'forged') return denyForged(deps, repeated);
  if (earlier.standing !== 'live') return denySpent(deps, repeated, earlier.standing);
  const rebuilt = await rebuildToken(deps, repeated);
  const event = auditEvent(caller.principal, context, {
    id: deps.newId(),
    type: 'intent.repeated',
    resource: { type: 'intent_token', id: earlier.jti },
    metadata: { key_id: caller.keyId, issued_to: earlier.keyId },
  });
  const isWritten = await deps.store.recordRepeat({
    scope: idempotency.scope,
    jti: earlier.jti,
    callerKeyId: caller.keyId,
    agentRevision: caller.principal.revision,
    event,
  });
  return isWritten ? rebuilt : RETRY;
}

async function rebuildToken(
  deps: RepeatIssuanceDeps,
  { assessment, detailsMember, onBehalfOf, earlier, caller }: RepeatedIssuance,
): Promise<IssuedIntentToken> {
  let signer = deps.findSigner(earlier.kid);
  if (signer === undefined) {
    // Another process may have signed it with a key that was made a moment ago.
    await deps.readKeysAgain();
    signer = deps.findSigner(earlier.kid);
  }
  if (signer === undefined) throw keyReused();
  const { principal } = caller;
  const { token, signature } = startSigning(
    { assessment, detailsMember, onBehalfOf, principal, fields: earlier, signer },
    deps.sha256,
  );
  const signed = await signature;
  if (deps.sha256.hex(signed.jwt) !== earlier.jwtSha256Hex) throw keyReused();
  return Object.assign(token, signed);
}

type SpentStanding = Exclude<RepeatStanding, 'live' | 'forged'>;

const WHY_SPENT: Readonly<Record<SpentStanding, string>> = {
  expired: 'has expired',
  revoked: 'was revoked',
  key_ended: 'was issued to an API key that is revoked or has expired',
};

async function denySpent(
  deps: RepeatIssuanceDeps,
  { earlier, caller, context }: RepeatedIssuance,
  standing: SpentStanding,
): Promise<never> {
  const code = 'IDEMPOTENCY_KEY_SPENT';
  await deps.denialLog.record({
    type: 'intent.denied',
    code,
    actor: caller.principal,
    credentialId: caller.keyId,
    resource: { type: 'intent_token', id: earlier.jti },
    metadata: { reason: standing },
    context,
  });
  throw new WritError(
    code,
    `The token of this Idempotency-Key ${WHY_SPENT[standing]}: ask for a new token with a new key.`,
    { details: { reason: standing } },
  );
}

/** That the row of the issuing key does not fit is on record by itself; this says who asked. */
function denyForged(
  deps: RepeatIssuanceDeps,
  { earlier, caller, context }: RepeatedIssuance,
): Promise<never> {
  const error = new WritError(
    'INTEGRITY_ERROR',
    'What is stored of the API key that this token was issued to was changed, so nothing is granted.',
    { detail: `the row of key ${earlier.keyId} or of its agent does not fit its seal` },
  );
  const requester = { actor: caller.principal, credentialId: caller.keyId, context };
  const resource = { type: 'intent_token', id: earlier.jti };
  return deny(deps.denialLog, requester, error, { type: 'intent.denied', resource });
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
