/**
 * HMAC-SHA-256 (RFC 2104) of many short texts under one key. `createHmac` makes an object outside the heap for each
 * text, which the garbage collector has to give back: that was 5 % of issuing. Two one-shot hashes make none.
 */

import { createHmac, hash, randomBytes } from 'node:crypto';

/** Of SHA-256, in bytes (RFC 6234). */
const BLOCK = 64;
const DIGEST = 32;
/** Room for an API key, which has 72; what is longer is none of ours, and may cost what it costs. */
const SHORT_BYTES = 512;
/** The most that a UTF-16 unit takes in UTF-8. */
const MAX_UNIT_BYTES = 3;

/** Under a random key, so that another process makes other fingerprints of the same text. */
export const createProcessFingerprint = (): ((text: string) => string) => createFingerprint(randomBytes(32));

/** The key has at most 64 bytes. The result is base64. */
export function createFingerprint(key: Uint8Array): (text: string) => string {
  if (key.length > BLOCK) throw new TypeError(`a key of ${key.length} bytes has to be hashed first`);
  const inner = Buffer.concat([padded(key, 0x36), Buffer.alloc(SHORT_BYTES)]);
  const outer = Buffer.concat([padded(key, 0x5c), Buffer.alloc(DIGEST)]);
  return (text) => {
    if (text.length * MAX_UNIT_BYTES > SHORT_BYTES)
      return createHmac('sha256', key).update(text).digest('base64');
    const end = BLOCK + inner.write(text, BLOCK);
    // As text of one character for a byte: it is never an object outside the heap.
    outer.write(hash('sha256', inner.subarray(0, end), 'binary'), BLOCK, 'binary');
    inner.fill(0, BLOCK, end);
    return hash('sha256', outer, 'base64');
  };
}

function padded(key: Uint8Array, pad: number): Buffer {
  return Buffer.from(Array.from({ length: BLOCK }, (_, index) => (key[index] ?? 0) ^ pad));
}
