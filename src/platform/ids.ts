/** The ids of everything that Writ makes: UUIDv7 (RFC 9562 section 5.7), unique and ordered; none of them is a secret. */

import { randomBytes, randomFillSync } from 'node:crypto';
import { V7Generator } from 'uuidv7';

/** The generator's own source asks for 32 bytes at a time: that was 6 of the 9 µs that an intent token's four ids cost. */
const numbers = new Uint32Array(1024);
let used = numbers.length;

const generator = new V7Generator({
  nextUint32: () => {
    if (used === numbers.length) {
      randomFillSync(numbers);
      used = 0;
    }
    const number = numbers[used] ?? 0;
    used += 1;
    return number;
  },
});

const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');
/** RFC 9562 section 4. */
const written = Buffer.from('00000000-0000-0000-0000-000000000000', 'latin1');
const HYPHEN = 45;

/**
 * Written in place: the generator's own text is put together of 36, which whoever reads it has to join, at twice the
 * cost of all the rest.
 */
export function newId(): string {
  let place = 0;
  for (const byte of generator.generate().bytes) {
    if (written[place] === HYPHEN) place += 1;
    written[place] = HEX_DIGITS[byte >>> 4] ?? 0;
    written[place + 1] = HEX_DIGITS[byte & 15] ?? 0;
    place += 2;
  }
  return written.toString('latin1');
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** `apr_` and 8 characters of base32 (RFC 4648 section 6, lower case): five bits of each byte. */
export function newApprovalId(): string {
  return `apr_${Array.from(randomBytes(8), (byte) => BASE32.charAt(byte & 31)).join('')}`;
}
