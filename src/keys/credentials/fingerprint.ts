/**
 * Keyed digests of texts. A credential is named within this process by SHA-256 over a random key of the process and the
 * text, in base64: without the key a name can be neither made nor traced back to its text. What is stored, and what
 * others see, is bound by HMAC.
 */

import { createHmac, hash, randomBytes } from 'node:crypto';

const KEY_BYTES = 32;

/** Names that nothing outside this process can make. */
export const createProcessFingerprint = (): ((text: string) => string) =>
  createFingerprint(randomBytes(KEY_BYTES));

/**
 * The key stands in front and always has 32 bytes, so no two texts are hashed as one. HMAC (RFC 2104) would stop who
 * sees a name from making that of a longer text, but names are never shown, and it takes five blocks instead of two.
 */
export function createFingerprint(key: Uint8Array): (text: string) => string {
  if (key.length !== KEY_BYTES)
    throw new TypeError(`a key of ${key.length} bytes is not one of ${KEY_BYTES}`);
  // As text: bytes for each call are objects outside the heap, whose collection was 5 % of issuing.
  const keyText = Buffer.from(key).toString('base64url');
  return (text) => hash('sha256', keyText + text, 'base64');
}

/** Of SHA-256, in bytes. */
const BLOCK = 64;
/** A text of this many characters or fewer has at most three times as many bytes in UTF-8. */
const SHORT = 1024;

/**
 * HMAC-SHA256 (RFC 2104) of a text's UTF-8 under `key`, in lower-case hex. Of a short text by two hashes in place: an
 * object of `createHmac` and its digest, which are collected outside the heap, cost twice as much.
 */
export function createHmacOf(key: Uint8Array): (text: string) => string {
  if (key.length !== KEY_BYTES)
    throw new TypeError(`a key of ${key.length} bytes is not one of ${KEY_BYTES}`);
  const inner = Buffer.alloc(BLOCK + 3 * SHORT, 0x36);
  const outer = Buffer.alloc(BLOCK + 32, 0x5c);
  /** The beginnings of `inner`, by length: texts of one kind have few lengths, and a view costs as much as a short hash. */
  const upTo: Buffer[] = [];
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return (text) => {
    if (text.length > SHORT) return createHmac('sha256', key).update(text).digest('hex');
    const end = BLOCK + inner.write(text, BLOCK);
    upTo[end] ??= inner.subarray(0, end);
    outer.write(hash('sha256', upTo[end], 'hex'), BLOCK, 'hex');
    return hash('sha256', outer, 'hex');
  };
}
