/** Guarantees that a test meets both ways in which `writ/verify` checks signatures: WebCrypto, and JavaScript without it. */
import type { TestContext } from 'node:test';

export const ENGINES = ['WebCrypto', 'JavaScript'] as const;

/** For the rest of the test. Keys choose their engine at their first signature. */
export function useEngine(t: TestContext, engine: (typeof ENGINES)[number]): void {
  if (engine === 'WebCrypto') return;
  t.mock.method(crypto.subtle, 'importKey', () => Promise.reject(new Error('no Ed25519 here')));
  t.mock.method(crypto.subtle, 'verify', () => Promise.reject(new Error('no Ed25519 here')));
}
