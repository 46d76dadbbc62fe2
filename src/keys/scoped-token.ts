/** Scoped tokens as strings (contract section 2): 256 random bits, kept only as their SHA-256. */

import { createHash, randomBytes } from 'node:crypto';
import { SCOPED_TOKEN_PREFIX } from '../domain/api-key.ts';

const RANDOM_BYTES = 32;

export interface GeneratedScopedToken {
  /** The token itself: shown once. */
  readonly text: string;
  readonly hash: Uint8Array;
}

export function generateScopedToken(): GeneratedScopedToken {
  const text = `${SCOPED_TOKEN_PREFIX}${randomBytes(RANDOM_BYTES).toString('base64url')}`;
  return { text, hash: hashScopedToken(text) };
}

/** 32 bytes. A salt or a slow hash would add nothing: nobody can guess 256 random bits. */
export function hashScopedToken(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
