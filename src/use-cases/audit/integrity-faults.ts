/**
 * Rows of the database that do not fit what Writ wrote: each is counted, put in the log and on record, and used for
 * nothing. It never throws, because such a row must stop neither a process nor a job.
 */

import type { ForgedRow } from '../ports.ts';
import { NO_REQUEST, SYSTEM } from './build-audit-event.ts';
import type { DenialLog } from './denial-log.ts';

/** Between two lines of the log about one row, as between two of its events. */
const WINDOW_MS = 60_000;
/** Beyond so many rows at once every report is a line. */
const MAX_ROWS = 10_000;

export interface IntegrityFaults {
  /** Equal ones in the next 60 s are counted, as refusals are. */
  report(row: ForgedRow): void;
  /** How often a row was refused since the start, repetitions included. */
  count(): number;
}

export function createIntegrityFaults(deps: {
  readonly denialLog: Pick<DenialLog, 'record'>;
  readonly monotonicMs: () => number;
  /** To the log. `err`: the event could not be written. */
  readonly complain: (row: ForgedRow, err?: unknown) => void;
}): IntegrityFaults {
  const quietUntil = new Map<string, number>();
  let count = 0;
  const isNew = (name: string): boolean => {
    const now = deps.monotonicMs();
    if ((quietUntil.get(name) ?? 0) > now) return false;
    if (quietUntil.size >= MAX_ROWS) quietUntil.clear();
    quietUntil.set(name, now + WINDOW_MS);
    return true;
  };
  return {
    report: (row) => {
      count += 1;
      const { table, id, why } = row;
      if (isNew(JSON.stringify([table, id, why]))) deps.complain(row);
      deps.denialLog
        .record({
          type: 'integrity.failed',
          code: 'INTEGRITY_ERROR',
          actor: SYSTEM,
          credentialId: null,
          resource: { type: table, id },
          metadata: { why },
          context: NO_REQUEST,
        })
        .catch((err: unknown) => deps.complain(row, err));
    },
    count: () => count,
  };
}
