/**
 * An optional member that is null counts as absent (contract section 3), unless its schema admits null, as the
 * clearing members of an update do. Free objects (plans, policies, metadata) are left alone: there null is a value.
 */

import type { FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';

interface ObjectSchema {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, ObjectSchema>>;
  readonly additionalProperties?: unknown;
}

export function dropNullMembers(request: FastifyRequest, schema: TSchema | undefined): void {
  // An absent body has no members, so the schema can say which of them it misses.
  if (request.body === undefined) request.body = {};
  dropFrom(request.body, schema as ObjectSchema | undefined);
}

function dropFrom(value: unknown, schema: ObjectSchema | undefined): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
  if (schema?.properties === undefined || schema.additionalProperties !== false) return;
  const members = value as Record<string, unknown>;
  // Of what was sent, not of all that could be: a body has few of its members.
  for (const name of Object.keys(members)) {
    const memberSchema = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    if (memberSchema === undefined) continue;
    if (members[name] === null && !admitsNull(memberSchema)) delete members[name];
    else dropFrom(members[name], memberSchema);
  }
}

function admitsNull(schema: ObjectSchema): boolean {
  return Array.isArray(schema.type) && schema.type.includes('null');
}
