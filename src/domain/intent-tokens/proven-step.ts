/**
 * Decides whether a step belongs to the plan of a verified token, and whether the token allows its action (contract
 * sections 4.3 and 4.6). The server and `writ/verify` decide it here.
 */

import type { Sha256 } from '../crypto/hashing.ts';
import type { ProofNode } from '../crypto/merkle.ts';
import type { CanonicalJsonReason } from '../json/canonical-json.ts';
import type { JsonObject } from '../json/strict-json.ts';
import type { IntentClaims } from './intent-claims.ts';
import { type StepSubject, verifyStep } from './step-proof.ts';

export interface StepToProve {
  /** From the request, never from the proof. */
  readonly stepIndex: number;
  /** The whole step as it stands in the plan; undefined proves `action` alone. */
  readonly step?: JsonObject | undefined;
  readonly action?: string | undefined;
  readonly mcp?: string | undefined;
  readonly proof: readonly ProofNode[];
  /** From `readStrictJson`: the objects of `step` with a number that was written non-zero and reads as 0. */
  readonly underflowed?: ReadonlySet<object>;
}

export interface ProvenStep {
  readonly stepIndex: number;
  readonly action: string;
  /** Null where the step has none, and where only the action was proven. */
  readonly mcp: string | null;
}

export type StepRefusalCode = 'STEP_MISMATCH' | 'MERKLE_PROOF_INVALID' | 'POLICY_DENIED';

export type StepProvingResult =
  | { readonly ok: true; readonly step: ProvenStep }
  | {
      readonly ok: false;
      readonly code: StepRefusalCode;
      readonly reason: string;
      /** Why the step has no canonical form, and so cannot have been signed. */
      readonly unwritable?: CanonicalJsonReason;
    };

/** Root and size come from the verified claims, the index from the request, and only siblings from the proof. */
export function proveStep(
  claims: Pick<IntentClaims, 'treeSize' | 'merkleRootHex' | 'allowedActions'>,
  request: StepToProve,
  sha256: Sha256,
): StepProvingResult {
  const { step, action, mcp, stepIndex, proof } = request;
  if (
    step !== undefined &&
    ((action !== undefined && step['action'] !== action) || (mcp !== undefined && step['mcp'] !== mcp))
  ) {
    return refuse('STEP_MISMATCH', 'The action or mcp given is not the step’s.');
  }
  const { treeSize, merkleRootHex, allowedActions } = claims;
  const verdict = verifyStep(
    { treeSize, merkleRootHex, stepIndex, subject: subjectOf(request), proof },
    sha256,
  );
  const provenAction = step === undefined ? action : step['action'];
  if (!verdict.ok || typeof provenAction !== 'string') {
    const refusal = refuse('MERKLE_PROOF_INVALID', 'The step is not proven to belong to the signed plan.');
    if (verdict.ok || verdict.reason === 'proof_invalid') return refusal;
    return { ...refusal, unwritable: verdict.reason };
  }
  if (allowedActions?.includes(provenAction) === false) {
    return refuse('POLICY_DENIED', 'The delegation does not allow this action.');
  }
  const provenMcp = step?.['mcp'];
  return {
    ok: true,
    step: { stepIndex, action: provenAction, mcp: typeof provenMcp === 'string' ? provenMcp : null },
  };
}

function subjectOf({ step, action, underflowed }: StepToProve): StepSubject {
  if (step === undefined) return { kind: 'action', action: action ?? '' };
  return { kind: 'step', step, ...(underflowed === undefined ? {} : { underflowed }) };
}

function refuse(code: StepRefusalCode, reason: string) {
  return { ok: false, code, reason } as const;
}
