/**
 * Refusals of known credentials in the audit trail (contract section 8). The first of a kind (credential, code,
 * resource) is written before it is answered; equal ones in the next 60 s are counted in memory, and one further
 * row tells how many. A crash may lose that number, never the first row.
 */

import type { ErrorCode } from '../errors.ts';
import type { ActorType, AuditEvent, AuditTrail, EventType, RequestContext } from './ports.ts';

const WINDOW_MS = 60_000;
/** Beyond so many kinds at once every refusal is written: nothing is dropped to save memory. */
const MAX_KINDS = 10_000;

export interface Refusal {
  readonly eventType: EventType;
  readonly code: ErrorCode;
  readonly actor: { readonly id: string; readonly type: ActorType };
  readonly credentialId: string;
  readonly resource: { readonly type: string; readonly id: string };
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly context: RequestContext;
}

export interface RefusalRecorder {
  /** Resolves when the refusal is on record or counted. */
  record(refusal: Refusal): Promise<void>;
  /** Writes the counts whose minute is over (all of them with `everything`); called by a job and at shutdown. */
  flush(everything?: boolean): Promise<void>;
}

export function createRefusalRecorder(deps: {
  trail: AuditTrail;
  newId: () => string;
  monotonicMs: () => number;
}): RefusalRecorder {
  const kinds = new Map<string, { until: number; repeated: number; last: Refusal }>();

  const write = (refusal: Refusal, repeated?: number): Promise<void> =>
    deps.trail.append(eventOf(refusal, deps.newId(), repeated));

  const close = async (kind: string, entry: { repeated: number; last: Refusal }): Promise<void> => {
    kinds.delete(kind);
    if (entry.repeated > 0) await write(entry.last, entry.repeated);
  };

  return {
    record: async (refusal) => {
      const kind = JSON.stringify([refusal.credentialId, refusal.code, refusal.resource, refusal.eventType]);
      const open = kinds.get(kind);
      if (open !== undefined && open.until > deps.monotonicMs()) {
        open.repeated += 1;
        open.last = refusal;
        return;
      }
      if (open !== undefined) await close(kind, open);
      const until = deps.monotonicMs() + WINDOW_MS;
      await write(refusal);
      // Only what is on record may stand for its repetitions.
      if (kinds.size < MAX_KINDS) kinds.set(kind, { until, repeated: 0, last: refusal });
    },
    flush: async (everything = false) => {
      const now = deps.monotonicMs();
      const due = [...kinds].filter(([, entry]) => everything || entry.until <= now);
      await Promise.all(due.map(([kind, entry]) => close(kind, entry)));
    },
  };
}

function eventOf(refusal: Refusal, id: string, repeated: number | undefined): AuditEvent {
  return {
    id,
    eventType: refusal.eventType,
    actorId: refusal.actor.id,
    actorType: refusal.actor.type,
    resourceType: refusal.resource.type,
    resourceId: refusal.resource.id,
    metadata: {
      code: refusal.code,
      ...refusal.metadata,
      credential: refusal.credentialId,
      ...(repeated === undefined ? {} : { repeated }),
    },
    ipAddress: refusal.context.ipAddress,
    requestId: refusal.context.requestId,
  };
}
