/** Scoped tokens as strings (contract section 2): 256 random bits, kept only as their SHA-256. */

import { hash, randomFillSync } from 'node:crypto';
import { SCOPED_TOKEN_PREFIX } from '../domain/api-key.ts';

const RANDOM_BYTES = 32;

export interface GeneratedScopedToken {
  /** The token itself: shown once. */
  readonly text: string;
  readonly hash: Uint8Array;
}

/** Drawn for 64 tokens at a time, a tenth of the cost; what was taken is overwritten at once. */
const drawn = Buffer.alloc(64 * RANDOM_BYTES);
let next = drawn.length;

export function generateScopedToken(): GeneratedScopedToken {
  if (next === drawn.length) {
    randomFillSync(drawn);
    next = 0;
  }
  const random = drawn.subarray(next, next + RANDOM_BYTES);
  next += RANDOM_BYTES;
  const text = `${SCOPED_TOKEN_PREFIX}${random.toString('base64url')}`;
  random.fill(0);
  return { text, hash: hashScopedToken(text) };
}

/** 32 bytes. A salt or a slow hash would add nothing: nobody can guess 256 random bits. */
export function hashScopedToken(text: string): Uint8Array {
  return hash('sha256', text, 'buffer');
}
