/**
 * An API key sent as HTTP Basic, as OAuth clients send their id and secret: key id and key, each form-urlencoded
 * (RFC 7617, RFC 6749 section 2.3.1).
 */

import { parseApiKey } from '../../domain/principals/api-key.ts';

const BASIC = /^Basic ([A-Za-z0-9+/]{1,512}={0,2})$/i;

/** The key, if it is one and the id is its own; undefined for everything else. */
export function readBasicCredential(authorization: string): string | undefined {
  const encoded = BASIC.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  // One key has one spelling: the decoder would skip what does not belong.
  if (bytes.toString('base64') !== encoded) return undefined;
  const pair = bytes.toString('latin1');
  const colon = pair.indexOf(':');
  const keyId = decodeFormText(pair.slice(0, Math.max(0, colon)));
  const keyText = decodeFormText(pair.slice(colon + 1));
  if (keyId === undefined || keyText === undefined) return undefined;
  const parsed = parseApiKey(keyText);
  return parsed.ok && parsed.key.keyId === keyId ? keyText : undefined;
}

/** RFC 6749 appendix B. */
function decodeFormText(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
