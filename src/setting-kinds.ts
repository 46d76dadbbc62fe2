/**
 * The kinds of value that a setting takes: how the text of its environment variable is parsed, and the words that
 * say what is allowed. Nothing is coerced: a text that is not exactly of the kind is refused.
 */

import { KMS_KEY_FORMS, type KmsKey, parseKmsKey } from './domain/crypto/kms-key.ts';
import { type AddressBlock, parseAddressBlocks } from './domain/network/ip-address.ts';
import { parseApiKey } from './domain/principals/api-key.ts';

export interface SettingKind<Value> {
  /** Completes "NAME must be …". */
  readonly allowed: string;
  /** Undefined for a text that is not allowed. */
  readonly parse: (text: string) => Value | undefined;
}

/** A kind whose value is not `undefined` when the variable is unset and has no default. */
export interface SettingKindWithUnset<Value, Unset> extends SettingKind<Value> {
  readonly unset: Unset;
}

/** Any text. */
export function text(allowed: string): SettingKind<string> {
  return { allowed, parse: (given) => given };
}

/** Decimal digits without sign, exponent or leading zero. */
export function wholeNumber(min: number, max: number): SettingKind<number> {
  return {
    allowed: `a whole number from ${min} to ${max}`,
    parse: (given) => {
      const value = /^(0|[1-9]\d{0,9})$/.test(given) ? Number(given) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  };
}

export function oneOf<const Choice extends string>(choices: readonly Choice[]): SettingKind<Choice> {
  return {
    allowed: `one of ${choices.join(', ')}`,
    parse: (given) => choices.find((choice) => choice === given),
  };
}

export const FLAG: SettingKindWithUnset<true, false> = {
  allowed: '1 or unset',
  unset: false,
  parse: (given) => (given === '1' ? true : undefined),
};

export const POSTGRES_URL: SettingKind<string> = {
  allowed: 'a postgres:// URL',
  parse: (given) => {
    const protocol = URL.canParse(given) ? new URL(given).protocol : '';
    return protocol === 'postgres:' || protocol === 'postgresql:' ? given : undefined;
  },
};

export const MASTER_KEY: SettingKind<Uint8Array> = {
  allowed: '32 bytes as 64 hex or 44 base64 characters',
  parse: parseMasterKey,
};

/** A trailing newline is ignored: a file ends with one. */
export function parseMasterKey(given: string): Uint8Array | undefined {
  const trimmed = given.replace(/\r?\n$/, '');
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Uint8Array.from(Buffer.from(trimmed, 'hex'));
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) return undefined;
  const bytes = Buffer.from(trimmed, 'base64');
  return bytes.toString('base64') === trimmed ? Uint8Array.from(bytes) : undefined;
}

export const KMS_KEY: SettingKind<KmsKey> = { allowed: KMS_KEY_FORMS, parse: parseKmsKey };

/** Whether `http` will do depends on the host. */
export const VAULT_ADDR: SettingKind<string> = {
  allowed:
    'an https:// URL, or an http:// URL of a loopback address, without path, query, credentials or trailing slash',
  parse: (given) =>
    /^https?:\/\/[^/?#\s@\\"<>]{1,300}$/.test(given) && URL.canParse(given) ? given : undefined,
};

export const VAULT_TOKEN: SettingKind<string> = {
  allowed: 'a token of OpenBao or Vault: printable ASCII characters without spaces',
  parse: (given) => (/^[\x21-\x7e]{1,4096}$/.test(given) ? given : undefined),
};

export const API_KEY: SettingKind<string> = {
  allowed: 'an API key: ak_live_ or ak_test_ and 64 lower-case hex digits with their checksum',
  parse: (given) => (parseApiKey(given).ok ? given : undefined),
};

/** RFC 8414 section 2: an issuer is a URL without query or fragment. Kept as written: `iss` is compared byte by byte. */
export const ISSUER_URL: SettingKind<string> = {
  allowed: 'an http:// or https:// URL without query, fragment, credentials or trailing slash',
  parse: (given) => {
    if (!URL.canParse(given) || given.length > 512 || given.endsWith('/')) return undefined;
    return /^https?:\/\/[^/?#\s@\\"<>]+(\/[^?#\s\\"<>]*)?$/.test(given) ? given : undefined;
  },
};

export const AUDIENCE: SettingKind<string> = {
  allowed: '1 to 256 printable ASCII characters without spaces',
  parse: (given) => (/^[\x21-\x7e]{1,256}$/.test(given) ? given : undefined),
};

export const ADDRESS_BLOCKS: SettingKindWithUnset<readonly AddressBlock[], readonly AddressBlock[]> = {
  allowed: 'a comma-separated list of addresses or CIDR blocks',
  unset: [],
  parse: (given) => {
    const parsed = parseAddressBlocks(given.split(',').map((entry) => entry.trim()));
    return parsed.ok ? parsed.blocks : undefined;
  },
};

export const WEBHOOK_URL: SettingKind<string> = {
  allowed: 'an http:// or https:// URL without credentials or fragment',
  parse: (given) => {
    if (!URL.canParse(given) || given.length > 2048) return undefined;
    const { username, password } = new URL(given);
    return /^https?:\/\/[^/?#\s]+[^#\s]*$/.test(given) && !username && !password ? given : undefined;
  },
};

/** The form of Standard Webhooks. */
export const WEBHOOK_SECRET: SettingKind<Uint8Array> = {
  allowed: 'whsec_ and the base64 of 24 to 64 bytes',
  parse: (given) => {
    const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(given)?.[1];
    const bytes = Buffer.from(base64 ?? '', 'base64');
    const canonical = bytes.toString('base64') === base64 && bytes.length >= 24 && bytes.length <= 64;
    return canonical ? Uint8Array.from(bytes) : undefined;
  },
};
