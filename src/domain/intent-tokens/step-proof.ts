/**
 * Answers whether one step, or only its action, belongs to a plan whose root and size a verified token states (contract
 * section 4.3). Everything compared is computed here from the question; a proof contributes nothing but siblings.
 */

import { DIGEST_HEX, equalInConstantTime, hexToBytes, type Sha256 } from '../crypto/hashing.ts';
import { type ProofNode, verifyInclusion } from '../crypto/merkle.ts';
import { type CanonicalJsonReason, canonicalJson } from '../json/canonical-json.ts';
import { escapePointerToken } from '../json/json-pointer.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json/strict-json.ts';
import { actionLeafHash, stepLeafHash } from './plan-digest.ts';

/**
 * What is asked about: the whole step, which settles its action, `mcp` and every parameter; its action alone; or the
 * digest of its canonical action (`value_digest` of a step proof). `underflowed` comes from `readStrictJson`.
 */
export type StepSubject =
  | { readonly kind: 'step'; readonly step: JsonObject; readonly underflowed?: ReadonlySet<object> }
  | { readonly kind: 'action'; readonly action: string }
  | { readonly kind: 'action_digest'; readonly digestHex: string };

export interface StepVerification {
  /** From the verified token. */
  readonly treeSize: number;
  /** From the verified token; 64 lower-case hex. */
  readonly merkleRootHex: string;
  /** From the caller, never from the proof. */
  readonly stepIndex: number;
  readonly subject: StepSubject;
  /** Of the action (leaf 2i), from the leaf to the root. */
  readonly proof: readonly ProofNode[];
}

/** `proof_invalid` for every way of not being in the plan; the others say why the subject has no canonical form. */
export type StepVerdict = { readonly ok: true } | StepRefusal;

export interface StepRefusal {
  readonly ok: false;
  readonly reason: 'proof_invalid' | CanonicalJsonReason;
}

export type ParsedStepProof =
  | { readonly ok: true; readonly proof: readonly ProofNode[] }
  | { readonly ok: false; readonly pointer: string; readonly message: string };

const INVALID: StepRefusal = { ok: false, reason: 'proof_invalid' };

/** @throws TypeError when a given step holds something that is not JSON. */
export function verifyStep(question: StepVerification, sha256: Sha256): StepVerdict {
  const { treeSize, merkleRootHex, stepIndex, proof } = question;
  const digests = digestSubject(question.subject, sha256);
  if (!digests.ok) return digests;
  // Two leaves per step: the last leaf of an odd tree would be an action whose step nothing binds.
  if (!Number.isSafeInteger(treeSize) || treeSize % 2 !== 0) return INVALID;
  if (!Number.isSafeInteger(stepIndex) || !isDigestHex(merkleRootHex)) return INVALID;
  const leafHash = actionLeafHash({ stepIndex, digestHex: digests.actionHex }, sha256);
  const root = hexToBytes(merkleRootHex);
  if (!verifyInclusion({ index: 2 * stepIndex, treeSize, leafHash, proof, root }, sha256)) return INVALID;
  if (digests.stepHex === undefined) return { ok: true };
  // The sibling of leaf 2i is leaf 2i + 1, the whole step: a proof of the action is one of the step as well.
  const sibling = proof[0]?.sibling;
  const expected = stepLeafHash({ stepIndex, digestHex: digests.stepHex }, sha256);
  return sibling !== undefined && equalInConstantTime(sibling, expected) ? { ok: true } : INVALID;
}

function digestSubject(
  subject: StepSubject,
  sha256: Sha256,
): { readonly ok: true; readonly actionHex: string; readonly stepHex: string | undefined } | StepRefusal {
  if (subject.kind === 'action_digest') {
    const { digestHex } = subject;
    return isDigestHex(digestHex) ? { ok: true, actionHex: digestHex, stepHex: undefined } : INVALID;
  }
  const { action } = subject.kind === 'step' ? subject.step : subject;
  if (typeof action !== 'string') return INVALID;
  const actionText = canonicalJson(action);
  if (!actionText.ok) return actionText;
  const actionHex = sha256.hex(actionText.text);
  if (subject.kind === 'action') return { ok: true, actionHex, stepHex: undefined };
  const stepText = canonicalJson(subject.step, subject.underflowed);
  return stepText.ok ? { ok: true, actionHex, stepHex: sha256.hex(stepText.text) } : stepText;
}

/** What an element of `step_proofs` says about its proof; null counts as absent. */
const STATEMENTS: ReadonlyMap<string, (value: JsonValue) => boolean> = new Map([
  ['step_index', isCount],
  ['leaf_index', isCount],
  ['tree_size', isCount],
  ['path', (value) => typeof value === 'string'],
  ['value_digest', isDigestHex],
]);

/**
 * Reads the siblings of a proof: a bare list, or a whole element of `step_proofs`. What such an element states beside
 * them is checked in form only: index and size are the verifier's to know. `pointer` (RFC 6901) is where `value` stands.
 */
export function parseStepProof(value: JsonValue, pointer = '/proof'): ParsedStepProof {
  if (Array.isArray(value)) return parseNodes(value, pointer);
  if (!isJsonObject(value))
    return refuse(pointer, 'proof must be a list of siblings or an element of step_proofs');
  const { proof, ...statements } = value;
  for (const [name, statement] of Object.entries(statements)) {
    const at = `${pointer}/${escapePointerToken(name)}`;
    const isValid = STATEMENTS.get(name);
    if (isValid === undefined) return refuse(at, 'this is not a member of an element of step_proofs');
    if (statement !== null && !isValid(statement))
      return refuse(at, 'this is not what step_proofs hold here');
  }
  if (!Array.isArray(proof)) return refuse(`${pointer}/proof`, 'proof must be a list of siblings');
  return parseNodes(proof, `${pointer}/proof`);
}

function parseNodes(items: readonly JsonValue[], pointer: string): ParsedStepProof {
  const proof: ProofNode[] = [];
  for (const [index, item] of items.entries()) {
    const at = `${pointer}/${index}`;
    if (!isJsonObject(item)) return refuse(at, 'a sibling must be an object {position, sibling_hash}');
    const { position, sibling_hash: hash } = item;
    if (position !== 'left' && position !== 'right')
      return refuse(`${at}/position`, 'position must be left or right');
    if (!isDigestHex(hash))
      return refuse(`${at}/sibling_hash`, 'sibling_hash must be 64 lower-case hex digits');
    if (Object.keys(item).length > 2) return refuse(at, 'a sibling has only position and sibling_hash');
    proof.push({ position, sibling: hexToBytes(hash) });
  }
  return { ok: true, proof };
}

function refuse(pointer: string, message: string): ParsedStepProof {
  return { ok: false, pointer, message };
}

function isCount(value: JsonValue): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isDigestHex(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && DIGEST_HEX.test(value);
}
