/** From Ajv's first error to ours: the member's JSON pointer (RFC 6901) and, where its schema says so, its own code. */

import type { FastifySchemaValidationError } from 'fastify';
import { escapePointerToken } from '../../domain/json/json-pointer.ts';
import { type ErrorCode, WritError } from '../../errors.ts';

/** Ajv's options: nothing is coerced, removed or filled in. */
export const AJV_OPTIONS = {
  coerceTypes: false,
  removeAdditional: false,
  useDefaults: false,
  allErrors: false,
  // Errors then carry the schema they come from, which knows its code.
  verbose: true,
  keywords: ['x-error-code', 'x-rule'],
  allowUnionTypes: true,
};

interface Annotated {
  readonly 'x-error-code'?: ErrorCode;
  /** What its pattern asks, in words. */
  readonly 'x-rule'?: string;
  readonly properties?: Readonly<Record<string, Annotated>>;
}

export function validationError(errors: FastifySchemaValidationError[], where: string): WritError {
  const error = errors[0] as (FastifySchemaValidationError & { parentSchema?: Annotated }) | undefined;
  if (error === undefined) return new WritError('VALIDATION_ERROR', 'The request is not acceptable.');
  const { missingProperty, additionalProperty } = error.params as Record<string, string | undefined>;
  const member = missingProperty ?? additionalProperty;
  const pointer =
    member === undefined ? error.instancePath : `${error.instancePath}/${escapePointerToken(member)}`;
  const code =
    (missingProperty === undefined
      ? undefined
      : error.parentSchema?.properties?.[missingProperty]?.['x-error-code']) ??
    (additionalProperty === undefined ? error.parentSchema?.['x-error-code'] : undefined) ??
    'VALIDATION_ERROR';
  return new WritError(code, `${placeOf(where, pointer)} ${sentence(error)}.`, { details: { pointer } });
}

function placeOf(where: string, pointer: string): string {
  const name = where === 'querystring' ? 'The query' : where === 'params' ? 'The path' : 'The body';
  return pointer === '' ? name : `${name}'s ${pointer}`;
}

function sentence(error: FastifySchemaValidationError): string {
  if (error.keyword === 'required') return 'is required';
  if (error.keyword === 'additionalProperties') return 'is not known here';
  if (error.keyword === 'enum') {
    return `must be one of ${JSON.stringify((error.params as { allowedValues?: unknown }).allowedValues)}`;
  }
  const rule = (error as { parentSchema?: Annotated }).parentSchema?.['x-rule'];
  if (error.keyword === 'pattern' && rule !== undefined) return rule;
  return error.message ?? 'is not acceptable';
}
