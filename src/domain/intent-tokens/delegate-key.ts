/**
 * The key of a delegate (contract section 4.7) and how a token names it: as the key that its holder proves (`cnf`, RFC
 * 7800) and as who acts (RFC 9278). Bytes that are no point of the curve, and points of small order, under which almost
 * any signature verifies, are refused.
 */

import { isSmallOrder } from '../crypto/ed25519.ts';
import { hexToBytes, type Sha256 } from '../crypto/hashing.ts';
import { type Ed25519Jwk, ed25519Jwk, jwkThumbprint } from '../crypto/jwk.ts';

/** RFC 8410: the fixed frame of an Ed25519 key in a SubjectPublicKeyInfo. */
const SPKI_FRAME_HEX = '302a300506032b6570032100';
const KEY_HEX = new RegExp(`^(?:${SPKI_FRAME_HEX})?([0-9a-f]{64})$`);

/** From the 32 bytes, or their SPKI DER form, in hex; undefined for anything else. */
export function readDelegateKey(text: string): Ed25519Jwk | undefined {
  const hex = KEY_HEX.exec(text.toLowerCase())?.[1];
  if (hex === undefined) return undefined;
  const publicKey = hexToBytes(hex);
  return isSmallOrder(publicKey) ? undefined : ed25519Jwk(publicKey);
}

/** RFC 9278: the name of a key that is not registered anywhere. */
export const keyUri = ({ x }: Ed25519Jwk, sha256: Sha256): string =>
  `urn:ietf:params:oauth:jwk-thumbprint:sha-256:${jwkThumbprint(x, sha256)}`;
