/** Pieces of request and answer schemas (TypeBox, JSON Schema 2020-12) that several routes share. */

import Type, { type Static, type TSchema } from 'typebox';
import { DIGEST_HEX } from '../../domain/crypto/hashing.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import { type ErrorCode, WritError } from '../../errors.ts';

/** An object whose members are all named here: an unknown one is refused, never ignored. */
export const strictObject = <Members extends Record<string, TSchema>>(
  members: Members,
  description?: string,
) =>
  Type.Object(members, {
    additionalProperties: false,
    ...(description === undefined ? {} : { description }),
  });

/** What a fault in this member is called, where it is not `VALIDATION_ERROR`. */
export const refusedAs = (code: ErrorCode) => ({ 'x-error-code': code });

/** What is said of a text that its pattern refuses. */
export const ruledBy = (rule: string) => ({ 'x-rule': rule });

/** A schema that also admits null: in an answer "there is none", in an update "clear it". */
export function nullable<Schema extends TSchema>(schema: Schema) {
  const { type, enum: members, ...rest } = schema as Schema & { type?: string; enum?: unknown[] };
  return Type.Unsafe<Static<Schema> | null>({
    ...rest,
    type: [type, 'null'],
    ...(members === undefined ? {} : { enum: [...members, null] }),
  });
}

export const oneOf = <const Members extends readonly string[]>(members: Members, description?: string) =>
  Type.Unsafe<Members[number]>({
    type: 'string',
    enum: [...members],
    ...(description === undefined ? {} : { description }),
  });

/**
 * Of a text in base64url or hex that the server made: it is written without being searched for what JSON escapes, which
 * takes 29 µs of a JWT of 12 KB. The word is the serializer's; the description leaves it out.
 */
export const UNESCAPED = { format: 'unsafe' } as const;

/** Text that the database can hold: everything but U+0000. */
export const text = (options: { min?: number; max: number; description?: string }) =>
  Type.String({
    minLength: options.min ?? 0,
    maxLength: options.max,
    pattern: '^[^\\u0000]*$',
    ...(options.description === undefined ? {} : { description: options.description }),
  });

/** What does not show: format and direction characters, private ones, breaks of a line, and letters without a shape. */
const INVISIBLE = '\\p{Cf}\\p{Co}\\u2028\\u2029\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u2800\\u3164\\uffa0';

const visible = (control: string, rule: string) => (options: { min?: number; max: number }) =>
  Type.String({
    minLength: options.min ?? 0,
    maxLength: options.max,
    pattern: `^[^${control}${INVISIBLE}]*$`,
    ...ruledBy(rule),
  });

/** One line that people decide by: it shows all that it holds, in the order in which it holds it. */
export const label = visible('\\p{Cc}', 'must have no control, direction or other invisible character');

/** The same, in several lines. */
export const note = visible(
  '\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f',
  'must have no control, direction or other invisible character but line breaks and tabs',
);

/** RFC 3339 section 5.6; answers write it in UTC. The pattern is stricter than what validators take for a `date-time`. */
export const instant = (description?: string) =>
  Type.String({
    format: 'date-time',
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$',
    ...ruledBy('must be a time such as 2026-11-01T09:00:00Z'),
    ...(description === undefined ? {} : { description }),
  });

export const uuid = (description?: string) =>
  Type.String({ format: 'uuid', ...(description === undefined ? {} : { description }) });

export const sha256Hex = (description: string) => Type.String({ pattern: DIGEST_HEX.source, description });

/** Any JSON object; what it may hold is decided behind the schema. */
export const freeObject = (description: string, options: Record<string, unknown> = {}) =>
  Type.Unsafe<JsonObject>({ type: 'object', additionalProperties: true, description, ...options });

export const PageQuery = {
  limit: Type.Optional(
    Type.String({
      pattern: '^([1-9][0-9]{0,2}|1000)$',
      description: '1 to 1000; without it everything up to 10,000. A page also ends at about 1 MiB.',
    }),
  ),
  // A path of 512 characters in base64url.
  cursor: Type.Optional(
    Type.String({ minLength: 1, maxLength: 683, description: '`next_cursor` of the answer before' }),
  ),
};

export const listOf = <Item extends TSchema>(item: Item) =>
  strictObject({ items: Type.Array(item), next_cursor: nullable(Type.String()) });

/** Two spellings of one member: either of them, or both if they say the same. Else `VALIDATION_ERROR`. */
export function sameIfBoth<Value>(
  [name, value]: readonly [string, Value | undefined],
  [alias, other]: readonly [string, Value | undefined],
): Value | undefined {
  if (value === undefined || other === undefined) return value ?? other;
  if (JSON.stringify(value) === JSON.stringify(other)) return value;
  throw new WritError('VALIDATION_ERROR', `${name} and ${alias} are one member and differ.`, {
    details: { pointer: `/${alias}` },
  });
}
