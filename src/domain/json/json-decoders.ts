/**
 * Reads a value of known shape out of parsed JSON and says where the first fault lies, as a JSON pointer (RFC 6901).
 * Nothing is coerced, and an unknown member is a fault (contract section 3).
 */

import { escapePointerToken } from './json-pointer.ts';
import { isJsonObject, type JsonValue } from './strict-json.ts';

export interface ValidationIssue {
  readonly ok: false;
  /** Relative to the value that was read; empty for the value itself. */
  readonly pointer: string;
  readonly message: string;
}

export type Read<T> = { readonly ok: true; readonly value: T } | ValidationIssue;
export type Reader<T> = (value: JsonValue) => Read<T>;

export function accept<T>(value: T): Read<T> {
  return { ok: true, value };
}

export function fault(message: string): ValidationIssue {
  return { ok: false, pointer: '', message };
}

/** The same reader with its result put into another form. */
export function mapped<T, U>(reader: Reader<T>, convert: (value: T) => U): Reader<U> {
  return (value) => {
    const read = reader(value);
    return read.ok ? accept(convert(read.value)) : read;
  };
}

export function integer(min: number, max: number): Reader<number> {
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? accept(value)
      : fault(`must be a whole number from ${min} to ${max}`);
}

export function text(maxLength: number): Reader<string> {
  return (value) =>
    typeof value === 'string' && value.length <= maxLength
      ? accept(value)
      : fault(`must be a string of at most ${maxLength} characters`);
}

/** One of the values; what is read is its position. */
export function oneOf(values: readonly JsonValue[], description: string): Reader<number> {
  return (value) => {
    const position = values.indexOf(value);
    return position === -1 ? fault(`must be ${description}`) : accept(position);
  };
}

export function list<T>(item: Reader<T>, maxItems = Number.POSITIVE_INFINITY): Reader<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) return fault('must be a list');
    if (value.length > maxItems) return fault(`must have at most ${maxItems} entries`);
    const items: T[] = [];
    for (const [index, entry] of value.entries()) {
      const read = item(entry);
      if (!read.ok) return within(String(index), read);
      items.push(read.value);
    }
    return accept(items);
  };
}

/** An object, each of whose members has a reader that gives a part of the result. */
export function members<T extends object>(
  readers: ReadonlyMap<string, Reader<T>>,
): Reader<T | Record<never, never>> {
  return (value) => {
    if (!isJsonObject(value)) return fault('must be an object');
    const result = {};
    for (const [name, member] of Object.entries(value)) {
      const read = readers.get(name)?.(member) ?? fault('is not a member that is known here');
      if (!read.ok) return within(name, read);
      Object.assign(result, read.value);
    }
    return accept(result);
  };
}

function within(name: string, { pointer, message }: ValidationIssue): ValidationIssue {
  return { ok: false, pointer: `/${escapePointerToken(name)}${pointer}`, message };
}
