/** Ids of approvals: `apr_` and 40 random bits in base32 (RFC 4648 section 6), lower case. They are no secret. */

import { randomBytes } from 'node:crypto';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

export function newApprovalId(): string {
  let bits = BigInt(`0x${randomBytes(5).toString('hex')}`);
  let text = '';
  for (let index = 0; index < 8; index += 1) {
    text = (ALPHABET[Number(bits & 31n)] ?? '') + text;
    bits >>= 5n;
  }
  return `apr_${text}`;
}
