/**
 * Refusals that no use case puts on record, because any of them may meet them: that what a known credential asked for is
 * absent, and that a row is not what Writ wrote (contract section 8). Nothing here runs for a request that is granted.
 */

import type { FastifyRequest } from 'fastify';
import { WritError } from '../../errors.ts';
import { ANONYMOUS, type AuditActor, type AuditResource } from '../../use-cases/audit/build-audit-event.ts';
import type { DenialLog } from '../../use-cases/audit/denial-log.ts';
import { denialRecorded, type RecordedDenial } from '../../use-cases/audit/deny.ts';
import type { EventType } from '../../use-cases/audit/ports.ts';
import { resourceOf } from '../../use-cases/secrets/authorize-secret-request.ts';
import type { SecretRequest } from '../../use-cases/secrets/authorized-request.ts';

export interface Endpoint {
  readonly method: string;
  readonly url: string;
}

export interface RefusedAt {
  /** Of a route of secrets: what a request is about. */
  readonly operation: ((request: FastifyRequest) => SecretRequest) | undefined;
  readonly endpoint: Endpoint;
  readonly denialLog: Pick<DenialLog, 'record'>;
}

/** Resolves when `error` is on record, where it has to be. Rejects with `AUDIT_UNAVAILABLE`. */
export async function recordRefusal(error: unknown, request: FastifyRequest, at: RefusedAt): Promise<void> {
  if (!(error instanceof WritError)) return;
  const before = denialRecorded(error);
  if (before !== undefined) return recordStoppedTouch(error, before, request, at);
  const { kind, code, about } = error;
  if (kind !== 'absent' && code !== 'INTEGRITY_ERROR') return;
  const requester = requesterOf(request, error);
  if (requester === undefined) return;
  const { actor, credentialId, isToken } = requester;
  const { operation, endpoint, denialLog } = at;
  const resource =
    operation === undefined
      ? resourceAbout(about ?? { type: 'endpoint', id: `${endpoint.method} ${endpoint.url}` })
      : resourceOf(operation(request).operation, requester);
  const type = typeOfDenial(isToken, operation !== undefined);
  await denialLog.record({ type, code, actor, credentialId, resource, context: request.state.context });
}

/** A key of an agent that is stopped is refused before anybody asks what for; where it names a secret, that is told as well. */
async function recordStoppedTouch(
  { code }: WritError,
  { actor, credentialId, context, resource }: RecordedDenial,
  request: FastifyRequest,
  { operation, denialLog }: RefusedAt,
): Promise<void> {
  if (code !== 'EMERGENCY_STOP' || resource.type !== 'api_key' || operation === undefined) return;
  const named = resourceOf(operation(request).operation, { credentialId });
  if (named.type !== 'secret' || named.id === 'unknown') return;
  await denialLog.record({ type: 'secret.denied', code, actor, credentialId, resource: named, context });
}

interface Requester {
  readonly actor: AuditActor;
  readonly credentialId: string;
  readonly isToken: boolean;
}

/** Undefined: nobody who is known. */
function requesterOf({ auth, authorized }: FastifyRequest, { about }: WritError): Requester | undefined {
  // The credential's own row is what was changed: which one it is, is known, and whose it is, is not.
  if (about !== undefined && (about.type === 'scoped_tokens' || about.type === 'api_keys'))
    return { actor: ANONYMOUS, credentialId: about.id, isToken: about.type === 'scoped_tokens' };
  if (auth?.kind === 'api_key') {
    const { principal, keyId } = auth.caller;
    return { actor: principal, credentialId: keyId, isToken: false };
  }
  const read = authorized?.kind === 'secrets' ? authorized.authorized : resolvedBy(auth);
  return read === undefined ? undefined : { ...read.requester, isToken: true };
}

const resolvedBy = (auth: FastifyRequest['auth']) =>
  auth?.kind === 'scoped_token' ? auth.resolved : undefined;

function typeOfDenial(isToken: boolean, ofSecrets: boolean): EventType {
  if (isToken) return 'token.denied';
  return ofSecrets ? 'secret.denied' : 'auth.denied';
}

/** As long as the longest id of ours, which is shorter than any credential: what was sent as an id may be one. */
const ID = /^[A-Za-z0-9_.-]{1,36}$/;

const resourceAbout = ({ type, id }: AuditResource): AuditResource => ({
  type,
  id: type === 'endpoint' || ID.test(id) ? id : 'unknown',
});
