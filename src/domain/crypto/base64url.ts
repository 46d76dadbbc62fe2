/**
 * base64url without padding (RFC 4648 section 5, as RFC 7515 uses it), for servers and browsers alike. Every byte
 * string has exactly one text: padding, white space and trailing bits that are not zero are refused.
 */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const NOT_IN_ALPHABET = -1;
const SEXTETS = new Int8Array(128).fill(NOT_IN_ALPHABET);
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
  const whole = text.length - (text.length % 4);
  let written = 0;
  for (let index = 0; index < whole; index += 4) {
    const group =
      (sextetAt(text, index) << 18) |
      (sextetAt(text, index + 1) << 12) |
      (sextetAt(text, index + 2) << 6) |
      sextetAt(text, index + 3);
    if (group < 0) return undefined;
    bytes[written] = group >> 16;
    bytes[written + 1] = group >> 8;
    bytes[written + 2] = group;
    written += 3;
  }
  return decodeEnd(text, whole, bytes);
}

/** The two or three characters behind the last whole group. */
function decodeEnd(text: string, whole: number, bytes: Uint8Array): Uint8Array | undefined {
  const rest = text.length - whole;
  if (rest === 0) return bytes;
  const third = rest === 3 ? sextetAt(text, whole + 2) : 0;
  const group = (sextetAt(text, whole) << 18) | (sextetAt(text, whole + 1) << 12) | (third << 6);
  // Bits nobody reads would give one signature several spellings, and with them a revoked text a second life.
  const unread = rest === 3 ? 0xff : 0xffff;
  if (group < 0 || (group & unread) !== 0) return undefined;
  bytes[bytes.length - rest + 1] = group >> 16;
  if (rest === 3) bytes[bytes.length - 1] = group >> 8;
  return bytes;
}

/** Negative, whatever it is shifted by, for what is not in the alphabet. */
function sextetAt(text: string, index: number): number {
  return SEXTETS[text.charCodeAt(index)] ?? NOT_IN_ALPHABET;
}
