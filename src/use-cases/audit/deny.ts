/** Denies a request of a known credential: the denial is on record first, and is answered then. */

import { type ErrorKind, WritError } from '../../errors.ts';
import type { AuditActor, AuditResource } from './build-audit-event.ts';
import type { DenialLog } from './denial-log.ts';
import type { EventType, RequestContext } from './ports.ts';

/** Who is denied, by which credential, in which request. */
export interface DeniedRequester {
  readonly actor: AuditActor;
  /** Public: the id of a key or of a token. */
  readonly credentialId: string;
  readonly context: RequestContext;
}

/** What is wrong with a request's form, what is absent, and a fault of the server are no denials. */
const ON_RECORD: ReadonlySet<ErrorKind> = new Set(['denied', 'unauthenticated', 'limited']);

/** That somebody asked for what was changed is on record, beside the fault itself. */
const isOnRecord = ({ kind, code }: WritError): boolean => ON_RECORD.has(kind) || code === 'INTEGRITY_ERROR';

/** What was said of whom with an error that is on record or counted. */
export interface RecordedDenial extends DeniedRequester {
  readonly resource: AuditResource;
}
const recorded = new WeakMap<WritError, RecordedDenial>();

export const denialRecorded = (error: WritError): RecordedDenial | undefined => recorded.get(error);

/** Rejects with `error`, which may be anything that was thrown. */
export async function deny(
  log: Pick<DenialLog, 'record'>,
  { actor, credentialId, context }: DeniedRequester,
  error: unknown,
  what: {
    readonly type: EventType;
    readonly resource: AuditResource;
    readonly metadata?: Readonly<Record<string, unknown>>;
    readonly paths?: readonly string[];
  },
): Promise<never> {
  if (error instanceof WritError && isOnRecord(error)) {
    await log.record({ ...what, code: error.code, actor, credentialId, context });
    recorded.set(error, { actor, credentialId, context, resource: what.resource });
  }
  throw error;
}
