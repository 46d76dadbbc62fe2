/**
 * The form of an API key (contract section 2): 72 ASCII bytes whose last 8 are the CRC-32 (IEEE 802.3) of the rest, so
 * that a mistyped key is refused before anything costly. A right checksum says nothing about who holds the key.
 */

const API_KEY = /^ak_(?:live|test)_[0-9a-f]{64}$/;

export const KEY_ID = /^[0-9a-f]{16}$/;

const SECRET = /^[0-9a-f]{40}$/;

const CHECKSUM_START = 64;

/** Of what is public: `ak_live_` or `ak_test_` and the key id. */
export const API_KEY_PREFIX_LENGTH = 24;

/** Of a key at rest: `BCRYPT_COST` admits no more, and no key of ours has more. */
export const HIGHEST_BCRYPT_COST = 13;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
  }
  return remainder;
});

export interface ApiKey {
  /** The whole key: a credential. */
  readonly text: string;
  /** 16 lower-case hex digits, public. */
  readonly keyId: string;
  /** `ak_live_` or `ak_test_` and the key id, public: what views show as `api_key_prefix`. */
  readonly prefix24: string;
}

export type ParsedApiKey = { readonly ok: true; readonly key: ApiKey } | { readonly ok: false };

/** Checks shape and checksum. */
export function parseApiKey(text: string): ParsedApiKey {
  if (typeof text !== 'string' || !API_KEY.test(text)) return { ok: false };
  if (crc32Hex(text.slice(0, CHECKSUM_START)) !== text.slice(CHECKSUM_START)) return { ok: false };
  const prefix24 = apiKeyPrefix(text);
  return { ok: true, key: { text, keyId: prefix24.slice('ak_live_'.length), prefix24 } };
}

/** Of a well-formed key. */
export function apiKeyPrefix(text: string): string {
  return text.slice(0, API_KEY_PREFIX_LENGTH);
}

export interface ApiKeyParts {
  readonly environment: 'live' | 'test';
  /** 16 lower-case hex digits. */
  readonly keyIdHex: string;
  /** 40 lower-case hex digits, from a secure random source. */
  readonly secretHex: string;
}

/** @throws TypeError when a part has another form. */
export function formatApiKey({ environment, keyIdHex, secretHex }: ApiKeyParts): string {
  if (environment !== 'live' && environment !== 'test')
    throw new TypeError('environment must be live or test');
  if (typeof keyIdHex !== 'string' || !KEY_ID.test(keyIdHex))
    throw new TypeError('keyIdHex must be 16 hex digits');
  // The message names the form only: a rejected secret must not travel in an error.
  if (typeof secretHex !== 'string' || !SECRET.test(secretHex))
    throw new TypeError('secretHex must be 40 hex digits');
  const body = `ak_${environment}_${keyIdHex}${secretHex}`;
  return body + crc32Hex(body);
}

function crc32Hex(ascii: string): string {
  let crc = 0xffffffff;
  for (let index = 0; index < ascii.length; index++) {
    crc = (CRC_TABLE[(crc ^ ascii.charCodeAt(index)) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}
