/**
 * Ed25519 verification in plain JavaScript (RFC 8032), for verifiers without node:crypto, and the check that a
 * public key is not one of the eight small-order points, under which almost anything "verifies".
 */

import * as ed25519 from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';

ed25519.hashes.sha512 = sha512;

/** Strict: canonical points, S < L, no cofactor games. False for anything malformed; never throws. */
export function verifyEd25519(question: {
  readonly signature: Uint8Array;
  readonly message: Uint8Array;
  readonly publicKey: Uint8Array;
}): boolean {
  try {
    const { signature, message, publicKey } = question;
    return !isSmallOrder(publicKey) && ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}

/** Also true for bytes that are no point at all. */
export function isSmallOrder(publicKey: Uint8Array): boolean {
  try {
    return ed25519.Point.fromBytes(publicKey).isSmallOrder();
  } catch {
    return true;
  }
}
