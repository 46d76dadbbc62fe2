/** What a request is about: the raw target behind `/v1/secrets/`, its query, `If-Match` (contract sections 5.2, 6). */

import type { FastifyRequest } from 'fastify';
import type { SecretAction } from '../../domain/scopes/scope.ts';
import {
  PATH_RULE,
  parseNamespace,
  parseSecretPath,
  readSecretTarget,
  type SecretPath,
} from '../../domain/scopes/secret-path.ts';
import type { SecretOperation } from '../../domain/secrets/secret-authorization.ts';
import { WritError } from '../../errors.ts';
import type { SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import { noSuchEndpoint } from '../server/error-envelopes.ts';

const PREFIX = '/v1/secrets/';
const ROTATE = '/rotate';
/** Of a version, as text. */
export const VERSION = /^[1-9][0-9]*$/;
/** Of the column. No secret gets there, so a larger number names no version just as this one does. */
const MAX_VERSION = 2_147_483_647;

/** `GET`: one raw segment is a namespace; more are a secret, or a namespace that is nested. */
export function parseReadTarget(rawTarget: string): SecretOperation {
  const target = readSecretTarget(rawTarget);
  if (target.kind === 'invalid') return { kind: 'malformed-path' };
  if (target.kind === 'namespace') return { kind: 'list', namespace: target.namespace };
  const nested = parseNamespace(target.secret.path);
  return {
    kind: 'read-or-list',
    secret: target.secret,
    namespace: nested.ok ? nested.namespace : undefined,
  };
}

/** A change of the one secret that the target names. */
export function parseChangeTarget(action: SecretAction, rawTarget: string): SecretOperation {
  const target = readSecretTarget(rawTarget);
  return target.kind === 'secret'
    ? { kind: 'use', action, secret: target.secret }
    : { kind: 'malformed-path' };
}

export function parseListTarget(namespace: string): SecretOperation {
  const parsed = parseNamespace(namespace);
  return parsed.ok ? { kind: 'list', namespace: parsed.namespace } : { kind: 'malformed-path' };
}

/** The body will name the path. */
export const NAMED_BY_BODY: SecretOperation = { kind: 'named-by-body' };

/** `GET /v1/secrets`: a namespace, or what is due in all of them. */
export function parseListing(request: FastifyRequest): SecretOperation {
  const { namespace, due } = request.query as { namespace?: unknown; due?: unknown };
  if (due !== undefined && namespace === undefined) return { kind: 'list-due' };
  return parseListTarget(typeof namespace === 'string' ? namespace : '');
}

export const LIST_NAMESPACES: SecretOperation = { kind: 'list-namespaces' };

export const INTROSPECT: SecretOperation = { kind: 'introspect' };

/** A request for whatever is no read of one secret. */
export const uncachedRequest = (operation: SecretOperation): SecretRequest => ({
  operation,
  version: undefined,
  cacheable: false,
});

/** The path in a body. Rejects with `INVALID_PATH`. */
export function pathInBody(text: string): SecretPath {
  const parsed = parseSecretPath(text);
  if (parsed.ok) return parsed.secret;
  throw new WritError('INVALID_PATH', PATH_RULE, { details: { pointer: '/path' } });
}

/** The raw target behind the prefix, which the router also finds under other spellings; those are not ours. */
export function targetOf(request: FastifyRequest): string {
  if (!request.url.startsWith(PREFIX)) throw noSuchEndpoint();
  const end = request.url.indexOf('?');
  return request.url.slice(PREFIX.length, end === -1 ? undefined : end);
}

export function rotateTargetOf(request: FastifyRequest): string {
  const target = targetOf(request);
  if (!target.endsWith(ROTATE)) throw noSuchEndpoint();
  return target.slice(0, -ROTATE.length);
}

/** Before the query is judged: what is no version is refused in its turn. */
export function versionAsked(request: FastifyRequest): number | undefined {
  const { version } = request.query as { version?: unknown };
  return typeof version === 'string' && VERSION.test(version) ? buildVersion(version) : undefined;
}

const buildVersion = (text: string): number => Math.min(Number(text), MAX_VERSION);

/** RFC 9110 section 13.1.1, with a version as entity tag; the quotes may be missing. */
export function versionExpected(request: FastifyRequest): number | undefined {
  const header = request.headers['if-match'];
  if (header === undefined) return undefined;
  const version = /^(?:"([0-9]+)"|([0-9]+))$/.exec(header);
  const text = version?.[1] ?? version?.[2] ?? '';
  if (VERSION.test(text)) return buildVersion(text);
  throw new WritError('VALIDATION_ERROR', 'If-Match must be a version: 3 or "3".');
}
