/**
 * The Merkle tree of RFC 9162 section 2.1: SHA-256 with a prefix byte that keeps leaves and nodes apart, split at the
 * largest power of two below the size, nothing duplicated. Verifying answers false to whatever is not a proof and never
 * throws.
 */

import { isBytes } from '@noble/hashes/utils.js';
import { DIGEST_BYTES, equalInConstantTime, type Sha256, textToBytes } from './hashing.ts';

/** On which side of the path a sibling stands. */
export type Side = 'left' | 'right';

export interface ProofNode {
  readonly position: Side;
  /** 32 bytes. */
  readonly sibling: Uint8Array;
}

/** From the leaf hashes (first) up to the root (alone in the last); without levels the tree is empty. */
export type MerkleLevels<T = Uint8Array> = readonly (readonly T[])[];

export interface InclusionClaim {
  /** Place of the leaf, from 0. */
  readonly index: number;
  /** Number of leaves. */
  readonly treeSize: number;
  readonly leafHash: Uint8Array;
  /** From the leaf to the root. */
  readonly proof: readonly ProofNode[];
}

/** SHA-256(0x00 ‖ data); of text, `data` is its UTF-8 bytes. */
export function leafHash(data: Uint8Array | string, sha256: Sha256): Uint8Array {
  if (typeof data === 'string') return sha256.bytes(textToBytes(`\0${data}`));
  const input = new Uint8Array(1 + data.length);
  input.set(data, 1);
  return sha256.bytes(input);
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(children: { left: Uint8Array; right: Uint8Array }, sha256: Sha256): Uint8Array {
  const { left, right } = children;
  const length = 1 + left.length + right.length;
  // More than 64 bytes are allocated outside the heap, which costs as much as the hash.
  const input = length === node.length ? node : new Uint8Array(length);
  input[0] = 1;
  input.set(left, 1);
  input.set(right, 1 + left.length);
  return sha256.bytes(input);
}

/** Of two digests; no hash function keeps what it hashes. */
const node = new Uint8Array(1 + 2 * DIGEST_BYTES);

/** Builds the whole tree once, with one node hash per pair; a node without a partner moves up as it is. */
export function merkleLevels(leafHashes: readonly Uint8Array[], sha256: Sha256): MerkleLevels {
  return levelsOver(leafHashes, (children) => nodeHash(children, sha256));
}

/** The same tree with every hash in lower-case hex, as proofs are sent. */
export function merkleLevelsHex(leafHashesHex: readonly string[], sha256: Sha256): MerkleLevels<string> {
  return levelsOver(leafHashesHex, (children) => sha256.nodeHex(children));
}

function levelsOver<T>(
  leafHashes: readonly T[],
  join: (children: { left: T; right: T }) => T,
): MerkleLevels<T> {
  const levels: T[][] = [];
  let level = [...leafHashes];
  while (level.length > 0) {
    levels.push(level);
    if (level.length === 1) break;
    const above: T[] = [];
    for (let index = 0; index < level.length; index += 2) {
      const left = level[index];
      const right = level[index + 1];
      if (left !== undefined) above.push(right === undefined ? left : join({ left, right }));
    }
    level = above;
  }
  return levels;
}

/** The root; of the empty tree it is the hash of nothing. */
export function merkleRoot(levels: MerkleLevels, sha256: Sha256): Uint8Array {
  return levels.at(-1)?.[0] ?? sha256.bytes(new Uint8Array());
}

/**
 * The siblings on the way from leaf `index` to the root, in whatever form the levels hold hashes.
 * @throws RangeError when the tree has no such leaf.
 */
export function inclusionProof<T>(levels: MerkleLevels<T>, index: number): { position: Side; sibling: T }[] {
  const treeSize = levels[0]?.length ?? 0;
  if (!isLeafOf({ index, treeSize })) throw new RangeError('the tree has no leaf of this index');
  const proof: { position: Side; sibling: T }[] = [];
  let at = index;
  for (const level of levels) {
    const left = at % 2 === 1;
    const sibling = level[left ? at - 1 : at + 1];
    if (sibling !== undefined) proof.push({ position: left ? 'left' : 'right', sibling });
    at = Math.floor(at / 2);
  }
  return proof;
}

/** The root that a proof leads to; undefined when its length, a position or a hash is not what index and size imply. */
export function rootFromProof(claim: InclusionClaim, sha256: Sha256): Uint8Array | undefined {
  const { index, treeSize, proof } = claim;
  if (!isLeafOf({ index, treeSize }) || !isDigest(claim.leafHash) || !Array.isArray(proof)) return undefined;
  let hash = claim.leafHash;
  let used = 0;
  // Division and not bit operations: those cut an index to 32 bits, and then 2^32 would pass for 0.
  for (let at = index, last = treeSize - 1; last > 0; at = Math.floor(at / 2), last = Math.floor(last / 2)) {
    const position = at % 2 === 1 ? 'left' : 'right';
    if (position === 'right' && at === last) continue;
    const node: ProofNode | null | undefined = proof[used];
    if (node?.position !== position || !isDigest(node.sibling)) return undefined;
    const { sibling } = node;
    hash = nodeHash(
      position === 'left' ? { left: sibling, right: hash } : { left: hash, right: sibling },
      sha256,
    );
    used += 1;
  }
  return used === proof.length ? hash : undefined;
}

/** Whether the leaf is in the tree of this root. `index`, `treeSize` and `root` must come from who is trusted. */
export function verifyInclusion(
  claim: InclusionClaim & { readonly root: Uint8Array },
  sha256: Sha256,
): boolean {
  const root = rootFromProof(claim, sha256);
  return root !== undefined && isDigest(claim.root) && equalInConstantTime(root, claim.root);
}

function isLeafOf(place: { index: number; treeSize: number }): boolean {
  const { index, treeSize } = place;
  return Number.isSafeInteger(index) && Number.isSafeInteger(treeSize) && index >= 0 && index < treeSize;
}

function isDigest(value: unknown): value is Uint8Array {
  return isBytes(value) && value.length === DIGEST_BYTES;
}
