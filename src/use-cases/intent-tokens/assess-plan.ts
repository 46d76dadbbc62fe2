/**
 * What a request to sign a plan amounts to before anybody decides it: the plan read, canonicalised and hashed, the
 * policy read, the validity settled (contract sections 4.1 to 4.4). Pure but for the hash function it is given.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import { validateMetadata } from '../../domain/formats/metadata.ts';
import { readValiditySeconds } from '../../domain/formats/ttl.ts';
import { authorizationDetailsMember } from '../../domain/intent-tokens/authorization-details.ts';
import { type Plan, parsePlan } from '../../domain/intent-tokens/plan.ts';
import { digestPlan, MAX_CANONICAL_BYTES, type PlanDigest } from '../../domain/intent-tokens/plan-digest.ts';
import { canonicalJson } from '../../domain/json/canonical-json.ts';
import type { JsonObject, JsonValue } from '../../domain/json/strict-json.ts';
import { DEFAULT_POLICY_JSON, type Policy, parsePolicy } from '../../domain/policies/policy.ts';
import type { PolicyValidation } from '../../domain/policies/policy-decision.ts';
import { WritError } from '../../errors.ts';

export interface PlanRequest {
  readonly plan: JsonValue;
  /** Undefined means everything is allowed. */
  readonly policy: JsonValue | undefined;
  /** Numbers of plan and policy that were written non-zero and read as 0; from `readStrictJson`. */
  readonly underflowed: ReadonlySet<object>;
  /** Two spellings of one number; absent means 60 seconds. */
  readonly validity: {
    readonly expires_in: number | undefined;
    readonly validity_seconds: number | undefined;
  };
  readonly metadata: JsonObject | undefined;
  /** Whether the token names its steps to whoever reads it (RFC 9396). */
  readonly authorizationDetails: boolean;
}

/** What is known of a plan before anything is signed: the answer of a dry run. */
export interface PlanAssessment {
  readonly digest: PlanDigest;
  readonly policyJson: JsonValue;
  readonly policyText: string;
  readonly policyHashHex: string;
  readonly validation: PolicyValidation;
  readonly totalSteps: number;
}

export interface AssessedPlan {
  readonly plan: Plan;
  readonly policy: Policy;
  readonly validitySeconds: number;
  /** JSON text: what the plan adds to the claims; undefined where the request leaves it out. */
  readonly detailsMember: string | undefined;
  readonly assessment: Omit<PlanAssessment, 'validation'>;
}

/**
 * Throws `INVALID_TTL`, `TTL_OUT_OF_RANGE`, `VALIDATION_ERROR`, `INVALID_PLAN`, `INVALID_POLICY`,
 * `PLAN_NOT_CANONICALIZABLE` or `PAYLOAD_TOO_LARGE`.
 */
export function assessPlan(command: PlanRequest, sha256: Sha256): AssessedPlan {
  const validitySeconds = readValidity(command.validity);
  checkMetadata(command.metadata);
  const plan = parsePlan(command.plan);
  if (!plan.ok) throw new WritError('INVALID_PLAN', plan.message, { details: { pointer: plan.pointer } });
  const digested = digestPlan(plan.plan, sha256, command.underflowed);
  if (!digested.ok) throw notCanonicalizable('plan', digested.reason);
  requireBounded('plan', digested.digest.canonicalText);
  const { policy, policyJson, policyText } =
    command.policy === undefined ? DEFAULT_POLICY : readPolicy(command.policy, command.underflowed);
  return {
    plan: plan.plan,
    policy,
    validitySeconds,
    detailsMember: command.authorizationDetails ? authorizationDetailsMember(plan.plan.steps) : undefined,
    assessment: {
      digest: digested.digest,
      policyJson,
      policyText,
      policyHashHex: sha256.hex(policyText),
      totalSteps: plan.plan.steps.length,
    },
  };
}

interface ReadPolicy {
  readonly policy: Policy;
  readonly policyJson: JsonValue;
  readonly policyText: string;
}

/** Read once. */
const DEFAULT_POLICY: ReadPolicy = readPolicy(DEFAULT_POLICY_JSON, new Set());

function readPolicy(policyJson: JsonValue, underflowed: ReadonlySet<object>): ReadPolicy {
  const parsed = parsePolicy(policyJson);
  if (!parsed.ok) {
    throw new WritError('INVALID_POLICY', `policy${parsed.pointer}: ${parsed.message}`, {
      details: { pointer: `/policy${parsed.pointer}` },
    });
  }
  const written = canonicalJson(policyJson, underflowed);
  if (!written.ok) throw notCanonicalizable('policy', written.reason);
  // It is in the token, which somebody has to send to be verified.
  requireBounded('policy', written.text);
  return { policy: parsed.policy, policyJson, policyText: written.text };
}

function requireBounded(where: 'plan' | 'policy', canonical: string): void {
  if (canonical.length <= MAX_CANONICAL_BYTES) return;
  throw new WritError(
    'PAYLOAD_TOO_LARGE',
    `The canonical ${where} is larger than ${MAX_CANONICAL_BYTES} bytes.`,
  );
}

function readValidity({ expires_in: short, validity_seconds: long }: PlanRequest['validity']): number {
  const pointer = short === undefined ? '/validity_seconds' : '/expires_in';
  if (short !== undefined && long !== undefined && short !== long) {
    throw new WritError('VALIDATION_ERROR', 'expires_in and validity_seconds differ; give one of them.', {
      details: { pointer },
    });
  }
  const read = readValiditySeconds(short ?? long);
  if (read.ok) return read.seconds;
  throw new WritError(read.code, 'A validity is a whole number of seconds from 1 to 86400.', {
    details: { pointer },
  });
}

function checkMetadata(metadata: JsonObject | undefined): void {
  const fault = metadata === undefined ? undefined : validateMetadata(metadata);
  if (fault === undefined) return;
  throw new WritError('VALIDATION_ERROR', `metadata ${fault}.`, { details: { pointer: '/metadata' } });
}

function notCanonicalizable(where: 'plan' | 'policy', reason: string): WritError {
  return new WritError('PLAN_NOT_CANONICALIZABLE', `The ${where} has no canonical form: ${reason}.`, {
    details: { reason, pointer: `/${where}` },
  });
}
