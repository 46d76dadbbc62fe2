/** SHA-256 by node:crypto, the server's implementation of the `Sha256` port of `domain` (FIPS 180-4). */

import { hash } from 'node:crypto';
import type { Sha256 } from '../domain/hashing.ts';

export const nodeSha256: Sha256 = {
  hex: (text) => hash('sha256', text, 'hex'),
  bytes: (data) => hash('sha256', data, 'buffer'),
};
