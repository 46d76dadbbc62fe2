/**
 * Decides whether a step of a good token may be carried out now (contract sections 4.4 and 4.6): first what the signed
 * policy says of the moment and the address, which is cheap, then the proof, then the operator's present policy.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import { type ActionDigestToProve, proveActionDigest } from '../../domain/intent-tokens/proven-digest.ts';
import { type ProvenStep, proveStep, type StepToProve } from '../../domain/intent-tokens/proven-step.ts';
import type { VerificationRefusal } from '../../domain/intent-tokens/verification-code.ts';
import { parseAgentPolicy, parsePolicy } from '../../domain/policies/policy.ts';
import { decideStep } from '../../domain/policies/policy-decision.ts';
import {
  bindsAtRuntime,
  type PolicyCircumstances,
  refuseAtRuntime,
} from '../../domain/policies/runtime-policy.ts';
import { WritError } from '../../errors.ts';
import { type Permit, USES_NOTHING } from './answer-verification.ts';
import type { LiveToken } from './live-token.ts';
import type { IntentTokenState } from './ports.ts';
import type { TokenQuestion } from './verification-question.ts';

/** `[mcp, action]`, of the plan; `mcp` is null for a step that has none. */
export type PlannedPair = readonly [mcp: string | null, action: string];

/** Throws `VALIDATION_ERROR` and `PLAN_NOT_CANONICALIZABLE` for a step that is not well-formed. */
export function decideTokenStep(
  live: LiveToken,
  { step: asked, consume, clientAddress }: TokenQuestion,
  { nowSeconds, sha256 }: { readonly nowSeconds: number; readonly sha256: Sha256 },
): Permit | VerificationRefusal {
  if (asked === undefined) return { use: USES_NOTHING };
  const runtime = decideRuntimePolicy(live, { nowSeconds, clientAddress });
  if ('code' in runtime) return runtime;
  const proven = prove(live, asked.read(), sha256);
  if (!proven.ok) return proven;
  const { step } = proven;
  const denied = deniedByOperator(live.state, pairsOf(live.state, step));
  if (denied !== undefined) return denied;
  return { step, use: { ...runtime, consumedStep: consume ? step.stepIndex : null } };
}

/** What is counted under the signed policy, or why it admits nothing at this moment or from this address. */
export function decideRuntimePolicy(
  { claims }: LiveToken,
  circumstances: PolicyCircumstances,
): { readonly rateLimit: number | null } | VerificationRefusal {
  if (!bindsAtRuntime(claims.policy)) return { rateLimit: null };
  const parsed = parsePolicy(claims.policy);
  // A newer server may have signed what this one does not know.
  if (!parsed.ok)
    return { code: 'POLICY_DENIED', reason: 'The signed policy has a part that is unknown here.' };
  return refuseAtRuntime(parsed.policy, circumstances) ?? { rateLimit: parsed.policy.rateLimit ?? null };
}

/** The operator's present word about each of these pairs. */
export function deniedByOperator(
  { agentId, agentPolicyText }: IntentTokenState,
  pairs: readonly PlannedPair[],
): VerificationRefusal | undefined {
  if (agentPolicyText === null) return undefined;
  const policy = parseAgentPolicy(JSON.parse(agentPolicyText));
  if (!policy.ok) throw new Error(`agent ${agentId} has a policy that does not parse`);
  for (const [mcp, action] of pairs) {
    const decision = decideStep(policy.policy, { mcp: mcp ?? undefined, action });
    if (!decision.allowed)
      return { code: 'POLICY_DENIED', reason: `The operator’s policy denies it: ${decision.reason}.` };
  }
  return undefined;
}

export const plannedPairs = ({ actionsText }: IntentTokenState): readonly PlannedPair[] =>
  JSON.parse(actionsText) as PlannedPair[];

/** An action proven without its step could be that of any pair in the plan, so each of them must be allowed. */
function pairsOf(state: IntentTokenState, { mcp, action }: ProvenStep): readonly PlannedPair[] {
  if (state.agentPolicyText === null) return [];
  return plannedPairs(state).filter((pair) => pair[1] === action && (mcp === null || pair[0] === mcp));
}

function prove({ claims, state }: LiveToken, asked: StepToProve | ActionDigestToProve, sha256: Sha256) {
  if ('actionDigestHex' in asked) {
    const actions = plannedPairs(state).map(([, action]) => action);
    return proveActionDigest(claims, asked, [...new Set(actions)], sha256);
  }
  const result = proveStep(claims, asked, sha256);
  if (!result.ok && result.unwritable !== undefined) {
    throw new WritError('PLAN_NOT_CANONICALIZABLE', `The step has no canonical form: ${result.unwritable}.`, {
      details: { reason: result.unwritable, pointer: '/step' },
    });
  }
  return result;
}
