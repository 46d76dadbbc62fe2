/** One step against a signed root: honest questions hold, and every attack that has a name fails. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { hexToBytes, portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import {
  inclusionProof,
  leafHash,
  merkleLevels,
  merkleRoot,
  type ProofNode,
} from '../../../src/domain/crypto/merkle.ts';
import { parsePlan } from '../../../src/domain/intent-tokens/plan.ts';
import { digestPlan, type PlanDigest } from '../../../src/domain/intent-tokens/plan-digest.ts';
import {
  parseStepProof,
  type StepSubject,
  type StepVerification,
  verifyStep,
} from '../../../src/domain/intent-tokens/step-proof.ts';
import { type JsonObject, type JsonValue, readStrictJson } from '../../../src/domain/json/strict-json.ts';
import { everyTypeExcept } from '../every-type.ts';

const sha256 = portableSha256;
const REFUSED = { ok: false, reason: 'proof_invalid' };

interface Vector {
  plan: { steps: ({ action: string } & JsonObject)[] };
  tree_size: number;
  merkle_root: string;
  step_proofs: { value_digest: string; proof: JsonValue }[];
}
const { plans }: { plans: Vector[] } = JSON.parse(
  readFileSync(new URL('../../vectors/merkle.json', import.meta.url), 'utf8'),
);

function nodesOf(value: unknown): readonly ProofNode[] {
  const parsed = parseStepProof(value as JsonValue);
  assert.ok(parsed.ok);
  return parsed.proof;
}

function digestOf(value: JsonValue): PlanDigest {
  const parsed = parsePlan(value);
  assert.ok(parsed.ok);
  const result = digestPlan(parsed.plan, sha256);
  assert.ok(result.ok);
  return result.digest;
}

for (const [row, { plan, tree_size: treeSize, merkle_root: merkleRootHex, step_proofs }] of plans.entries()) {
  test(`every step of published plan ${row} is proven whole, by its action and by its digest`, () => {
    assert.equal(step_proofs.length, plan.steps.length);
    for (const [stepIndex, step] of plan.steps.entries()) {
      const stated = step_proofs[stepIndex];
      assert.ok(stated !== undefined);
      const subjects: StepSubject[] = [
        { kind: 'step', step },
        { kind: 'action', action: step.action },
        { kind: 'action_digest', digestHex: stated.value_digest },
      ];
      for (const subject of subjects) {
        const question: StepVerification = {
          treeSize,
          merkleRootHex,
          stepIndex,
          subject,
          proof: nodesOf(stated),
        };
        assert.deepEqual(verifyStep(question, sha256), { ok: true });
        const bare: StepVerification = { ...question, proof: nodesOf(stated.proof) };
        assert.deepEqual(verifyStep(bare, sha256), { ok: true });
      }
    }
  });
}

const READ: JsonObject = { action: 'read', mcp: 'files', path: '/a' };
const SEND: JsonObject = { action: 'send', mcp: 'mail', to: ['x'], n: 1 };
const PLAN: JsonObject = {
  steps: [READ, { action: 'read', mcp: 'files', path: '/b' }, SEND],
};
const DIGEST = digestOf(PLAN);
const proofOf = (stepIndex: number) => nodesOf(DIGEST.stepProofs[stepIndex]);
const GOOD: StepVerification = {
  treeSize: DIGEST.treeSize,
  merkleRootHex: DIGEST.merkleRootHex,
  stepIndex: 2,
  subject: { kind: 'step', step: SEND },
  proof: proofOf(2),
};

test('the question that the next tests spoil is a good one', () => {
  assert.deepEqual(verifyStep(GOOD, sha256), { ok: true });
  assert.deepEqual(verifyStep({ ...GOOD, subject: { kind: 'action', action: 'send' } }, sha256), {
    ok: true,
  });
});

test('the order of members in the step does not matter', () => {
  const step = Object.fromEntries(Object.entries(SEND).toReversed());
  assert.deepEqual(verifyStep({ ...GOOD, subject: { kind: 'step', step } }, sha256), { ok: true });
});

const aStep = (step: JsonObject): Partial<StepVerification> => ({ subject: { kind: 'step', step } });
const anAction = (action: string): Partial<StepVerification> => ({ subject: { kind: 'action', action } });
const { mcp: _, ...SEND_WITHOUT_MCP } = SEND;

const ATTACKS: Readonly<Record<string, Partial<StepVerification>>> = {
  'another action': anAction('delete'),
  'an action in other case': anAction('Send'),
  'the action of another step': anAction('read'),
  'an empty action': anAction(''),
  'the canonical text of the action': anAction('"send"'),
  'another mcp': aStep({ ...SEND, mcp: 'bank' }),
  'the mcp left out': aStep(SEND_WITHOUT_MCP),
  'another parameter': aStep({ ...SEND, n: 2 }),
  'a parameter of another type': aStep({ ...SEND, n: '1' }),
  'a parameter added': aStep({ ...SEND, extra: null }),
  'the step with another action': aStep({ ...SEND, action: 'read' }),
  'the step without an action': aStep({ mcp: 'mail', to: ['x'], n: 1 }),
  'an action that is a list': aStep({ ...SEND, action: ['send'] }),
  'a step that is empty': aStep({}),
  'a step of the same action, with its own proof and this index': {
    ...aStep(READ),
    proof: proofOf(0),
  },
  'the proof of another step': { proof: proofOf(1) },
  'the index of another step': { stepIndex: 1 },
  'an index past the end': { stepIndex: 3 },
  'an index of half a step': { stepIndex: 2.5 },
  'an index that names the leaf': { stepIndex: 4 },
  'a negative index': { stepIndex: -2 },
  'an index that is the same in 32 bits': { stepIndex: 2 + 2 ** 32 },
  'twice the size': { treeSize: 12 },
  'half the size': { treeSize: 3 },
  'an odd size': { treeSize: 5 },
  'an empty tree': { treeSize: 0 },
  'no proof': { proof: [] },
  'a proof cut at its end': { proof: proofOf(2).slice(0, -1) },
  'a proof cut at its start': { proof: proofOf(2).slice(1) },
  'a proof with the root behind it': {
    proof: [...proofOf(2), { position: 'left', sibling: hexToBytes(DIGEST.merkleRootHex) }],
  },
  'a proof in reverse': { proof: proofOf(2).toReversed() },
  'the root of another plan': { merkleRootHex: digestOf({ steps: [{ action: 'send' }] }).merkleRootHex },
  'the root in capitals': { merkleRootHex: DIGEST.merkleRootHex.toUpperCase() },
  'the root with a line break': { merkleRootHex: `${DIGEST.merkleRootHex}\n` },
  'a root cut short': { merkleRootHex: DIGEST.merkleRootHex.slice(2) },
  'the digest of another action': { subject: { kind: 'action_digest', digestHex: sha256.hex('"read"') } },
  'the digest of the bare action': { subject: { kind: 'action_digest', digestHex: sha256.hex('send') } },
  'a digest in capitals': {
    subject: { kind: 'action_digest', digestHex: sha256.hex('"send"').toUpperCase() },
  },
};

for (const [what, attack] of Object.entries(ATTACKS)) {
  test(`${what} is refused`, () => assert.deepEqual(verifyStep({ ...GOOD, ...attack }, sha256), REFUSED));
}

test('an action swapped inside an otherwise signed step is refused, though both leaves are in the tree', () => {
  // A tree that its issuer built wrongly: leaf 0 names one action, the step in leaf 1 another.
  const step = { action: 'delete' };
  const leaves = [
    leafHash(`["/steps/[0]/action","${sha256.hex('"read"')}"]`, sha256),
    leafHash(`["/steps/[0]","${sha256.hex('{"action":"delete"}')}"]`, sha256),
  ];
  const levels = merkleLevels(leaves, sha256);
  const merkleRootHex = Buffer.from(merkleRoot(levels, sha256)).toString('hex');
  const question = { treeSize: 2, merkleRootHex, stepIndex: 0, proof: inclusionProof(levels, 0) };
  assert.deepEqual(verifyStep({ ...question, subject: { kind: 'action', action: 'read' } }, sha256), {
    ok: true,
  });
  assert.deepEqual(verifyStep({ ...question, subject: { kind: 'step', step } }, sha256), REFUSED);
  const renamed = { action: 'read' };
  assert.deepEqual(verifyStep({ ...question, subject: { kind: 'step', step: renamed } }, sha256), REFUSED);
});

test('the last leaf of a tree of odd size is refused, because no leaf binds its step', () => {
  const action = `["/steps/[1]/action","${sha256.hex('"send"')}"]`;
  const levels = merkleLevels(
    ['x', 'y', action].map((leaf) => leafHash(leaf, sha256)),
    sha256,
  );
  const merkleRootHex = Buffer.from(merkleRoot(levels, sha256)).toString('hex');
  const question = { treeSize: 3, merkleRootHex, stepIndex: 1, proof: inclusionProof(levels, 2) };
  assert.deepEqual(verifyStep({ ...question, subject: { kind: 'action', action: 'send' } }, sha256), REFUSED);
});

test('a flipped bit anywhere in the proof is refused', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat({ max: 255 }), (nat, bit) => {
      const at = nat % GOOD.proof.length;
      const proof = GOOD.proof.map((node, index) => ({
        ...node,
        sibling: node.sibling.map((byte, offset) =>
          index === at && offset === Math.floor(bit / 8) ? byte ^ (1 << (bit % 8)) : byte,
        ),
      }));
      assert.deepEqual(verifyStep({ ...GOOD, proof }, sha256), REFUSED);
    }),
  );
});

for (const [text, reason] of [
  ['{"action":"send","n":9007199254740993}', 'number_out_of_range'],
  ['{"action":"send","n":1e-400}', 'number_out_of_range'],
  ['{"action":"send","s":"\\u0000"}', 'nul_character'],
  ['{"action":"send","\\ud83d\\ude00":1}', 'astral_key'],
] as const) {
  test(`the step ${text} has no canonical form and says so: ${reason}`, () => {
    const read = readStrictJson(new TextEncoder().encode(text));
    assert.ok(read.ok);
    const step = read.value as JsonObject;
    const subject = { kind: 'step', step, underflowed: read.underflowed } as const;
    assert.deepEqual(verifyStep({ ...GOOD, subject }, sha256), { ok: false, reason });
  });
}

test('an action that is not text a reader could give says why', () => {
  assert.deepEqual(verifyStep({ ...GOOD, ...anAction('\0') }, sha256), {
    ok: false,
    reason: 'nul_character',
  });
  assert.deepEqual(verifyStep({ ...GOOD, ...anAction('\ud800') }, sha256), {
    ok: false,
    reason: 'lone_surrogate',
  });
});

for (const [name, value] of everyTypeExcept(() => false)) {
  test(`${name} as index, size, root, proof, action or digest is refused without an exception`, () => {
    const attacks: unknown[] = [
      { stepIndex: value },
      { treeSize: value },
      { merkleRootHex: value },
      { merkleRootHex: [DIGEST.merkleRootHex] },
      { proof: value },
      { proof: [value, ...GOOD.proof.slice(1)] },
      { subject: { kind: 'action', action: value } },
      { subject: { kind: 'action_digest', digestHex: value } },
      { subject: { kind: 'step', step: { action: value } } },
    ];
    for (const attack of attacks)
      assert.deepEqual(verifyStep({ ...GOOD, ...Object(attack) }, sha256), REFUSED);
  });
}

const HASH = sha256.hex('');
const NODE = { position: 'left', sibling_hash: HASH };
const WHOLE = JSON.parse(JSON.stringify(DIGEST.stepProofs[2]));

test('a proof is read from a bare list and from a whole element of step_proofs, to the same siblings', () => {
  assert.deepEqual(parseStepProof(WHOLE), parseStepProof(WHOLE.proof));
  assert.deepEqual(nodesOf([NODE]), [{ position: 'left', sibling: hexToBytes(HASH) }]);
  assert.deepEqual(nodesOf([]), []);
});

test('a statement that is null counts as absent', () => {
  assert.ok(parseStepProof({ proof: [], step_index: null, path: null, value_digest: null }).ok);
});

for (const [what, value, pointer] of [
  ['an unknown member', { ...WHOLE, root: HASH }, '/proof/root'],
  ['an unknown member with a slash', { ...WHOLE, 'a/~b': 1 }, '/proof/a~1~0b'],
  ['a member of Object.prototype', { ...WHOLE, constructor: 1 }, '/proof/constructor'],
  ['a negative step_index', { ...WHOLE, step_index: -1 }, '/proof/step_index'],
  ['a step_index that is text', { ...WHOLE, step_index: '0' }, '/proof/step_index'],
  ['a fractional leaf_index', { ...WHOLE, leaf_index: 0.5 }, '/proof/leaf_index'],
  ['an infinite tree_size', { ...WHOLE, tree_size: Number.POSITIVE_INFINITY }, '/proof/tree_size'],
  ['a path that is no text', { ...WHOLE, path: 1 }, '/proof/path'],
  ['a value_digest in capitals', { ...WHOLE, value_digest: HASH.toUpperCase() }, '/proof/value_digest'],
  ['no list of siblings', { step_index: 0 }, '/proof/proof'],
  ['a proof inside a proof', { proof: WHOLE }, '/proof/proof'],
  ['siblings in an object', { proof: { 0: NODE } }, '/proof/proof'],
  ['a bad sibling inside', { proof: [NODE, 1] }, '/proof/proof/1'],
  ['no position', [{ sibling_hash: HASH }], '/proof/0/position'],
  ['a position in capitals', [{ ...NODE, position: 'LEFT' }], '/proof/0/position'],
  ['a position with space', [{ ...NODE, position: 'left ' }], '/proof/0/position'],
  ['no hash', [NODE, { position: 'left' }], '/proof/1/sibling_hash'],
  ['a hash in capitals', [{ ...NODE, sibling_hash: HASH.toUpperCase() }], '/proof/0/sibling_hash'],
  ['a hash of 62 digits', [{ ...NODE, sibling_hash: HASH.slice(2) }], '/proof/0/sibling_hash'],
  ['a hash of 66 digits', [{ ...NODE, sibling_hash: `${HASH}00` }], '/proof/0/sibling_hash'],
  ['a hash with a line break', [{ ...NODE, sibling_hash: `${HASH}\n` }], '/proof/0/sibling_hash'],
  ['a hash with 0x', [{ ...NODE, sibling_hash: `0x${HASH.slice(2)}` }], '/proof/0/sibling_hash'],
  ['a hash in base64', [{ ...NODE, sibling_hash: 'A'.repeat(43) }], '/proof/0/sibling_hash'],
  ['an unknown member of a sibling', [{ ...NODE, hash: HASH }], '/proof/0'],
  ['a bare hash', [HASH], '/proof/0'],
  ['a list for a sibling', [['left', HASH]], '/proof/0'],
] as const) {
  test(`a proof with ${what} is refused at ${pointer}`, () => {
    const result = parseStepProof(value as unknown as JsonValue);
    assert.ok(!result.ok);
    assert.equal(result.pointer, pointer);
  });
}

test('the pointer starts where the proof stands', () => {
  const result = parseStepProof([1], '/context/proof');
  assert.ok(!result.ok);
  assert.equal(result.pointer, '/context/proof/0');
});

for (const [name, value] of everyTypeExcept((value) => Array.isArray(value) && value.length === 0)) {
  test(`${name} is no proof and no sibling`, () => {
    for (const proof of [
      value,
      [value],
      { proof: [value] },
      [{ ...NODE, position: value }],
      [{ ...NODE, sibling_hash: value }],
    ]) {
      assert.equal(parseStepProof(proof as JsonValue).ok, false);
    }
  });
}
