/**
 * What an intent token signs about a plan: its canonical hash and the root of a tree with two leaves per step, in the
 * shapes of contract section 4.3 (tree of RFC 9162 section 2.1). Each step is written and hashed once.
 */

import type { Sha256 } from '../crypto/hashing.ts';
import { inclusionProof, leafHash, type MerkleLevels, merkleLevelsHex, type Side } from '../crypto/merkle.ts';
import { type CanonicalJson, type CanonicalJsonReason, canonicalJson } from '../json/canonical-json.ts';
import type { Plan } from './plan.ts';

/** Of a plan and of a policy, each by itself; the length of a canonical text is its size in bytes. The caller decides it. */
export const MAX_CANONICAL_BYTES = 256 * 1024;

/** The proof of a step's action, as it goes over the wire. Its first sibling is the leaf hash of the whole step. */
export interface StepProof {
  readonly step_index: number;
  readonly path: string;
  /** Lower-case hex SHA-256 of the canonical action. */
  readonly value_digest: string;
  readonly leaf_index: number;
  readonly tree_size: number;
  /** From the leaf to the root. */
  readonly proof: readonly { readonly position: Side; readonly sibling_hash: string }[];
}

export interface PlanDigest {
  readonly canonicalText: string;
  readonly planHashHex: string;
  readonly merkleRootHex: string;
  /** Leaves: twice the number of steps. */
  readonly treeSize: number;
  readonly stepProofs: readonly StepProof[];
}

/** Where the action of a step stands in its plan. */
export function actionPath(stepIndex: number): string {
  return `/steps/[${stepIndex}]/action`;
}

/** Leaf 2i of the tree. `digestHex` is that of the canonical action. */
export function actionLeafHash(leaf: PlanLeaf, sha256: Sha256): Uint8Array {
  return leafHash(actionLeafText(leaf), sha256);
}

/** Leaf 2i + 1 of the tree. `digestHex` is that of the canonical step. */
export function stepLeafHash(leaf: PlanLeaf, sha256: Sha256): Uint8Array {
  return leafHash(stepLeafText(leaf), sha256);
}

interface PlanLeaf {
  readonly stepIndex: number;
  readonly digestHex: string;
}

function actionLeafText({ stepIndex, digestHex }: PlanLeaf): string {
  return `["${actionPath(stepIndex)}","${digestHex}"]`;
}

function stepLeafText({ stepIndex, digestHex }: PlanLeaf): string {
  return `["/steps/[${stepIndex}]","${digestHex}"]`;
}

/** `leafHash` in hex: the UTF-8 of U+0000 is the byte 0x00. */
function leafHashHex(text: string, sha256: Sha256): string {
  return sha256.hex(`\0${text}`);
}

/** The digest, or why the plan has no canonical form. `underflowed` comes from `readStrictJson`. */
export function digestPlan(
  plan: Plan,
  sha256: Sha256,
  underflowed?: ReadonlySet<object>,
):
  | { readonly ok: true; readonly digest: PlanDigest }
  | { readonly ok: false; readonly reason: CanonicalJsonReason } {
  const stepTexts: string[] = [];
  const actionDigests: string[] = [];
  const leaves: string[] = [];
  for (const [stepIndex, step] of plan.steps.entries()) {
    const written = canonicalJson(step.value, underflowed);
    if (!written.ok) return written;
    // The characters that an action may have stand for themselves in canonical JSON.
    const actionDigest = sha256.hex(`"${step.action}"`);
    leaves.push(leafHashHex(actionLeafText({ stepIndex, digestHex: actionDigest }), sha256));
    leaves.push(leafHashHex(stepLeafText({ stepIndex, digestHex: sha256.hex(written.text) }), sha256));
    stepTexts.push(written.text);
    actionDigests.push(actionDigest);
  }
  const whole = writePlan(plan, stepTexts, underflowed);
  if (!whole.ok) return whole;
  const levels = merkleLevelsHex(leaves, sha256);
  const digest: PlanDigest = {
    canonicalText: whole.text,
    planHashHex: sha256.hex(whole.text),
    // A plan has a step, so there is a root.
    merkleRootHex: levels.at(-1)?.[0] ?? '',
    treeSize: leaves.length,
    stepProofs: proveSteps(levels, actionDigests),
  };
  return { ok: true, digest };
}

/** The steps are the bulk of a plan: their texts are put in where the list of steps belongs. */
function writePlan(
  plan: Plan,
  stepTexts: readonly string[],
  underflowed?: ReadonlySet<object>,
): CanonicalJson {
  const { steps } = plan.value;
  const written = new Map<object, string>();
  if (Array.isArray(steps)) written.set(steps, `[${stepTexts.join(',')}]`);
  return canonicalJson(plan.value, underflowed, written);
}

function proveSteps(levels: MerkleLevels<string>, actionDigests: readonly string[]): StepProof[] {
  return actionDigests.map((digest, stepIndex) => ({
    step_index: stepIndex,
    path: actionPath(stepIndex),
    value_digest: digest,
    leaf_index: 2 * stepIndex,
    tree_size: 2 * actionDigests.length,
    proof: inclusionProof(levels, 2 * stepIndex).map(({ position, sibling }) => ({
      position,
      sibling_hash: sibling,
    })),
  }));
}
