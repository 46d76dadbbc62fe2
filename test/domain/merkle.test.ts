/** The tree of RFC 9162: published roots and proofs, a naive reference, and forged proofs of every kind. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesToHex, hexToBytes, portableSha256, type Sha256 } from '../../src/domain/hashing.ts';
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
} from '../../src/domain/merkle.ts';
import { everyTypeExcept } from './every-type.ts';

interface Vectors {
  hashes: { what: string; hex: string }[];
  trees: { size: number; leaves_hex: string[]; leaf_hashes: string[]; root: string; proofs: string[][] }[];
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
const vectors: Vectors = JSON.parse(readFileSync(new URL('../vectors/merkle.json', import.meta.url), 'utf8'));

const bytes = (text: string) => new TextEncoder().encode(text);
const SIDES: readonly Side[] = ['left', 'right'];
const sha256 = portableSha256;

/** RFC 9162 section 2.1.1, word for word. */
function referenceRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves;
  if (first === undefined) return sha256.bytes(new Uint8Array());
  if (leaves.length === 1) return sha256.bytes(Uint8Array.of(0, ...first));
  const k = split(leaves.length);
  return sha256.bytes(Uint8Array.of(1, ...referenceRoot(leaves.slice(0, k)), ...referenceRoot(leaves.slice(k))));
}

/** RFC 9162 section 2.1.3.1, with the side on which each sibling stands. */
function referenceProof(leaves: readonly Uint8Array[], index: number): ProofNode[] {
  if (leaves.length <= 1) return [];
  const k = split(leaves.length);
  return index < k
    ? [...referenceProof(leaves.slice(0, k), index), { position: 'right', sibling: referenceRoot(leaves.slice(k)) }]
    : [...referenceProof(leaves.slice(k), index - k), { position: 'left', sibling: referenceRoot(leaves.slice(0, k)) }];
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
  for (const { what, hex } of vectors.hashes) assert.equal(bytesToHex(computed.get(what) ?? bytes('')), hex, what);
});

for (const { size, leaves_hex, leaf_hashes, root, proofs } of vectors.trees) {
  test(`the published tree of ${size} leaves has its hashes, root and proofs`, () => {
    const leaves = leaves_hex.map((leaf) => hexToBytes(leaf));
    const levels = levelsOf(leaves);
    assert.deepEqual((levels[0] ?? []).map(bytesToHex), leaf_hashes);
    assert.equal(bytesToHex(merkleRoot(levels, sha256)), root);
    const computed = leaves.map((_, index) => inclusionProof(levels, index));
    assert.deepEqual(
      computed.map((proof) => proof.map(({ sibling }) => bytesToHex(sibling))),
      proofs,
    );
  });
}

for (const [row, { name, index, tree_size: treeSize, leaf_hash, proof, root, valid }] of vectors.verify.entries()) {
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
  const claim: InclusionClaim = { index, treeSize: leaves.length, leafHash: leafHash(leaf ?? '', sha256), proof };
  return { ...claim, root: referenceRoot(leaves) };
});

test('roots and proofs are those of the naive reference, whatever the size', () => {
  fc.assert(
    fc.property(aTree, (leaves) => {
      const levels = levelsOf(leaves);
      assert.deepEqual(merkleRoot(levels, sha256), referenceRoot(leaves));
      for (const index of leaves.keys()) assert.deepEqual(inclusionProof(levels, index), referenceProof(leaves, index));
    }),
  );
});

test('every honest proof is accepted', () => {
  fc.assert(fc.property(aClaim, (claim) => assert.equal(verifyInclusion(claim, sha256), true)));
});

const flip = (hash: Uint8Array, bit: number) =>
  hash.map((byte, index) => (index === Math.floor(bit / 8) % 32 ? byte ^ (1 << (bit % 8)) : byte));
const FORGERIES: readonly ((claim: Parameters<typeof verifyInclusion>[0], nat: number) => Partial<InclusionClaim & { root: Uint8Array }>)[] = [
  ({ leafHash: hash }, nat) => ({ leafHash: flip(hash, nat) }),
  ({ root }, nat) => ({ root: flip(root, nat) }),
  ({ proof }, nat) => ({ proof: proof.map((node) => ({ ...node, sibling: flip(node.sibling, nat) })) }),
  ({ proof }, nat) => ({ proof: proof.map((node, at) => (at === nat % proof.length ? { ...node, sibling: flip(node.sibling, nat) } : node)) }),
  ({ proof }, nat) => ({ proof: proof.map((node, at) => (at === nat % proof.length ? { ...node, position: node.position === 'left' ? 'right' : 'left' } : node)) }),
  ({ proof }, nat) => ({ proof: proof.toSpliced(nat % (proof.length || 1), 1) }),
  ({ proof, root }, nat) => ({ proof: proof.toSpliced(nat % (proof.length + 1), 0, { position: 'left', sibling: root }) }),
  ({ proof, root }, nat) => ({ proof: proof.toSpliced(nat % (proof.length + 1), 0, { position: 'right', sibling: root }) }),
  ({ proof }) => ({ proof: proof.toReversed() }),
  ({ index, treeSize }, nat) => ({ index: (index + 1 + (nat % treeSize)) % treeSize }),
  ({ index, treeSize }) => ({ index: index + treeSize }),
  ({ index }) => ({ index: index + 2 ** 32 }),
  ({ index }) => ({ index: -1 - index }),
  ({ treeSize }) => ({ treeSize: treeSize * 2 }),
  ({ index }) => ({ treeSize: index }),
];

for (const [row, forge] of FORGERIES.entries()) {
  test(`a forged proof is refused: ${forge.toString().slice(0, 300).replaceAll(/\s+/g, ' ')} (${row})`, () => {
    fc.assert(
      fc.property(aClaim, fc.nat({ max: 4095 }), (claim, nat) => {
        const forged = { ...claim, ...forge(claim, nat) };
        fc.pre(JSON.stringify(forged) !== JSON.stringify(claim));
        assert.equal(verifyInclusion(forged, sha256), false);
      }),
    );
  });
}
