/**
 * What a client says that it did (contract section 4.8). Nothing of it is checked: the events say that it is a claim,
 * and nothing is decided by them. All rows of a request are written in one statement, or none.
 */

import { type AuditResource, auditEvent } from '../audit/build-audit-event.ts';
import type { CallerEvents, RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';

/** Under the names of the wire. */
export interface Report {
  readonly resource: AuditResource;
  readonly claimed: Readonly<Record<string, unknown>>;
}

export type RecordReports = (
  reports: readonly Report[],
  caller: Caller,
  context: RequestContext,
) => Promise<void>;

export const reportMetadata = (claimed: Report['claimed'], { keyId }: Caller) => ({
  claimed,
  credential: keyId,
});

export function createRecordReports(deps: {
  readonly events: CallerEvents;
  readonly newId: () => string;
  readonly deadKey: DenyCaller['deadKey'];
}): RecordReports {
  return async (reports, caller, context) => {
    const events = reports.map(({ resource, claimed }) =>
      auditEvent(caller.principal, context, {
        id: deps.newId(),
        type: 'intent.reported',
        resource,
        metadata: reportMetadata(claimed, caller),
      }),
    );
    const written = await deps.events.append(events, { keyId: caller.keyId, revision: null });
    if (!written) await deps.deadKey(caller, context);
  };
}
