/**
 * Ed25519 verification in plain JavaScript (RFC 8032 section 5.1.7, without the cofactor), for verifiers without
 * node:crypto; it judges every signature as that does, and refuses the small-order keys under which that accepts
 * almost anything.
 */

import { Point } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { concatBytes } from '@noble/hashes/utils.js';
import { equalInConstantTime } from './hashing.ts';

const ORDER = Point.CURVE().n;

/** Canonical points, S < L, no small-order key. False for anything malformed; never throws. */
export function verifyEd25519(question: {
  /** 64 bytes: R, S. */
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}): boolean {
  try {
    const { signature, message, publicKey } = question;
    if (signature.length !== 64 || isSmallOrder(publicKey)) return false;
    const encodedR = signature.subarray(0, 32);
    const s = littleEndian(signature.subarray(32));
    if (s >= ORDER) return false;
    const k = littleEndian(sha512(concatBytes(encodedR, publicKey, message))) % ORDER;
    // R is compared as bytes and never decoded: a second encoding of a point is not the point that was signed with.
    const expectedR = Point.BASE.multiply(s).subtract(Point.fromBytes(publicKey).multiply(k));
    return equalInConstantTime(expectedR.toBytes(), encodedR);
  } catch {
    return false;
  }
}

/** Also true for bytes that are no point at all. */
export function isSmallOrder(publicKey: Uint8Array): boolean {
  try {
    return Point.fromBytes(publicKey).isSmallOrder();
  } catch {
    return true;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
