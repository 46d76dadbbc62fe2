/** Reading the audit trail over HTTP, which is on record there as well. */

import { stringify as stringifyCsv } from 'csv-stringify/sync';
import { addAuditRoutes } from '../http/routes/audit-routes.ts';
import { newId } from '../platform/ids.ts';
import { createAuditReader } from '../storage/audit/audit-reader.ts';
import { createCallerEvents } from '../storage/audit/caller-event-store.ts';
import { createAuditTrailReading } from '../use-cases/audit/read-audit-trail.ts';
import { recordTrailReading } from '../use-cases/audit/record-trail-reading.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

export function composeAuditReading(
  { database, log }: AppContext,
  parts: { readonly authentication: AuthenticationPart },
): ServedPart {
  const reading = createAuditTrailReading(createAuditReader(database));
  const { deadKey } = parts.authentication.denyCaller;
  return {
    addRoutes: (routes) =>
      addAuditRoutes(routes, {
        trail: recordTrailReading({ reading, events: createCallerEvents(database), newId }),
        deadKey,
        writeCsv,
        onBrokenOff: (err) => log.error({ err }, 'an export of the audit trail broke off'),
      }),
  };
}

/** RFC 4180; a cell that a spreadsheet would run as a formula is escaped. */
function writeCsv(rows: readonly (readonly unknown[])[]): string {
  return stringifyCsv(
    rows.map((row) => [...row]),
    { escape_formulas: true, record_delimiter: 'windows', quoted_match: /[\r\n]/ },
  );
}
