/** Tells a JSON object from the other five kinds of JSON value (RFC 8259 section 3). */

import type { JsonObject, JsonValue } from './strict-json.ts';

/** `undefined` stands for a member that is absent. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
