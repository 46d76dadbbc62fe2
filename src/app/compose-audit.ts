/** The audit trail: what writes it beside an effect, and what counts refusals. */

import { createRowSeals } from '../keys/encryption/row-seals.ts';
import { newId } from '../platform/ids.ts';
import { createAuditTrail } from '../storage/audit/audit-store.ts';
import { createDenialLog, type DenialLog } from '../use-cases/audit/denial-log.ts';
import { createIntegrityFaults, type IntegrityFaults } from '../use-cases/audit/integrity-faults.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import type { AppContext } from './app-context.ts';

export interface AuditPart {
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
  const seals = createRowSeals({ masterKeys: provisioned.masterKeys, onForged: integrityFaults.report });
  return { denialLog, integrityFaults, seals };
}
