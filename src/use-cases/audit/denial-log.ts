/**
 * Refusals of known credentials in the audit trail (contract section 8). The first of a kind (credential, code,
 * resource) is written before it is answered; equal ones in the next 60 s are counted in memory, and one further
 * row tells how many. A crash may lose that number, never the first row.
 */

import type { ErrorCode } from '../../errors.ts';
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

export interface DenialLog {
  /** Resolves when the refusal is on record or counted. */
  record(refusal: Refusal): Promise<void>;
  /** Writes the counts whose minute is over (all of them with `everything`); called by a job and at shutdown. */
  flush(everything?: boolean): Promise<void>;
}

export function createDenialLog(deps: {
  trail: AuditTrail;
  newId: () => string;
  monotonicMs: () => number;
}): DenialLog {
  const kinds = new Map<string, Kind>();
  const write = (refusal: Refusal, repeated?: number): Promise<void> =>
    deps.trail.append(eventOf(refusal, deps.newId(), repeated));

  /** A count that cannot be written is kept for the next time. */
  const writeCount = async (name: string, kind: Kind): Promise<void> => {
    const { repeated } = kind;
    kind.repeated = 0;
    try {
      if (repeated > 0) await write(kind.last, repeated);
    } catch (error) {
      kind.repeated += repeated;
      throw error;
    }
    const over = kind.repeated === 0 && kind.until <= deps.monotonicMs();
    if (over && kinds.get(name) === kind) kinds.delete(name);
  };

  return {
    record: async (refusal) => {
      const name = JSON.stringify([refusal.credentialId, refusal.code, refusal.resource, refusal.eventType]);
      const known = kinds.get(name);
      if (known !== undefined && known.until > deps.monotonicMs()) {
        known.repeated += 1;
        known.last = refusal;
        // Counted only behind a row that exists: if the first one cannot be written, neither is answered.
        return known.firstRow;
      }
      const firstRow =
        known === undefined ? write(refusal) : writeCount(name, known).then(() => write(refusal));
      const kind: Kind = { until: deps.monotonicMs() + WINDOW_MS, repeated: 0, last: refusal, firstRow };
      if (known !== undefined || kinds.size < MAX_KINDS) kinds.set(name, kind);
      try {
        await firstRow;
      } catch (error) {
        if (kinds.get(name) === kind) {
          // The count of the minute before may still be unwritten.
          if (known === undefined) kinds.delete(name);
          else kinds.set(name, known);
        }
        throw error;
      }
    },
    flush: async (everything = false) => {
      const now = deps.monotonicMs();
      const due = [...kinds].filter(([, kind]) => everything || kind.until <= now);
      const outcomes = await Promise.allSettled(due.map(([name, kind]) => writeCount(name, kind)));
      const failed = outcomes.find((outcome) => outcome.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    },
  };
}

interface Kind {
  readonly until: number;
  /** Refusals that no row tells of yet. */
  repeated: number;
  last: Refusal;
  readonly firstRow: Promise<void>;
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
