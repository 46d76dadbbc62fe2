/**
 * API keys at rest: bcrypt over the whole key, which is exactly the 72 bytes that bcrypt reads. Hashing runs in
 * the thread pool, never on the event loop.
 */

import { randomBytes } from 'node:crypto';
import bcrypt from 'bcrypt';
import { apiKeyPrefix, formatApiKey } from '../../domain/principals/api-key.ts';

export interface GeneratedApiKey {
  /** The key itself: shown once, never stored. */
  readonly text: string;
  readonly keyId: string;
}

/** 64 random bits of public id, 160 of secret. */
export function generateApiKey(environment: 'live' | 'test' = 'live'): GeneratedApiKey {
  const keyIdHex = randomBytes(8).toString('hex');
  const secretHex = randomBytes(20).toString('hex');
  return { text: formatApiKey({ environment, keyIdHex, secretHex }), keyId: keyIdHex };
}

/** A `$2b$` hash. */
export function hashApiKey(text: string, cost: number): Promise<string> {
  return bcrypt.hash(text, cost);
}

export function compareApiKey(text: string, hash: string): Promise<boolean> {
  return bcrypt.compare(text, hash);
}

const HASH = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

/** Undefined for what is no bcrypt hash, on which no work is done. */
export function costOfHash(hash: string): number | undefined {
  const cost = HASH.exec(hash)?.[1];
  return cost === undefined ? undefined : Number(cost);
}

/** A hash that no key has. */
export function dummyHash(cost: number): Promise<string> {
  return bcrypt.hash(randomBytes(36).toString('hex'), cost);
}

/** A fresh key with everything that is stored of it. */
export async function makeApiKey(cost: number): Promise<GeneratedApiKey & { prefix: string; hash: string }> {
  const { text, keyId } = generateApiKey();
  return { text, keyId, prefix: apiKeyPrefix(text), hash: await hashApiKey(text, cost) };
}
