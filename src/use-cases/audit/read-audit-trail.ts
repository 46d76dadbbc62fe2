/**
 * Reading the audit trail (contract section 8): pages for people, newest first, and an export that is complete although
 * events commit out of order.
 */

import type { AuditFilter, AuditHorizon, AuditPosition, AuditReader, RecordedAuditEvent } from './ports.ts';

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
   * the two nothing is missed, and nothing comes twice.
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
      return { horizon: to, batches: batchesOf(reader, { filter, from, to }) };
    },
  };
}

async function* batchesOf(
  reader: AuditReader,
  range: {
    readonly filter: AuditFilter;
    readonly from: AuditHorizon | undefined;
    readonly to: AuditHorizon;
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

const positionOf = ({ created_at: createdAt, id }: RecordedAuditEvent): AuditPosition => ({ createdAt, id });
