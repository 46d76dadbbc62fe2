/** The audit trail: what writes it beside an effect, what counts refusals, and what reads it. */

import { stringify as stringifyCsv } from 'csv-stringify/sync';
import { addAuditRoutes } from '../http/routes/audit-routes.ts';
import { createRowSeals } from '../keys/encryption/row-seals.ts';
import { newId } from '../platform/ids.ts';
import { createAuditReader } from '../storage/audit/audit-reader.ts';
import { createAuditTrail } from '../storage/audit/audit-store.ts';
import { createDenialLog, type DenialLog } from '../use-cases/audit/denial-log.ts';
import { createIntegrityFaults, type IntegrityFaults } from '../use-cases/audit/integrity-faults.ts';
import type { AuditTrail } from '../use-cases/audit/ports.ts';
import { createAuditTrailReading } from '../use-cases/audit/read-audit-trail.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import type { AppContext, ServedPart } from './app-context.ts';

export interface AuditPart extends ServedPart {
  readonly trail: AuditTrail;
  readonly denialLog: DenialLog;
  readonly integrityFaults: IntegrityFaults;
  /** Reports there what does not fit. */
  readonly seals: RowSeals;
}

export function composeAudit({ database, provisioned, log, monotonicMs }: AppContext): AuditPart {
  const trail = createAuditTrail(database);
  const denialLog = createDenialLog({ trail, newId, monotonicMs });
  const integrityFaults = createIntegrityFaults({
    denialLog,
    monotonicMs,
    complain: (row, err) =>
      err === undefined
        ? log.error({ row }, 'a row of the database is not what Writ wrote, and is used for nothing')
        : log.warn({ row, err }, 'that a row is not what Writ wrote could not be put on record'),
  });
  return {
    trail,
    denialLog,
    integrityFaults,
    seals: createRowSeals({ kek: provisioned.kek, onForged: integrityFaults.report }),
    addRoutes: (routes) =>
      addAuditRoutes(routes, {
        trail: createAuditTrailReading(createAuditReader(database)),
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
