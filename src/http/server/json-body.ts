/**
 * The one reader of request bodies (contract section 3): strict JSON, and a form where a route takes one. An empty body
 * is an absent one, whatever its type says. Encoding and media type are judged before a byte is read; where only the
 * last byte tells that there is none (RFC 9112 section 7.1), the media type is judged after it.
 */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import type { StrictJson } from '../../domain/json/strict-json.ts';
import { WritError } from '../../errors.ts';

export const MAX_BODY_BYTES = 1024 * 1024;

declare module 'fastify' {
  interface FastifyContextConfig {
    takesForms: boolean;
  }
}

export type ReadJson = (bytes: Uint8Array) => StrictJson;

export function acceptJsonBodies(app: FastifyInstance, readJson: ReadJson): void {
  app.removeAllContentTypeParsers();
  app.addHook('preParsing', (request, _reply, payload, done) => {
    // RFC 9110 section 9.3.1: content of a GET means nothing, and is not read.
    if (request.method === 'GET') return done(null, payload);
    const length = lengthOfBody(request);
    if (length === 'none') {
      // Of nothing: Fastify would judge it all the same.
      delete request.headers['content-type'];
      return done(null, payload);
    }
    const refusal = checkEncoding(request) ?? (length === 'known' ? validateSecretType(request) : undefined);
    return refusal === undefined ? done(null, payload) : done(refusal);
  });
  // By name as well: what it finds for `*` Fastify looks for again with every request.
  app.addContentTypeParser(
    ['application/json', '*'],
    { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
    (request, body, done) => {
      if (body.length === 0) return done(null, undefined);
      const refusal = lengthOfBody(request) === 'unknown' ? validateSecretType(request) : undefined;
      if (refusal !== undefined) return done(refusal);
      if (isForm(request)) {
        const form = readForm(body as Buffer);
        return form === undefined ? done(repeatedName()) : done(null, form);
      }
      const read = readJson(body as Buffer);
      if (!read.ok) {
        return done(
          new WritError('INVALID_JSON', `The body is not acceptable JSON: ${read.reason}.`, {
            details: { reason: read.reason },
          }),
        );
      }
      request.state.bodyBytes = body as Buffer;
      request.state.underflowed = read.underflowed;
      return done(null, read.value);
    },
  );
}

/** RFC 9112 section 6.3: a request has a body if and only if one of these headers is present. */
function lengthOfBody({ headers }: FastifyRequest): 'none' | 'known' | 'unknown' {
  const { 'content-length': length, 'transfer-encoding': transfer } = headers;
  if (transfer !== undefined) return 'unknown';
  return length === undefined || length === '0' ? 'none' : 'known';
}

const JSON_TYPE = /^application\/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|"utf-8")[ \t]*)?$/i;

function checkEncoding({ headers }: FastifyRequest): WritError | undefined {
  const { 'content-encoding': encoding } = headers;
  if (encoding === undefined || encoding.toLowerCase() === 'identity') return undefined;
  return new WritError('UNSUPPORTED_MEDIA_TYPE', 'Send the body without a content encoding.');
}

function validateSecretType(request: FastifyRequest): WritError | undefined {
  if (JSON_TYPE.test(request.headers['content-type'] ?? '') || isForm(request)) return undefined;
  return new WritError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8.');
}

const FORM_TYPE =
  /^application\/x-www-form-urlencoded[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|"utf-8")[ \t]*)?$/i;

function isForm(request: FastifyRequest): boolean {
  return request.routeOptions.config.takesForms && FORM_TYPE.test(request.headers['content-type'] ?? '');
}

/** A name that is repeated would have two values. */
function readForm(body: Buffer): object | undefined {
  const members = [...new URLSearchParams(body.toString('utf8'))];
  const form = Object.fromEntries(members);
  return Object.keys(form).length === members.length ? form : undefined;
}

const repeatedName = (): WritError =>
  new WritError('VALIDATION_ERROR', 'The form repeats a name.', { details: { pointer: '' } });

interface ObjectSchema {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, ObjectSchema>>;
  readonly additionalProperties?: unknown;
}

/**
 * An optional member that is null counts as absent, unless its schema admits null, as the clearing members of an update
 * do. Free objects (plans, policies, metadata) are left alone: there null is a value.
 */
export function dropNullMembers(request: FastifyRequest, schema: TSchema | undefined): void {
  // An absent body has no members, so the schema can say which of them it misses.
  if (request.body === undefined) request.body = {};
  dropFrom(request.body, schema as ObjectSchema | undefined);
}

/** The same for a value that stands in a list, which is changed in place. */
export function withoutNullMembers(value: unknown, schema: TSchema): unknown {
  dropFrom(value, schema as ObjectSchema);
  return value;
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
