/** The entity tag of an answer (RFC 9110 section 8.8.3): it changes with the text that it stands for. */

import { nodeSha256 } from '../keys/signing/node-sha256.ts';

const HEX_CHARACTERS = 32;

export const strongEntityTag = (text: string): string => `"${nodeSha256.hex(text).slice(0, HEX_CHARACTERS)}"`;
