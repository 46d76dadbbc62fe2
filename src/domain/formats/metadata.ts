/** Free JSON that is kept but not signed (`metadata`): what the database can hold, and no more than its limit. */

import { textToBytes } from '../crypto/hashing.ts';
import type { JsonObject, JsonValue } from '../json/strict-json.ts';

export const MAX_METADATA_BYTES = 8 * 1024;

/** Undefined when it may be kept, else why not. U+0000 has no place in `jsonb`; an infinite number has none in JSON. */
export function validateMetadata(value: JsonObject): string | undefined {
  if (hasMember(value, (member) => typeof member === 'number' && !Number.isFinite(member))) {
    return 'must not hold a number that is too large to read';
  }
  if (hasMember(value, (member) => typeof member === 'string' && member.includes('\u0000'))) {
    return 'must not hold the character U+0000';
  }
  if (textToBytes(JSON.stringify(value)).length > MAX_METADATA_BYTES) {
    return `must not be larger than ${MAX_METADATA_BYTES} bytes`;
  }
  return undefined;
}

/** Also asks of member names. The reader has bounded the depth. */
function hasMember(value: JsonValue, matches: (member: JsonValue) => boolean): boolean {
  if (matches(value)) return true;
  if (value === null || typeof value !== 'object') return false;
  if (Array.isArray(value)) return value.some((item) => hasMember(item, matches));
  return Object.entries(value).some(([name, member]) => matches(name) || hasMember(member, matches));
}
