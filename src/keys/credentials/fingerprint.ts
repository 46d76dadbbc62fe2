/**
 * Keyed digests of texts. A credential is named within this process by SHA-256 over a random key of the process and the
 * text, in base64: without the key a name can be neither made nor traced back to its text. What is stored, and what
 * others see, is bound by HMAC.
 */

import { createHmac, createSecretKey, hash, randomBytes } from 'node:crypto';

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

/** HMAC-SHA256 (RFC 2104) of a text's UTF-8 under `key`. */
export function createHmacOf(key: Uint8Array): (text: string) => Buffer {
  const secret = createSecretKey(key);
  return (text) => createHmac('sha256', secret).update(text).digest();
}
