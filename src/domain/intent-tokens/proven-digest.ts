/**
 * Decides whether the digest of an action belongs to a position of a verified token's plan, and whether the token allows
 * that action (contract section 4.6): as vendor plug-ins ask, who send the `value_digest` of a step proof.
 */

import type { Sha256 } from '../crypto/hashing.ts';
import type { ProofNode } from '../crypto/merkle.ts';
import type { IntentClaims } from './intent-claims.ts';
import type { StepProvingResult, StepRefusalCode } from './proven-step.ts';
import { verifyStep } from './step-proof.ts';

export interface ActionDigestToProve {
  readonly stepIndex: number;
  /** Of the canonical action: 64 lower-case hex. */
  readonly actionDigestHex: string;
  /** The name of which it must be the digest; undefined where the asker does not know it. */
  readonly action: string | undefined;
  readonly proof: readonly ProofNode[];
}

/** `planActions`: the names that the token's own row holds; a digest without a name is looked up among them. */
export function proveActionDigest(
  claims: Pick<IntentClaims, 'treeSize' | 'merkleRootHex' | 'allowedActions'>,
  { stepIndex, actionDigestHex: digestHex, action, proof }: ActionDigestToProve,
  planActions: readonly string[],
  sha256: Sha256,
): StepProvingResult {
  if (action !== undefined && digestOf(action, sha256) !== digestHex) {
    return refuse('STEP_MISMATCH', 'The digest given is not that of the action given.');
  }
  const { treeSize, merkleRootHex, allowedActions } = claims;
  const subject = { kind: 'action_digest', digestHex } as const;
  if (!verifyStep({ treeSize, merkleRootHex, stepIndex, subject, proof }, sha256).ok) {
    return refuse('MERKLE_PROOF_INVALID', 'The step is not proven to belong to the signed plan.');
  }
  const name = action ?? planActions.find((planned) => digestOf(planned, sha256) === digestHex);
  // A delegation's row holds the actions that it may use, and no others of the plan.
  if (name === undefined || allowedActions?.includes(name) === false) {
    return refuse('POLICY_DENIED', 'The delegation does not allow this action.');
  }
  return { ok: true, step: { stepIndex, action: name, mcp: null } };
}

/** Actions stand for themselves in canonical JSON; another text is no action, and its digest is nobody's. */
const digestOf = (action: string, sha256: Sha256): string => sha256.hex(`"${action}"`);

function refuse(code: StepRefusalCode, reason: string): StepProvingResult {
  return { ok: false, code, reason };
}
