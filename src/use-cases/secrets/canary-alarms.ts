/**
 * What a touch of a canary sets off (contract section 6): an event beside that of the touch, and a notice to the webhook.
 * Both are written with what they tell of, so neither is lost. Every touch has its event; of notices a caller owes one for
 * each canary and minute, however often it touches it.
 */

import { portableSha256 } from '../../domain/crypto/hashing.ts';
import type { Alarm, AuditEvent } from '../audit/ports.ts';
import type { BuildNotice } from '../notices/build-notice.ts';
import type { CanaryReader, SecretRecord } from './ports.ts';

const MINUTE_MS = 60_000;

type Canary = Pick<SecretRecord, 'id' | 'path'>;

export interface CanaryAlarms {
  /** `event`: of the touch. */
  alarm(canary: Canary, event: AuditEvent): Alarm;
  /** Of the canaries among the secrets at these paths, whether they have expired or not. */
  ofPaths(event: AuditEvent, paths: readonly string[]): Promise<readonly Alarm[]>;
  /** That the secret became a canary, or is none any more. */
  changed(secret: Canary, canary: boolean, event: AuditEvent): Alarm;
  /** Touches since the start, counted refusals each; one that starts over, or cannot be written, is counted as well. */
  count(): number;
}

export function createCanaryAlarms(deps: {
  readonly canaries: CanaryReader;
  readonly newId: () => string;
  readonly buildNotice: BuildNotice;
  readonly now: () => Date;
}): CanaryAlarms {
  const beside = (
    event: AuditEvent,
    { id, path }: Canary,
    eventType: 'secret.canary_touched' | 'secret.canary_changed',
    metadata: Readonly<Record<string, unknown>>,
  ): AuditEvent => ({
    ...event,
    id: deps.newId(),
    eventType,
    resourceType: 'secret',
    resourceId: path,
    metadata: { secret_id: id, ...metadata },
  });

  let touches = 0;
  const alarm: CanaryAlarms['alarm'] = (canary, event) => {
    const { metadata } = event;
    const credential = metadata['credential'] ?? metadata['token_id'] ?? metadata['key_id'] ?? null;
    const { code, repeated } = metadata;
    touches += typeof repeated === 'number' ? repeated : 1;
    const told = { how: event.eventType, credential, ...(code === undefined ? {} : { code }) };
    const at = deps.now();
    const data = {
      path: canary.path,
      secret_id: canary.id,
      ...told,
      code: code ?? null,
      actor_id: event.actorId,
      actor_type: event.actorType,
      ip_address: event.ipAddress,
      request_id: event.requestId,
    };
    return {
      event: beside(event, canary, 'secret.canary_touched', {
        ...told,
        ...(repeated === undefined ? {} : { repeated }),
      }),
      notice: deps.buildNotice('secret.canary_touched', at, data, idOf(canary, event, at)),
    };
  };

  return {
    alarm,
    count: () => touches,
    ofPaths: async (event, paths) => (await deps.canaries.among(paths)).map((canary) => alarm(canary, event)),
    changed: (secret, canary, event) => ({
      event: beside(event, secret, 'secret.canary_changed', { canary }),
      notice: undefined,
    }),
  };
}

/** One for a caller, a canary and a minute: a UUID of version 8 (RFC 9562 section 5.8), whichever process makes it. */
function idOf({ id }: Canary, { actorId }: AuditEvent, at: Date): string {
  const minute = Math.floor(at.getTime() / MINUTE_MS);
  const hex = portableSha256.hex(`canary ${id} ${actorId} ${minute}`);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-');
}
