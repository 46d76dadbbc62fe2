/** What binds an approval to what was asked (contract section 7): an HMAC (RFC 2104) under a key of the master key. */

import { timingSafeEqual } from 'node:crypto';
import { createHmacOf } from '../credentials/fingerprint.ts';
import type { KeyEncryption } from './key-encryption.ts';

export interface RequestDigest {
  /** HMAC-SHA256 of the text's UTF-8, in lower-case hex. */
  of(text: string): string;
  matches(text: string, digestHex: string): boolean;
}

export function createRequestDigest(kek: KeyEncryption): RequestDigest {
  const of = createHmacOf(kek.deriveKey('writ approval request'));
  return {
    of,
    matches: (text, digestHex) => {
      const [expected, given] = [Buffer.from(of(text)), Buffer.from(digestHex)];
      return expected.length === given.length && timingSafeEqual(expected, given);
    },
  };
}
