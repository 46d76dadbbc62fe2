/** What a request is about, from the raw target behind `/v1/secrets/` (contract section 5.2). */

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
