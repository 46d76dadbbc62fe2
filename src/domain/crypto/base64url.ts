/**
 * base64url without padding (RFC 4648 section 5, as RFC 7515 uses it), for servers and browsers alike. Every byte
 * string has exactly one text: padding, white space and trailing bits that are not zero are refused.
 */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const NOT_IN_ALPHABET = 0xff;
const SEXTETS = new Uint8Array(128).fill(NOT_IN_ALPHABET);
for (let sextet = 0; sextet < ALPHABET.length; sextet++) SEXTETS[ALPHABET.charCodeAt(sextet)] = sextet;

/** @throws TypeError when `bytes` is not a Uint8Array. */
export function encodeBase64url(bytes: Uint8Array): string {
  if (!(bytes instanceof Uint8Array)) throw new TypeError('bytes must be a Uint8Array');
  let text = '';
  let pending = 0;
  let bits = 0;
  for (const byte of bytes) {
    pending = ((pending << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 6) {
      bits -= 6;
      text += ALPHABET.charAt((pending >> bits) & 0x3f);
    }
  }
  return bits === 0 ? text : text + ALPHABET.charAt((pending << (6 - bits)) & 0x3f);
}

/** The bytes of a canonical text, else `undefined`. */
export function decodeBase64url(text: string): Uint8Array | undefined {
  if (typeof text !== 'string' || text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let pending = 0;
  let bits = 0;
  let written = 0;
  for (let index = 0; index < text.length; index++) {
    const sextet = SEXTETS[text.charCodeAt(index)] ?? NOT_IN_ALPHABET;
    if (sextet === NOT_IN_ALPHABET) return undefined;
    pending = ((pending << 6) | sextet) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[written++] = (pending >> bits) & 0xff;
    }
  }
  // Bits nobody reads would give one signature several spellings, and with them a revoked text a second life.
  return (pending & ((1 << bits) - 1)) === 0 ? bytes : undefined;
}
