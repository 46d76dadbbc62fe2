/**
 * Is this token good, and is this step one of its plan's? (contract section 4.6). Every well-formed question is
 * answered; a question that is not is refused. What the token says is verified first, then what the database knows
 * of it, then the step against the verified root.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import type { IntentClaims } from '../../domain/intent-tokens/intent-claims.ts';
import { type CheckSignature, verifyIntentJwt } from '../../domain/intent-tokens/intent-jwt.ts';
import { type ProvenStep, proveStep, type StepToProve } from '../../domain/intent-tokens/proven-step.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import { parseAgentPolicy } from '../../domain/policies/policy.ts';
import { decideStep } from '../../domain/policies/policy-decision.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { AuditTrail, RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import type { IntentTokenReader, IntentTokenState, VerificationRequest } from './ports.ts';

export type VerificationCode =
  | 'VALID'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_INVALID'
  | 'TOKEN_REVOKED'
  | 'MERKLE_PROOF_INVALID'
  | 'STEP_MISMATCH'
  | 'POLICY_DENIED';

export interface Verification {
  readonly code: VerificationCode;
  /** Absent for `VALID`. */
  readonly reason?: string;
  /** As signed; present once the token itself is good. */
  readonly claims?: JsonObject;
  readonly step?: { readonly step_index: number; readonly action: string; readonly mcp: string | null };
}

export interface VerifyIntentTokenDeps {
  readonly reader: IntentTokenReader;
  readonly trail: AuditTrail;
  readonly checkSignature: CheckSignature;
  readonly sha256: Sha256;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly issuer: string;
  readonly audience: string;
}

/** `caller` undefined: anybody may ask, but only a keyed verification is put on record. */
export type VerifyIntentToken = (
  question: VerificationRequest,
  caller: Caller | undefined,
  context: RequestContext,
) => Promise<Verification>;

export function createVerifyIntentToken(deps: VerifyIntentTokenDeps): VerifyIntentToken {
  return async (question, caller, context) => {
    const { verification, jti } = await evaluate(deps, question);
    if (caller !== undefined)
      await recordVerification(deps, { verification, jti, question, caller, context });
    return verification;
  };
}

async function evaluate(
  deps: VerifyIntentTokenDeps,
  question: VerificationRequest,
): Promise<{ verification: Verification; jti: string | undefined }> {
  const result = verifyIntentJwt(question.jwt, {
    issuer: deps.issuer,
    audience: deps.audience,
    nowSeconds: deps.clock.now().getTime() / 1000,
    checkSignature: deps.checkSignature,
  });
  if (!result.ok)
    return {
      verification: { code: result.code, reason: `The token is refused: ${result.reason}.` },
      jti: undefined,
    };
  const { claims } = result;
  const state = await deps.reader.findState(claims.jti);
  return { verification: judgeLive(deps, question, claims, state), jti: claims.jti };
}

function judgeLive(
  deps: VerifyIntentTokenDeps,
  question: VerificationRequest,
  claims: IntentClaims,
  state: IntentTokenState | undefined,
): Verification {
  if (state === undefined || state.agentId !== claims.clientId)
    return refuse('TOKEN_INVALID', 'It is not on record here.');
  const differing = question.statedBeside.find(({ claim, value }) => claims.all[claim] !== value);
  if (differing !== undefined) {
    return refuse('TOKEN_INVALID', `${differing.member} beside the JWT is not what was signed.`);
  }
  if (state.revoked) return refuse('TOKEN_REVOKED', 'The token, its agent or an ancestor was revoked.');
  if (state.expired) return refuse('TOKEN_EXPIRED', 'The token has expired.');
  if (question.step === undefined) return { code: 'VALID', claims: claims.all };
  return { claims: claims.all, ...judgeStep(deps, question.step, claims, state) };
}

function refuse(code: Exclude<VerificationCode, 'VALID'>, reason: string): Verification {
  return { code, reason };
}

function judgeStep(
  deps: VerifyIntentTokenDeps,
  asked: StepToProve,
  claims: IntentClaims,
  state: IntentTokenState,
): Verification {
  requireNoRuntimePolicy(claims.policy);
  const result = proveStep(claims, asked, deps.sha256);
  if (!result.ok) return refuse(result.code, result.reason);
  const { stepIndex, action, mcp } = result.step;
  const denied = deniedByAgentPolicy(result.step, state);
  return denied ?? { code: 'VALID', step: { step_index: stepIndex, action, mcp } };
}

/**
 * The operator's present word. An action proven without its step could be that of any pair in the plan, so each of
 * them must be allowed.
 */
function deniedByAgentPolicy(proven: ProvenStep, state: IntentTokenState): Verification | undefined {
  if (state.agentPolicyText === null) return undefined;
  const policy = parseAgentPolicy(JSON.parse(state.agentPolicyText));
  if (!policy.ok) throw new Error(`agent ${state.agentId} has a policy that does not parse`);
  const pairs = (JSON.parse(state.actionsText) as [string | null, string][]).filter(
    ([mcp, action]) => action === proven.action && (proven.mcp === null || mcp === proven.mcp),
  );
  for (const [mcp, action] of pairs) {
    const decision = decideStep(policy.policy, { mcp: mcp ?? undefined, action });
    if (!decision.allowed)
      return refuse('POLICY_DENIED', `The operator’s policy denies it: ${decision.reason}.`);
  }
  return undefined;
}

/** These bind when a step is verified; a server that does not enforce them yet must not say "valid" in spite of them. */
const RUNTIME_MEMBERS = ['rate_limit', 'ip_whitelist', 'time_restrictions'] as const;

function requireNoRuntimePolicy(policy: JsonObject): void {
  const member = RUNTIME_MEMBERS.find((name) => policy[name] !== undefined);
  if (member === undefined) return;
  throw new WritError(
    'VALIDATION_ERROR',
    `This server does not enforce ${member} of a token’s policy yet, so it verifies no step of it.`,
    {
      details: { pointer: '/token', member },
    },
  );
}

function recordVerification(
  deps: VerifyIntentTokenDeps,
  made: {
    verification: Verification;
    jti: string | undefined;
    question: VerificationRequest;
    caller: Caller;
    context: RequestContext;
  },
): Promise<void> {
  const { verification, jti, question, caller, context } = made;
  const event = auditEvent(caller.principal, context, {
    id: deps.newId(),
    type: 'intent.verified',
    // Of a token that is not ours nothing is known, not even its name.
    resource: { type: 'intent_token', id: jti ?? 'unknown' },
    metadata: {
      key_id: caller.keyId,
      code: verification.code,
      ...(question.step === undefined ? {} : { step_index: question.step.stepIndex }),
    },
  });
  return deps.trail.append(event);
}
