/**
 * The attack table of a step and its proof (contract sections 4.3 and 4.6), for every verifier that this repository has:
 * each row is put against a good token over `STEPS`.
 */
import { createHash } from 'node:crypto';
import type { StepProof } from '../../src/domain/intent-tokens/plan-digest.ts';
import { digestOf, STEPS } from './signed-tokens.ts';

/** As on the wire. */
export interface AskedStep {
  readonly step_index: unknown;
  readonly step?: unknown;
  readonly action?: unknown;
  readonly mcp?: unknown;
  readonly proof: unknown;
}

export interface StepAttack {
  readonly name: string;
  readonly code: 'MERKLE_PROOF_INVALID' | 'STEP_MISMATCH';
  /** What a server answers that tells malformed questions from wrong ones (contract section 4.6). */
  readonly httpStatus: 200 | 400;
  readonly request: AskedStep;
}

type Node = StepProof['proof'][number];

const PROOFS = digestOf(STEPS).stepProofs;
const proofOf = (index: number): readonly Node[] => PROOFS[index]?.proof ?? [];
const [READ, SEND, CHAT, NOTE] = STEPS;
const GOOD = { step_index: 1, step: SEND, proof: proofOf(1) };
const [FIRST, ...REST] = GOOD.proof;

/** The same steps in another plan: another parameter in the last of them. */
const OTHER_TREE = digestOf([...STEPS.slice(0, 4), { ...STEPS[4], params: { path: '/b' } }]).stepProofs;
const SHORTER_TREE = digestOf(STEPS.slice(0, 2)).stepProofs;
const LONGER_TREE = digestOf([...STEPS, READ]).stepProofs;
const ALONE = digestOf([SEND]).stepProofs;

const swapped = (node: Node): Node => ({ ...node, position: node.position === 'left' ? 'right' : 'left' });
const hashHex = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};
const { mcp: _, ...WITHOUT_MCP } = SEND;

/** Well-formed requests that are wrong. */
const FORGED: Readonly<Record<string, AskedStep>> = {
  'the index of another step': { ...GOOD, step_index: 0 },
  'the index of another step, with the proof of that step': { ...GOOD, step_index: 2, proof: proofOf(2) },
  'the proof of another step': { ...GOOD, proof: proofOf(2) },
  'an action at another index that has the same action elsewhere': {
    step_index: 0,
    action: 'send',
    proof: proofOf(1),
  },
  'an index past the end': { ...GOOD, step_index: 5 },
  'an index past any plan': { ...GOOD, step_index: 1000 },
  'the index of the leaf instead of the step': { ...GOOD, step_index: 2 },
  'an index that is the same in 32 bits': { ...GOOD, step_index: 1 + 2 ** 32 },
  'the proof of another tree': { ...GOOD, proof: OTHER_TREE[1]?.proof },
  'the proof of a shorter tree': { ...GOOD, proof: SHORTER_TREE[1]?.proof },
  'the proof of a longer tree': { ...GOOD, proof: LONGER_TREE[1]?.proof },
  'a step of another tree with its own proof': {
    step_index: 4,
    step: { ...STEPS[4], params: { path: '/b' } },
    proof: OTHER_TREE[4]?.proof,
  },
  'a node passed as a leaf: the proof from the level above, at its index': {
    step_index: 0,
    step: SEND,
    proof: REST,
  },
  'a node passed as a leaf: the whole step given as the action': {
    step_index: 1,
    action: hashHex(JSON.stringify(SEND)),
    proof: GOOD.proof,
  },
  'a leaf passed as a node: the siblings of the sibling': {
    ...GOOD,
    proof: [{ position: 'left', sibling_hash: FIRST?.sibling_hash }, ...REST],
  },
  'a proof cut at its end': { ...GOOD, proof: GOOD.proof.slice(0, -1) },
  'a proof cut at its start': { ...GOOD, proof: REST },
  'no siblings': { ...GOOD, proof: [] },
  'a proof extended by the root': {
    ...GOOD,
    proof: [...GOOD.proof, { position: 'left', sibling_hash: '0'.repeat(64) }],
  },
  'a proof extended at its start': { ...GOOD, proof: [FIRST, ...GOOD.proof] },
  'a proof of a thousand siblings': { ...GOOD, proof: Array.from({ length: 1000 }, () => FIRST) },
  'all sides swapped': { ...GOOD, proof: GOOD.proof.map(swapped) },
  ...Object.fromEntries(
    GOOD.proof.map((_node, at) => [
      `the side of sibling ${at} swapped`,
      { ...GOOD, proof: GOOD.proof.map((node, index) => (index === at ? swapped(node) : node)) },
    ]),
  ),
  ...Object.fromEntries(
    GOOD.proof.map((_node, at) => [
      `sibling ${at} with its last digit changed`,
      {
        ...GOOD,
        proof: GOOD.proof.map((node, index) =>
          index === at
            ? {
                ...node,
                sibling_hash: node.sibling_hash.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')),
              }
            : node,
        ),
      },
    ]),
  ),
  'a proof in reverse': { ...GOOD, proof: GOOD.proof.toReversed() },
  'size lied: a tree of one step, stated and proven': { step_index: 0, step: SEND, proof: ALONE[0] },
  'size lied: the stated size of a shorter tree, with its proof': {
    ...GOOD,
    proof: { ...PROOFS[1], tree_size: 4, proof: SHORTER_TREE[1]?.proof },
  },
  'size lied: the stated size of a longer tree, with its proof': { ...GOOD, proof: LONGER_TREE[1] },
  'index lied: the proof states the index that was asked for': {
    ...GOOD,
    proof: { ...PROOFS[2], step_index: 1, leaf_index: 2, path: '/steps/[1]/action' },
  },
  'digest lied: the proof states the digest of another action': {
    step_index: 1,
    action: 'delete',
    proof: { ...PROOFS[1], value_digest: hashHex('"delete"') },
  },
  'another action': { step_index: 1, action: 'delete', proof: GOOD.proof },
  'an action in another case': { step_index: 1, action: 'Send', proof: GOOD.proof },
  'the canonical text of the action': { step_index: 1, action: '"send"', proof: GOOD.proof },
  'another parameter': { ...GOOD, step: { ...SEND, params: { to: ['y'], n: 1.5 } } },
  'a parameter of another type': { ...GOOD, step: { ...SEND, params: { to: ['x'], n: '1.5' } } },
  'a parameter more': { ...GOOD, step: { ...SEND, bcc: 'x' } },
  'a parameter less': { ...GOOD, step: { action: 'send', mcp: 'mail' } },
  'another mcp': { ...GOOD, step: { ...SEND, mcp: 'bank' } },
  'the mcp left out of the step': { ...GOOD, step: WITHOUT_MCP },
  'a step without an action': { ...GOOD, step: { mcp: 'mail', params: SEND.params } },
  'an action in a list': { ...GOOD, step: { ...SEND, action: ['send'] } },
  'an empty step': { ...GOOD, step: {} },
  'the same letters composed otherwise': {
    step_index: 4,
    step: { ...STEPS[4], params: { path: 'u\u0308\u2028' } },
    proof: proofOf(4),
  },
};

const MISMATCHES: Readonly<Record<string, AskedStep>> = {
  'an action that is not the step’s': { ...GOOD, action: 'read' },
  'an mcp that is not the step’s': { ...GOOD, mcp: 'chat' },
  'an mcp where the step has none': { step_index: 3, step: NOTE, mcp: 'mail', proof: proofOf(3) },
  'the mcp of another step with the same action': {
    step_index: 2,
    step: CHAT,
    mcp: 'mail',
    proof: proofOf(2),
  },
};

/** Not well-formed: a library refuses them, a server says that the question is wrong. */
const MALFORMED: Readonly<Record<string, AskedStep>> = {
  'a negative index': { ...GOOD, step_index: -1 },
  'half an index': { ...GOOD, step_index: 0.5 },
  'an index as text': { ...GOOD, step_index: '1' },
  'a proof that is a text': { ...GOOD, proof: JSON.stringify(GOOD.proof) },
  'a proof without its list': { ...GOOD, proof: { ...PROOFS[1], proof: undefined } },
  'a proof with a member of its own': { ...GOOD, proof: { ...PROOFS[1], root: '0'.repeat(64) } },
  'a sibling in upper case': {
    ...GOOD,
    proof: [{ ...FIRST, sibling_hash: 'A'.repeat(64) }, ...REST],
  },
  'a sibling with a line break': {
    ...GOOD,
    proof: [{ ...FIRST, sibling_hash: `${FIRST?.sibling_hash}\n` }, ...REST],
  },
  'a sibling in base64': {
    ...GOOD,
    proof: [
      { ...FIRST, sibling_hash: Buffer.from(FIRST?.sibling_hash ?? '', 'hex').toString('base64') },
      ...REST,
    ],
  },
  'a sibling without a side': { ...GOOD, proof: [{ sibling_hash: FIRST?.sibling_hash }, ...REST] },
  'a sibling on another side': { ...GOOD, proof: [{ ...FIRST, position: 'up' }, ...REST] },
  'a sibling that is null': { ...GOOD, proof: [null, ...REST] },
  'a step that is a list': { ...GOOD, step: [SEND] },
};

const rows = (
  requests: Readonly<Record<string, AskedStep>>,
  code: StepAttack['code'],
  httpStatus: StepAttack['httpStatus'],
): StepAttack[] => Object.entries(requests).map(([name, request]) => ({ name, code, httpStatus, request }));

export const STEP_ATTACKS: readonly StepAttack[] = [
  ...rows(FORGED, 'MERKLE_PROOF_INVALID', 200),
  ...rows(MISMATCHES, 'STEP_MISMATCH', 200),
  ...rows(MALFORMED, 'MERKLE_PROOF_INVALID', 400),
];
