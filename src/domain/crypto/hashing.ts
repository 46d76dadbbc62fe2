/**
 * SHA-256 (FIPS 180-4) as the rest of the domain asks for it, so that a server can pass a native implementation and a
 * browser the portable one; both must give the same bytes.
 */

import { bytesToHex, hexToBytes, isBytes } from '@noble/hashes/utils.js';
import { sha256 } from './sha256.ts';

export { bytesToHex, hexToBytes };

const encoder = new TextEncoder();

/** The UTF-8 bytes of `text`. @throws TypeError for anything else, which TextEncoder would turn into text. */
export function textToBytes(text: string): Uint8Array {
  if (typeof text !== 'string') throw new TypeError('text must be a string');
  return encoder.encode(text);
}

/** Length of a SHA-256 digest. */
export const DIGEST_BYTES = 32;

/** A SHA-256 digest as Writ writes it: lower-case hex. */
export const DIGEST_HEX = /^[0-9a-f]{64}$/;

export interface Sha256 {
  /** Lower-case hex digest of the UTF-8 bytes of `text`. */
  hex(text: string): string;
  /** 32-byte digest of `data`. */
  bytes(data: Uint8Array): Uint8Array;
  /** Lower-case hex digest of 0x01 and two digests in lower-case hex: an inner node of a Merkle tree. */
  nodeHex(children: { left: string; right: string }): string;
}

/** Runs wherever JavaScript runs. @throws TypeError for anything but text or bytes. */
export const portableSha256: Sha256 = {
  hex: (text) => bytesToHex(sha256(textToBytes(text))),
  bytes: (data) => {
    if (!isBytes(data)) throw new TypeError('data must be a Uint8Array');
    return sha256(data);
  },
  nodeHex: ({ left, right }) => bytesToHex(sha256(hexToBytes(`01${left}${right}`))),
};

/** Compares without telling by its duration where two byte strings of one length differ. */
export function equalInConstantTime(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  // Not `entries()`: its pairs cost more than the comparison, twenty times as much.
  for (let index = 0; index < left.length; index += 1) difference |= (left[index] ?? 0) ^ (right[index] ?? 0);
  return difference === 0;
}
