/** The tree of RFC 9162: published roots and proofs, a naive reference, and forged proofs of every kind. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesToHex, hexToBytes, portableSha256, type Sha256 } from '../../../src/domain/crypto/hashing.ts';
import {
  type InclusionClaim,
  inclusionProof,
  leafHash,
  merkleLevels,
  merkleRoot,
  nodeHash,
  type ProofNode,
  rootFromProof,
  type Side,
  verifyInclusion,
} from '../../../src/domain/crypto/merkle.ts';
import { everyTypeExcept } from '../every-type.ts';

interface Vectors {
  hashes: { what: string; hex: string }[];
  trees: {
    size: number;
    root: string;
    /** Absent in large trees, whose leaf i is the text `step-<i>`; those list some proofs only. */
    leaves_hex?: string[];
    leaf_hashes?: string[];
    proofs?: string[][];
    proofs_for?: { index: number; leaf_hash: string; proof: string[] }[];
  }[];
  verify: {
    name: string;
    index: number;
    tree_size: number;
    leaf_hash: string;
    proof: string[];
    root: string;
    valid: boolean;
  }[];
}
const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../../vectors/merkle.json', import.meta.url), 'utf8'),
);

const bytes = (text: string) => new TextEncoder().encode(text);
const SIDES: readonly Side[] = ['left', 'right'];
const sha256 = portableSha256;

/** RFC 9162 section 2.1.1, word for word. */
function referenceRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return sha256.bytes(new Uint8Array());
  if (leaves.length === 1) return sha256.bytes(Uint8Array.of(0, ...first));
  const k = split(leaves.length);
  return sha256.bytes(
    Uint8Array.of(1, ...referenceRoot(leaves.slice(0, k)), ...referenceRoot(leaves.slice(k))),
  );
}

/** RFC 9162 section 2.1.3.1, with the side on which each sibling stands. */
function referenceProof(leaves: readonly Uint8Array[], index: number): ProofNode[] {
  if (leaves.length <= 1) return [];
  const k = split(leaves.length);
  return index < k
    ? [
        ...referenceProof(leaves.slice(0, k), index),
        { position: 'right', sibling: referenceRoot(leaves.slice(k)) },
      ]
    : [
        ...referenceProof(leaves.slice(k), index - k),
        { position: 'left', sibling: referenceRoot(leaves.slice(0, k)) },
      ];
}

/** The largest power of two below `size`. */
const split = (size: number) => 2 ** (Math.ceil(Math.log2(size)) - 1);

const levelsOf = (leaves: readonly Uint8Array[]) =>
  merkleLevels(
    leaves.map((leaf) => leafHash(leaf, sha256)),
    sha256,
  );

test('every published hash is met', () => {
  const computed = new Map([
    ['empty tree', merkleRoot(merkleLevels([], sha256), sha256)],
    ['leaf ""', leafHash('', sha256)],
    ['leaf "L123456"', leafHash(bytes('L123456'), sha256)],
    ['node "N123","N456"', nodeHash({ left: bytes('N123'), right: bytes('N456') }, sha256)],
  ]);
  assert.equal(vectors.hashes.length, computed.size);
  for (const { what, hex } of vectors.hashes)
    assert.equal(bytesToHex(computed.get(what) ?? bytes('')), hex, what);
});

for (const { size, root, leaves_hex, leaf_hashes, proofs, proofs_for } of vectors.trees) {
  test(`the published tree of ${size} leaves has its hashes, root and proofs`, () => {
    const leaves = leaves_hex?.map((leaf) => hexToBytes(leaf));
    const levels = levelsOf(leaves ?? Array.from({ length: size }, (_, index) => bytes(`step-${index}`)));
    const listed =
      proofs_for ?? proofs?.map((proof, index) => ({ index, leaf_hash: leaf_hashes?.[index], proof })) ?? [];
    assert.equal(listed.length, proofs_for === undefined ? size : 5);
    assert.equal(bytesToHex(merkleRoot(levels, sha256)), root);
    for (const { index, leaf_hash, proof } of listed) {
      assert.equal(bytesToHex(levels[0]?.[index] ?? bytes('')), leaf_hash);
      assert.deepEqual(
        inclusionProof(levels, index).map(({ sibling }) => bytesToHex(sibling)),
        proof,
      );
    }
  });
}

for (const [
  row,
  { name, index, tree_size: treeSize, leaf_hash, proof, root, valid },
] of vectors.verify.entries()) {
  test(`published proof ${row} (${name}) is ${valid ? 'accepted' : 'refused whatever its positions'}`, () => {
    const claim = { index, treeSize, leafHash: hexToBytes(leaf_hash), root: hexToBytes(root) };
    const answers = everyPosition(proof).map((nodes) => verifyInclusion({ ...claim, proof: nodes }, sha256));
    assert.equal(answers.filter((answer) => answer).length, valid ? 1 : 0);
  });
}

/** The published rows name no positions: all 2^n ways to fill them in. */
function everyPosition(siblings: readonly string[]): ProofNode[][] {
  return siblings.reduce<ProofNode[][]>(
    (proofs, hex) =>
      proofs.flatMap((proof) => SIDES.map((position) => [...proof, { position, sibling: hexToBytes(hex) }])),
    [[]],
  );
}

const aTree = fc.array(fc.uint8Array({ maxLength: 4 }), { minLength: 1, maxLength: 40 });

/** An honest claim about one leaf of a tree. */
const aClaim = fc.tuple(aTree, fc.nat()).map(([leaves, nat]) => {
  const index = nat % leaves.length;
  const [leaf] = leaves.slice(index);
  const proof = referenceProof(leaves, index);
  const claim: InclusionClaim = {
    index,
    treeSize: leaves.length,
    leafHash: leafHash(leaf ?? '', sha256),
    proof,
  };
  return { ...claim, root: referenceRoot(leaves) };
});

test('roots and proofs are those of the naive reference, whatever the size', () => {
  fc.assert(
    fc.property(aTree, (leaves) => {
      const levels = levelsOf(leaves);
      assert.deepEqual(merkleRoot(levels, sha256), referenceRoot(leaves));
      for (const index of leaves.keys())
        assert.deepEqual(inclusionProof(levels, index), referenceProof(leaves, index));
    }),
  );
});

test('every honest proof is accepted', () => {
  fc.assert(fc.property(aClaim, (claim) => assert.equal(verifyInclusion(claim, sha256), true)));
});

const flip = (hash: Uint8Array, bit: number) =>
  hash.map((byte, index) => (index === Math.floor(bit / 8) % 32 ? byte ^ (1 << (bit % 8)) : byte));
type Claim = Parameters<typeof verifyInclusion>[0];
const oneOf = (proof: readonly ProofNode[], nat: number, change: (node: ProofNode) => ProofNode) =>
  proof.map((node, at) => (at === nat % proof.length ? change(node) : node));
const turn = (node: ProofNode): ProofNode => ({
  ...node,
  position: node.position === 'left' ? 'right' : 'left',
});
const insert = ({ proof, root }: Claim, nat: number, position: Side) => ({
  proof: proof.toSpliced(nat % (proof.length + 1), 0, { position, sibling: root }),
});

const FORGERIES: Readonly<Record<string, (claim: Claim, nat: number) => Partial<Claim>>> = {
  'a flipped bit in the leaf': ({ leafHash: hash }, nat) => ({ leafHash: flip(hash, nat) }),
  'a flipped bit in the root': ({ root }, nat) => ({ root: flip(root, nat) }),
  'a flipped bit in a sibling': ({ proof }, nat) => ({
    proof: oneOf(proof, nat, (node) => ({ ...node, sibling: flip(node.sibling, nat) })),
  }),
  'a sibling cut to 31 bytes': ({ proof }, nat) => ({
    proof: oneOf(proof, nat, (node) => ({ ...node, sibling: node.sibling.subarray(1) })),
  }),
  'a sibling of 33 bytes': ({ proof }, nat) => ({
    proof: oneOf(proof, nat, (node) => ({ ...node, sibling: Uint8Array.of(...node.sibling, 0) })),
  }),
  'one turned position': ({ proof }, nat) => ({ proof: oneOf(proof, nat, turn) }),
  'all positions turned': ({ proof }) => ({ proof: proof.map(turn) }),
  'a removed sibling': ({ proof }, nat) => ({ proof: proof.toSpliced(nat % (proof.length || 1), 1) }),
  'a sibling added on the left': (claim, nat) => insert(claim, nat, 'left'),
  'a sibling added on the right': (claim, nat) => insert(claim, nat, 'right'),
  'siblings in reverse': ({ proof }) => ({ proof: proof.toReversed() }),
  'the index of another leaf': ({ index, treeSize }, nat) => ({
    index: (index + 1 + (nat % treeSize)) % treeSize,
  }),
  'an index one size further': ({ index, treeSize }) => ({ index: index + treeSize }),
  'an index that is the same in 32 bits': ({ index }) => ({ index: index + 2 ** 32 }),
  'a negative index': ({ index }) => ({ index: -1 - index }),
  'twice the size': ({ treeSize }) => ({ treeSize: treeSize * 2 }),
  'a size that ends before the leaf': ({ index }) => ({ treeSize: index }),
  'the root as a leaf without proof': ({ root }) => ({ leafHash: root, proof: [], treeSize: 2 }),
};

for (const [what, forge] of Object.entries(FORGERIES)) {
  test(`a proof with ${what} is refused`, () => {
    let forgeries = 0;
    fc.assert(
      fc.property(aClaim, fc.nat({ max: 4095 }), (claim, nat) => {
        const forged = { ...claim, ...forge(claim, nat) };
        if (JSON.stringify(forged) === JSON.stringify(claim)) return;
        forgeries += 1;
        assert.equal(verifyInclusion(forged, sha256), false);
      }),
    );
    assert.ok(forgeries > 20, `only ${forgeries} forgeries`);
  });
}

test('a node is not taken for a leaf, nor a leaf for a node', () => {
  const [left, right] = [leafHash('a', sha256), leafHash('b', sha256)];
  const root = nodeHash({ left, right }, sha256);
  assert.notDeepEqual(leafHash(Uint8Array.of(...left, ...right), sha256), root);
  assert.notDeepEqual(leafHash(Uint8Array.of(1, ...left, ...right), sha256), root);
});

test('a last leaf without a partner is not paired with itself', () => {
  const leaves = ['a', 'b', 'c'].map(bytes);
  const doubled = [...leaves, bytes('c')];
  assert.notDeepEqual(merkleRoot(levelsOf(leaves), sha256), merkleRoot(levelsOf(doubled), sha256));
});

test('hashes that are not 32 bytes are refused even under the root that they would lead to', () => {
  const hash = leafHash('a', sha256);
  for (const length of [0, 31, 33, 64]) {
    const other = new Uint8Array(length);
    const roots = {
      right: nodeHash({ left: hash, right: other }, sha256),
      left: nodeHash({ left: other, right: hash }, sha256),
    };
    for (const [index, position] of (['right', 'left'] as const).entries()) {
      const claim = { index, treeSize: 2, leafHash: hash, proof: [{ position, sibling: other }] };
      assert.equal(verifyInclusion({ ...claim, root: roots[position] }, sha256), false);
    }
    const alone = { index: 0, treeSize: 1, leafHash: other, proof: [], root: other };
    assert.equal(verifyInclusion(alone, sha256), false);
  }
});

test('an index beyond 32 bits has its own positions', () => {
  const index = 2 ** 40 + 1;
  const proof: ProofNode[] = Array.from({ length: 41 }, (_, level) => ({
    position: level === 0 || level === 40 ? 'left' : 'right',
    sibling: leafHash(`${level}`, sha256),
  }));
  const claim = { index, treeSize: 2 ** 41, leafHash: leafHash('x', sha256), proof };
  const root = rootFromProof(claim, sha256) ?? new Uint8Array();
  assert.equal(verifyInclusion({ ...claim, root }, sha256), true);
  for (const other of [1, 2 ** 32 + 1, index - 2, index + 2 ** 32]) {
    assert.equal(verifyInclusion({ ...claim, root, index: other }, sha256), false);
  }
});

const GOOD = { index: 0, treeSize: 1, leafHash: leafHash('', sha256), proof: [], root: leafHash('', sha256) };

test('the claim that the next tests spoil is a good one', () =>
  assert.equal(verifyInclusion(GOOD, sha256), true));

for (const [field, takes] of [
  ['index', (value: unknown) => value === 0],
  ['treeSize', (value: unknown) => value === 1],
  ['leafHash', () => false],
  ['proof', (value: unknown) => Array.isArray(value) && value.length === 0],
  ['root', () => false],
] as const) {
  for (const [name, value] of everyTypeExcept(takes)) {
    test(`${name} as ${field} is refused without an exception`, () => {
      assert.equal(verifyInclusion({ ...GOOD, [field]: value }, sha256), false);
    });
  }
}

for (const [name, value] of everyTypeExcept(() => false)) {
  test(`${name} as a proof node, a sibling or a position is refused without an exception`, () => {
    const [left, right] = [leafHash('a', sha256), leafHash('b', sha256)];
    const claim = { index: 0, treeSize: 2, leafHash: left, root: nodeHash({ left, right }, sha256) };
    assert.equal(verifyInclusion({ ...claim, proof: [{ position: 'right', sibling: right }] }, sha256), true);
    for (const node of [value, { position: 'right', sibling: value }, { position: value, sibling: right }]) {
      assert.equal(verifyInclusion({ ...claim, proof: [node as ProofNode] }, sha256), false);
    }
  });
}

for (const index of [-1, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32]) {
  test(`a proof of leaf ${index} of 3 is a RangeError`, () => {
    assert.throws(() => inclusionProof(levelsOf(['a', 'b', 'c'].map(bytes)), index), RangeError);
    assert.throws(() => inclusionProof([], index), RangeError);
  });
}

test('all proofs of 2,000 leaves cost one hash per node and no more', () => {
  let hashes = 0;
  const counting: Sha256 = {
    ...sha256,
    bytes: (data) => {
      hashes += 1;
      return sha256.bytes(data);
    },
  };
  const leaves = Array.from({ length: 2000 }, (_, index) => Uint8Array.of(index % 256));
  const levels = merkleLevels(leaves, counting);
  const siblings = leaves.map((_, index) => inclusionProof(levels, index).length);
  assert.equal(hashes, 1999);
  assert.ok(Math.max(...siblings) <= 11);
});
