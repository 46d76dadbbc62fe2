/** What binds an approval to what was asked (contract section 7): an HMAC (RFC 2104) under a key of the master key. */

import { timingSafeEqual } from 'node:crypto';
import { createHmacOf } from '../credentials/fingerprint.ts';
import type { KeyEncryption } from './key-encryption.ts';
import type { MasterKeys } from './master-keys.ts';

const KEK_ID_CHARACTERS = 16;
const DIGEST_CHARACTERS = 64;

type HmacOf = (text: string) => string;

export interface RequestDigest {
  /** The id of the active key-encryption key and HMAC-SHA256 of the text's UTF-8, in lower-case hex. */
  of(text: string): string;
  /** Also a digest that names no key, as people are shown it and older versions kept it: under any key that counts. */
  matches(text: string, digestHex: string): boolean;
}

export function createRequestDigest(masterKeys: MasterKeys): RequestDigest {
  const made = new WeakMap<KeyEncryption, HmacOf>();
  const hmacOf = (key: KeyEncryption): HmacOf => {
    const known = made.get(key) ?? createHmacOf(key.deriveKey('writ approval request'));
    made.set(key, known);
    return known;
  };
  const fits = (key: KeyEncryption | undefined, text: string, digestHex: string): boolean => {
    if (key === undefined) return false;
    const [expected, given] = [Buffer.from(hmacOf(key)(text)), Buffer.from(digestHex)];
    return expected.length === given.length && timingSafeEqual(expected, given);
  };
  return {
    of: (text) => {
      const key = masterKeys.active();
      return key.kekId + hmacOf(key)(text);
    },
    matches: (text, digestHex) => {
      if (digestHex.length === KEK_ID_CHARACTERS + DIGEST_CHARACTERS) {
        const key = masterKeys.find(digestHex.slice(0, KEK_ID_CHARACTERS));
        return fits(key, text, digestHex.slice(KEK_ID_CHARACTERS));
      }
      return masterKeys.inUse().some((kekId) => fits(masterKeys.find(kekId), text, digestHex));
    },
  };
}
