/**
 * Checks signatures of intent tokens, and no signature twice: an agent presents one token for each step of its plan, and
 * the signature is most of what a verification costs. A right one stays right under its key, so only right ones are
 * remembered, by the SHA-256 of all that was signed and the signature, for as long as their key is one of ours.
 */

import { createHash } from 'node:crypto';
import type { CheckSignature } from '../../domain/intent-tokens/intent-jwt.ts';
import type { Memories } from '../../use-cases/ports.ts';

export interface VerifyingKey {
  verify(signingInput: Uint8Array, signature: Uint8Array): boolean;
}

const SIGNATURE_BYTES = 64;
/** About 2 MB. */
const MAX_REMEMBERED = 10_000;

/** `findKey` says which keys are ours now. */
export function rememberSignatures(
  findKey: (kid: string) => VerifyingKey | undefined,
  memories: Memories,
  { maxRemembered = MAX_REMEMBERED }: { maxRemembered?: number } = {},
): CheckSignature {
  const right = new Map<string, VerifyingKey>();
  memories.add('signatures', () => right.clear());
  return ({ kid, signingInput, signature }) => {
    const key = findKey(kid);
    if (key === undefined) return undefined;
    // Of a fixed length, so that no two pairs are the same bytes (RFC 8032 section 5.1.6).
    if (signature.length !== SIGNATURE_BYTES) return false;
    const name = createHash('sha256').update(signingInput).update(signature).digest('base64');
    if (right.get(name) === key) return true;
    if (!key.verify(signingInput, signature)) return false;
    if (right.size >= maxRemembered) right.clear();
    right.set(name, key);
    return true;
  };
}
