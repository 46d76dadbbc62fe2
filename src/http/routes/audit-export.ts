/** An export of the audit trail as text, a batch at a time: JSON lines, or CSV that no spreadsheet runs. */

import type { RecordedAuditEvent } from '../../use-cases/audit/ports.ts';

type Batches = AsyncIterable<readonly RecordedAuditEvent[]>;

/** RFC 4180 lines, safe against formulas. */
export type WriteCsv = (rows: readonly (readonly string[])[]) => string;

const COLUMNS = [
  'id',
  'event_type',
  'actor_id',
  'actor_type',
  'resource_type',
  'resource_id',
  'metadata',
  'ip_address',
  'request_id',
  'created_at',
] as const;

/** The same texts; a failure after the first of them is told, because the answer cannot say it any more. */
export async function* reported(
  texts: AsyncIterable<string>,
  onBrokenOff: (error: unknown) => void,
): AsyncGenerator<string> {
  let begun = false;
  try {
    for await (const text of texts) {
      begun = true;
      yield text;
    }
  } catch (error) {
    if (begun) onBrokenOff(error);
    throw error;
  }
}

export async function* jsonLinesOf(batches: Batches): AsyncGenerator<string> {
  for await (const events of batches) yield events.map((event) => `${JSON.stringify(event)}\n`).join('');
}

export function csvOf(writeCsv: WriteCsv) {
  return async function* (batches: Batches): AsyncGenerator<string> {
    let head: readonly (readonly string[])[] = [COLUMNS];
    // With the first batch: an answer that has begun can no longer say that reading failed.
    for await (const events of batches) {
      yield writeCsv([...head, ...events.map(cellsOf)]);
      head = [];
    }
    if (head.length > 0) yield writeCsv(head);
  };
}

function cellsOf(event: RecordedAuditEvent): readonly string[] {
  return COLUMNS.map((column) => {
    const value = event[column];
    return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value ?? '');
  });
}
