/**
 * The key-encryption key: AES-256-GCM (NIST SP 800-38D) under a key derived from the master key by HKDF-SHA256
 * (RFC 5869). Every wrap is bound to its purpose by additional data; its nonce is fresh and random.
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CHECK_TEXT = 'writ key-encryption key check';
/** Of a check value from before rows had seals. */
const UNSEALED_CHECK = 'check';
const SEALED_CHECK = 'check of sealed rows';

/** What was wrapped is not what is read: another key, another purpose, or a changed row. */
export class UnwrapError extends Error {
  override readonly name = 'UnwrapError';
}

export interface KeyEncryption {
  /** Names the key without telling it: 16 hex characters. */
  readonly kekId: string;
  /** nonce ‖ ciphertext ‖ tag. */
  wrap(plaintext: Uint8Array, purpose: string): Uint8Array;
  /** Throws `UnwrapError`. */
  unwrap(wrapped: Uint8Array, purpose: string): Uint8Array;
  /** 32 bytes for another purpose, from the same master key (RFC 5869). */
  deriveKey(purpose: string): Uint8Array;
  /** For `master_keys`: a value that only this key makes and opens. It says that all rows of the database are sealed. */
  checkValue(): Uint8Array;
  /** `'unsealed'`: the value is from before rows had seals. Undefined: it is of another key. */
  readCheckValue(value: Uint8Array): 'sealed' | 'unsealed' | undefined;
}

/** `masterKey` is 32 bytes; anything else is a programmer's mistake. */
export function createKeyEncryption(masterKey: Uint8Array): KeyEncryption {
  if (masterKey.length !== 32) throw new TypeError('a master key has 32 bytes');
  const key = new Uint8Array(hkdfSync('sha256', masterKey, '', 'writ key-encryption', 32));
  const kekId = Buffer.from(hkdfSync('sha256', masterKey, '', 'writ key-encryption id', 8)).toString('hex');
  const wrap = (plaintext: Uint8Array, purpose: string): Uint8Array => {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(`${kekId}:${purpose}`));
    return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  };
  const unwrap = (wrapped: Uint8Array, purpose: string): Uint8Array => {
    if (wrapped.length < NONCE_BYTES + TAG_BYTES) throw new UnwrapError('a wrapped value is too short');
    const decipher = createDecipheriv('aes-256-gcm', key, wrapped.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(`${kekId}:${purpose}`));
    decipher.setAuthTag(wrapped.subarray(wrapped.length - TAG_BYTES));
    try {
      return Buffer.concat([
        decipher.update(wrapped.subarray(NONCE_BYTES, wrapped.length - TAG_BYTES)),
        decipher.final(),
      ]);
    } catch (cause) {
      throw new UnwrapError('a wrapped value does not open', { cause });
    }
  };
  return {
    kekId,
    wrap,
    unwrap,
    deriveKey: (purpose) => new Uint8Array(hkdfSync('sha256', masterKey, '', purpose, 32)),
    checkValue: () => wrap(Buffer.from(CHECK_TEXT), SEALED_CHECK),
    readCheckValue: (value) => {
      const opens = (purpose: string): boolean => {
        try {
          return Buffer.from(unwrap(value, purpose)).toString() === CHECK_TEXT;
        } catch {
          return false;
        }
      };
      return opens(SEALED_CHECK) ? 'sealed' : opens(UNSEALED_CHECK) ? 'unsealed' : undefined;
    },
  };
}

/** Undefined where it does not open, or where the key is not given. */
export function unwrapOrUndefined(
  kek: Pick<KeyEncryption, 'unwrap'> | undefined,
  wrapped: Uint8Array,
  purpose: string,
): Uint8Array | undefined {
  try {
    return kek?.unwrap(wrapped, purpose);
  } catch (error) {
    if (error instanceof UnwrapError) return undefined;
    throw error;
  }
}
