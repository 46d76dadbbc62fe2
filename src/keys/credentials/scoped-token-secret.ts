/** Scoped tokens as strings (contract section 2): 256 random bits, kept only as their SHA-256. */

import { hash, randomFillSync } from 'node:crypto';
import { SCOPED_TOKEN_PREFIX } from '../../domain/scoped-tokens/scoped-token-format.ts';

const RANDOM_BYTES = 32;

export interface GeneratedScopedToken {
  /** The token itself: shown once. */
  readonly text: string;
  readonly hashHex: string;
}

/** Drawn for 64 tokens at a time, a tenth of the cost; what was taken is overwritten at once. */
const drawn = Buffer.alloc(64 * RANDOM_BYTES);
let next = drawn.length;

export function generateScopedToken(): GeneratedScopedToken {
  if (next === drawn.length) {
    randomFillSync(drawn);
    next = 0;
  }
  const end = next + RANDOM_BYTES;
  const text = `${SCOPED_TOKEN_PREFIX}${drawn.toString('base64url', next, end)}`;
  drawn.fill(0, next, end);
  next = end;
  return { text, hashHex: hashScopedToken(text) };
}

/** 64 hex digits. A salt or a slow hash would add nothing: nobody can guess 256 random bits. */
export function hashScopedToken(text: string): string {
  return hash('sha256', text, 'hex');
}
