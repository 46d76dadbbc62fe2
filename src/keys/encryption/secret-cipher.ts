/**
 * Envelope encryption of secrets: every version has a 256-bit key of its own, used once with AES-256-GCM (NIST SP
 * 800-38D), and that key is wrapped by the key-encryption key. Value and key are bound to secret, path and version
 * by additional data, so a row that was changed, or exchanged for another, does not open.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { SealBinding, SealedValue, SecretCipher } from '../../use-cases/secrets/ports.ts';
import { type KeyEncryption, unwrapOrUndefined } from './key-encryption.ts';
import { type MasterKeys, missingMasterKey } from './master-keys.ts';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export function createSecretCipher(
  masterKeys: Pick<MasterKeys, 'active' | 'find' | 'isMissing'>,
): SecretCipher {
  return {
    seal: (value, binding) => {
      const purpose = purposeOf(binding);
      const random = randomBytes(KEY_BYTES + NONCE_BYTES);
      const dataKey = random.subarray(0, KEY_BYTES);
      const nonce = random.subarray(KEY_BYTES);
      const cipher = createCipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(purpose));
      const ciphertext = Buffer.concat([cipher.update(value), cipher.final(), cipher.getAuthTag()]);
      const kek = masterKeys.active();
      const wrappedKey = kek.wrap(dataKey, purpose);
      return { wrappedKey, kekId: kek.kekId, nonce: Buffer.from(nonce), ciphertext };
    },
    open: (sealed, binding) => {
      const kek = masterKeys.find(sealed.kekId);
      if (kek === undefined && masterKeys.isMissing(sealed.kekId)) throw missingMasterKey();
      if (kek === undefined) return undefined;
      if (sealed.nonce.length !== NONCE_BYTES || sealed.ciphertext.length < TAG_BYTES) return undefined;
      return decrypt(kek, sealed, purposeOf(binding));
    },
  };
}

/** For a change of the master key. Undefined of a version that does not open: it is left as it is. */
export interface SecretRewrap {
  /** The same data key, wrapped under the active key. */
  rewrap(sealed: Pick<SealedValue, 'wrappedKey' | 'kekId'>, binding: SealBinding): Uint8Array | undefined;
  /** The same value under a new data key. */
  renew(sealed: SealedValue, binding: SealBinding): SealedValue | undefined;
}

export function createSecretRewrap(
  masterKeys: Pick<MasterKeys, 'active' | 'find' | 'isMissing'>,
): SecretRewrap {
  const cipher = createSecretCipher(masterKeys);
  return {
    rewrap: ({ wrappedKey, kekId }, binding) => {
      const purpose = purposeOf(binding);
      const kek = masterKeys.find(kekId);
      const dataKey = kek && unwrapOrUndefined(kek, wrappedKey, purpose);
      return dataKey?.length === KEY_BYTES ? masterKeys.active().wrap(dataKey, purpose) : undefined;
    },
    renew: (sealed, binding) => {
      const value = cipher.open(sealed, binding);
      return value && cipher.seal(value, binding);
    },
  };
}

function decrypt(
  kek: KeyEncryption,
  { wrappedKey, nonce, ciphertext }: SealedValue,
  purpose: string,
): Uint8Array | undefined {
  const dataKey = unwrapOrUndefined(kek, wrappedKey, purpose);
  if (dataKey?.length !== KEY_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(purpose));
  decipher.setAuthTag(ciphertext.subarray(ciphertext.length - TAG_BYTES));
  const head = decipher.update(ciphertext.subarray(0, ciphertext.length - TAG_BYTES));
  try {
    return Buffer.concat([head, decipher.final()]);
  } catch {
    // The last step throws for one reason only: the tag does not fit.
    return undefined;
  }
}

/** No part holds a colon but the last: an id is hexadecimal, a version a number, and the path ends the text. */
const purposeOf = ({ secretId, path, version }: SealBinding): string =>
  `secret:${secretId}:${version}:${path}`;
