/**
 * Denials of known credentials in the audit trail (contract section 8). The first of a kind (credential, code,
 * resource, address, and what else was named) is written before it is answered; equal ones in the next 60 s are counted in memory, and one
 * further row tells how many. A crash may lose that number, never the first row.
 */

import type { VerificationRefusal } from '../../domain/intent-tokens/verification-code.ts';
import type { ErrorCode } from '../../errors.ts';
import { type AuditActor, type AuditResource, auditEvent, type EventOrigin } from './build-audit-event.ts';
import type { Alarm, AuditEvent, AuditTrail, EventType } from './ports.ts';

const WINDOW_MS = 60_000;
/** Beyond so many kinds at once every denial is written: nothing is dropped to save memory. */
const MAX_KINDS = 10_000;
/** The same of one credential, so that whoever asks from many addresses takes no room from the others. */
const MAX_KINDS_OF_ONE = 1000;

export interface Denial {
  readonly type: EventType;
  /** Of the answer: an error, or a verification that did not end well. */
  readonly code: ErrorCode | VerificationRefusal['code'];
  readonly actor: AuditActor;
  /** Null where none was presented. */
  readonly credentialId: string | null;
  readonly resource: AuditResource;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Paths that were asked for, where the resource is none of them or one. */
  readonly paths?: readonly string[];
  readonly context: EventOrigin;
}

export interface DenialLog {
  /** Resolves when the denial is on record or counted. */
  record(denial: Denial): Promise<void>;
  /** Writes the counts whose minute is over (all of them with `everything`); called by a job and at shutdown. */
  flush(everything?: boolean): Promise<void>;
}

export function createDenialLog(deps: {
  trail: AuditTrail;
  /** What is told beside the event of a denial about secrets at these paths, the counts of equal ones too. */
  alarmsOf: (event: AuditEvent, paths: readonly string[]) => Promise<readonly Alarm[]>;
  newId: () => string;
  monotonicMs: () => number;
}): DenialLog {
  const kinds = new Map<string, Kind>();
  const kindsOf = new Map<string | null, number>();
  const hasRoom = (credentialId: string | null): boolean =>
    kinds.size < MAX_KINDS && (kindsOf.get(credentialId) ?? 0) < MAX_KINDS_OF_ONE;
  const count = (credentialId: string | null, more: 1 | -1): void => {
    const left = (kindsOf.get(credentialId) ?? 0) + more;
    if (left === 0) kindsOf.delete(credentialId);
    else kindsOf.set(credentialId, left);
  };
  const remember = (name: string, kind: Kind): void => {
    if (!kinds.has(name)) count(kind.last.credentialId, 1);
    kinds.set(name, kind);
  };
  const forget = (name: string, { last }: Kind): void => {
    if (kinds.delete(name)) count(last.credentialId, -1);
  };
  const write = async (denial: Denial, repeated?: number): Promise<void> => {
    const event = eventOf(denial, deps.newId(), repeated);
    const paths = pathsOf(denial);
    if (paths.length === 0) return deps.trail.append(event);
    return deps.trail.append(event, await deps.alarmsOf(event, paths));
  };

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
    if (over && kinds.get(name) === kind) forget(name, kind);
  };

  return {
    record: async (denial) => {
      const { credentialId, code, resource, type, context } = denial;
      const name = JSON.stringify([credentialId, code, resource, type, context.ipAddress, pathsOf(denial)]);
      const known = kinds.get(name);
      if (known !== undefined && known.until > deps.monotonicMs()) {
        known.repeated += 1;
        known.last = denial;
        // Counted only behind a row that exists: if the first one cannot be written, neither is answered.
        return known.firstRow;
      }
      const firstRow =
        known === undefined ? write(denial) : writeCount(name, known).then(() => write(denial));
      const kind: Kind = { until: deps.monotonicMs() + WINDOW_MS, repeated: 0, last: denial, firstRow };
      if (known !== undefined || hasRoom(credentialId)) remember(name, kind);
      try {
        await firstRow;
      } catch (error) {
        if (kinds.get(name) === kind) {
          // The count of the minute before may still be unwritten.
          if (known === undefined) forget(name, kind);
          else remember(name, known);
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

const pathsOf = ({ resource, paths = [] }: Denial): readonly string[] =>
  resource.type === 'secret' && resource.id !== 'unknown' ? [...new Set([...paths, resource.id])] : paths;

interface Kind {
  readonly until: number;
  /** Denials that no row tells of yet. */
  repeated: number;
  last: Denial;
  readonly firstRow: Promise<void>;
}

function eventOf(denial: Denial, id: string, repeated: number | undefined): AuditEvent {
  const { type, code, actor, credentialId, resource, context } = denial;
  const metadata = {
    code,
    ...denial.metadata,
    ...(credentialId === null ? {} : { credential: credentialId }),
    ...(repeated === undefined ? {} : { repeated }),
  };
  return auditEvent(actor, context, { id, type, resource, metadata });
}
