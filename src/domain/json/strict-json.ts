/**
 * Reads JSON (RFC 8259) and refuses every text that two readers could understand differently (I-JSON, RFC 7493
 * section 2; contract section 3). What it accepts has the value that `JSON.parse` gives, in time linear in the input.
 */

import { isBytes } from '@noble/hashes/utils.js';
import { type NumberSpan, scanJson } from './json-scanner.ts';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export type JsonObject = { [member: string]: JsonValue };

/** Tells an object from the other five kinds of value. `undefined` stands for a member that is absent. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export type StrictJsonReason =
  | 'invalid_utf8'
  | 'bom'
  | 'syntax'
  | 'duplicate_key'
  | 'forbidden_key'
  | 'lone_surrogate'
  | 'too_deep';

export type StrictJson =
  | {
      readonly ok: true;
      readonly value: JsonValue;
      /** The objects and arrays that hold a number written non-zero which reads as 0. */
      readonly underflowed: ReadonlySet<object>;
    }
  | { readonly ok: false; readonly reason: StrictJsonReason };

const NONE: ReadonlySet<object> = new Set();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Objects are plain `{}` whose members are all own, also `constructor` and the like; numbers beyond the range of a
 * double read as ±Infinity. Of several faults, depth is reported before syntax and syntax before the rest.
 * @throws TypeError when `bytes` is not a Uint8Array.
 */
export function readStrictJson(bytes: Uint8Array): StrictJson {
  if (!isBytes(bytes)) throw new TypeError('bytes must be a Uint8Array');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return refuse('bom');
  const text = decode(bytes);
  if (text === undefined) return refuse('invalid_utf8');
  // Before the parser: a megabyte of `[` must not become half a million arrays.
  const scan = scanJson(bytes);
  if (scan.tooDeep) return refuse('too_deep');
  const value = parse(text);
  if (value === undefined) return refuse('syntax');
  if (scan.loneSurrogate) return refuse('lone_surrogate');
  const members = countMembers(value);
  if (members === undefined) return refuse('forbidden_key');
  // A name that comes twice leaves one member: the value then has fewer than the text.
  if (members !== scan.members) return refuse('duplicate_key');
  return { ok: true, value, underflowed: locate(bytes, value, scan.underflows) };
}

function refuse(reason: StrictJsonReason): StrictJson {
  return { ok: false, reason };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function parse(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** How many members the objects at every depth have together; undefined if one of them is named `__proto__`. */
function countMembers(value: JsonValue): number | undefined {
  if (typeof value !== 'object' || value === null) return 0;
  const items: readonly JsonValue[] = Array.isArray(value) ? value : Object.values(value);
  let count = items === value ? 0 : items.length;
  if (count > 0 && Object.hasOwn(value, '__proto__')) return undefined;
  for (const item of items) {
    if (typeof item !== 'object' || item === null) continue;
    const below = countMembers(item);
    if (below === undefined) return undefined;
    count += below;
  }
  return count;
}

/**
 * Which objects and arrays hold the numbers at `spans`: the text is read once more with 1e999 in their place, and they
 * are where one reading has 0 and the other Infinity. Honest documents have no such number and do not pay for this.
 */
function locate(bytes: Uint8Array, value: JsonValue, spans: readonly NumberSpan[]): ReadonlySet<object> {
  if (spans.length === 0) return NONE;
  let marked = '';
  let from = 0;
  for (const { start, end } of spans) {
    marked += `${utf8.decode(bytes.subarray(from, start))}1e999`;
    from = end;
  }
  const found = new Set<object>();
  collect(value, JSON.parse(marked + utf8.decode(bytes.subarray(from))), found);
  return found;
}

function collect(value: JsonValue, marked: JsonValue, found: Set<object>): void {
  if (typeof value !== 'object' || value === null || typeof marked !== 'object' || marked === null) return;
  const others = Object.values(marked);
  for (const [index, item] of Object.values(value).entries()) {
    const other = others[index] ?? null;
    if (item === 0 && other === Number.POSITIVE_INFINITY) found.add(value);
    else collect(item, other, found);
  }
}
