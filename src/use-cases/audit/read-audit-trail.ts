/**
 * Reading the audit trail (contract section 8): pages for people, newest first, and an export that is complete although
 * events commit out of order.
 */

import { WritError } from '../../errors.ts';
import type {
  AuditEventsHad,
  AuditFilter,
  AuditHorizon,
  AuditPosition,
  AuditReader,
  RecordedAuditEvent,
} from './ports.ts';

export interface AuditPage {
  readonly events: readonly RecordedAuditEvent[];
  readonly total: number;
  readonly totalIsExact: boolean;
  readonly next: AuditPosition | undefined;
}

export interface AuditTrailReading {
  page(query: {
    readonly filter: AuditFilter;
    readonly limit: number;
    readonly page: number;
    readonly before: AuditPosition | undefined;
  }): Promise<AuditPage>;
  /**
   * Everything that was settled when it began, a batch at a time. `horizon` is where the next export goes on: between
   * the two nothing is missed, and nothing comes twice. Rejects with `CURSOR_OUTDATED` where it cannot go on from `from`
   * without leaving events out.
   */
  export(
    filter: AuditFilter,
    from: AuditHorizon | undefined,
  ): Promise<{
    readonly horizon: AuditHorizon;
    readonly batches: AsyncIterable<readonly RecordedAuditEvent[]>;
  }>;
}

const EXACT_TO = 10_000;
const BATCH = 1000;

export function createAuditTrailReading(reader: AuditReader): AuditTrailReading {
  return {
    page: async ({ filter, limit, page, before }) => {
      const offset = before === undefined ? (page - 1) * limit : 0;
      const [found, counted] = await Promise.all([
        reader.list({ filter, limit: limit + 1, offset, before }),
        reader.count(filter, EXACT_TO + 1),
      ]);
      const events = found.slice(0, limit);
      const last = events.at(-1);
      return {
        events,
        total: Math.min(counted, EXACT_TO),
        totalIsExact: counted <= EXACT_TO,
        next: found.length > limit && last !== undefined ? positionOf(last) : undefined,
      };
    },
    export: async (filter, from) => {
      const to = await reader.horizon();
      const had = from && (await eventsHad(reader, from, to));
      return { horizon: to, batches: batchesOf(reader, { filter, had, to }) };
    },
  };
}

async function* batchesOf(
  reader: AuditReader,
  range: {
    readonly filter: AuditFilter;
    readonly had: AuditEventsHad | undefined;
    readonly to: AuditHorizon & { readonly epoch: string };
  },
): AsyncGenerator<readonly RecordedAuditEvent[]> {
  let after: AuditPosition | undefined;
  for (;;) {
    const events = await reader.settled({ ...range, after, limit: BATCH });
    if (events.length > 0) yield events;
    const last = events.at(-1);
    if (last === undefined || events.length < BATCH) return;
    after = positionOf(last);
  }
}

/**
 * A history that went another way may have had other events under the same numbers: of a database that was restored, or
 * whose server was taken back to an earlier moment while it ran.
 */
async function eventsHad(reader: AuditReader, from: AuditHorizon, to: AuditHorizon): Promise<AuditEventsHad> {
  const had = await reader.hadBy(from);
  const isAhead = from.epochId === to.epochId && endOf(from) > endOf(to);
  if (had === undefined || isAhead) throw cursorOutdated();
  return had;
}

/** The first transaction that had not begun. */
const endOf = ({ snapshot }: AuditHorizon): bigint => BigInt(snapshot.split(':')[1] ?? '');

export const cursorOutdated = (): WritError =>
  new WritError(
    'CURSOR_OUTDATED',
    'The cursor is of another history of the database than the present one, so an export that goes on from it would leave events out. Export without a cursor; `since` narrows it, and events that you have already have the same `id`.',
  );

const positionOf = ({ created_at: createdAt, id }: RecordedAuditEvent): AuditPosition => ({ createdAt, id });
