/**
 * Writes the one text that Writ hashes and signs for a JSON value (contract section 4.2). It is RFC 8785 with every
 * character above U+007E escaped, and it refuses what two implementations would print or sort differently.
 */

import type { JsonObject, JsonValue } from './strict-json.ts';

export type CanonicalJsonReason = 'number_out_of_range' | 'nul_character' | 'astral_key' | 'lone_surrogate';

export type CanonicalJson =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: CanonicalJsonReason };

interface Writer {
  refusal: CanonicalJsonReason | undefined;
  readonly underflowed: ReadonlySet<object> | undefined;
  readonly written: ReadonlyMap<object, string> | undefined;
}

/** Text that stands for itself between quotation marks. */
const PLAIN = /^[ !#-[\]-~]*$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const SURROGATE = /[\ud800-\udfff]/;
const ABOVE_PRINTABLE_ASCII = /[\u007f-\uffff]/g;

/**
 * The canonical text (ASCII, so its length is its size in bytes), or the first reason why there is none.
 * `underflowed` comes from `readStrictJson`; `written` holds canonical texts of objects and arrays inside `value` that
 * the caller has already, so that they are not written twice.
 * @throws TypeError when `value` holds something that is not JSON, such as `undefined`, a bigint or a Date.
 */
export function canonicalJson(
  value: JsonValue,
  underflowed?: ReadonlySet<object>,
  written?: ReadonlyMap<object, string>,
): CanonicalJson {
  const writer: Writer = {
    refusal: undefined,
    underflowed: underflowed?.size === 0 ? undefined : underflowed,
    written,
  };
  const text = write(value, writer);
  return writer.refusal === undefined ? { ok: true, text } : { ok: false, reason: writer.refusal };
}

/** The canonical text of a value made by our own code. @throws Error when it has none: that is a bug of ours. */
export function canonicalText(value: JsonValue): string {
  const result = canonicalJson(value);
  if (!result.ok) throw new Error(`value has no canonical form: ${result.reason}`);
  return result.text;
}

function refuse(writer: Writer, reason: CanonicalJsonReason): string {
  writer.refusal ??= reason;
  return '';
}

function write(value: JsonValue, writer: Writer): string {
  if (typeof value === 'string') return writeString(value, writer);
  if (typeof value === 'number') {
    // Every double above 2^53 - 1 is an integer that other integers are rounded to: two plans, one text.
    return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? `${value}` : refuse(writer, 'number_out_of_range');
  }
  if (typeof value === 'boolean' || value === null) return `${value}`;
  if (typeof value !== 'object') throw new TypeError(`${typeof value} is not a JSON value`);
  if (writer.underflowed?.has(value)) return refuse(writer, 'number_out_of_range');
  return (
    writer.written?.get(value) ??
    (Array.isArray(value) ? writeArray(value, writer) : writeObject(value, writer))
  );
}

function writeArray(items: readonly JsonValue[], writer: Writer): string {
  let text = '';
  let separator = '[';
  // Not `map`: it skips holes, and a list with a hole is not JSON.
  for (const item of items) {
    text += separator + write(item, writer);
    if (writer.refusal !== undefined) return '';
    separator = ',';
  }
  return text === '' ? '[]' : `${text}]`;
}

function writeObject(value: JsonObject, writer: Writer): string {
  requirePlain(value);
  let text = '';
  let separator = '{';
  // UTF-16 order is code point order here: a name with a surrogate is refused.
  for (const name of Object.keys(value).sort()) {
    // undefined comes only from a caller without types, and `write` throws at it.
    text += `${separator + writeName(name, writer)}:${write(value[name] as JsonValue, writer)}`;
    if (writer.refusal !== undefined) return '';
    separator = ',';
  }
  return text === '' ? '{}' : `${text}}`;
}

function writeName(name: string, writer: Writer): string {
  if (PLAIN.test(name)) return `"${name}"`;
  if (LONE_SURROGATE.test(name)) return refuse(writer, 'lone_surrogate');
  return SURROGATE.test(name) ? refuse(writer, 'astral_key') : writeString(name, writer);
}

function writeString(value: string, writer: Writer): string {
  if (PLAIN.test(value)) return `"${value}"`;
  if (value.includes('\0')) return refuse(writer, 'nul_character');
  if (LONE_SURROGATE.test(value)) return refuse(writer, 'lone_surrogate');
  return JSON.stringify(value).replace(
    ABOVE_PRINTABLE_ASCII,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A Date, a Map or a class instance would be written as `{}` and so lose what it holds. */
function requirePlain(value: object): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return;
  // Object.prototype of another realm (an iframe, a `vm` context) is recognised by being the end of the chain.
  if (Object.getPrototypeOf(prototype) !== null) throw new TypeError('only plain objects are JSON values');
}
