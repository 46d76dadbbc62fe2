/** The audit trail: what writes it beside an effect, and what counts refusals. */

import { createRowSeals } from '../keys/encryption/row-seals.ts';
import { newId } from '../platform/ids.ts';
import { createAuditTrail } from '../storage/audit/audit-store.ts';
import { createCanaryReader } from '../storage/secrets/canary-reader.ts';
import { createDenialLog, type DenialLog } from '../use-cases/audit/denial-log.ts';
import { createIntegrityFaults, type IntegrityFaults } from '../use-cases/audit/integrity-faults.ts';
import type { AuditTrail } from '../use-cases/audit/ports.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { type CanaryAlarms, createCanaryAlarms } from '../use-cases/secrets/canary-alarms.ts';
import type { AppContext } from './app-context.ts';

export interface AuditPart {
  readonly trail: AuditTrail;
  readonly denialLog: DenialLog;
  readonly integrityFaults: IntegrityFaults;
  readonly canaries: CanaryAlarms;
  /** Reports there what does not fit. */
  readonly seals: RowSeals;
}

export function composeAudit(app: AppContext): AuditPart {
  const { database, provisioned, log, monotonicMs, buildNotice, clock } = app;
  const seals = createRowSeals({
    masterKeys: provisioned.masterKeys,
    onForged: (row) => integrityFaults.report(row),
  });
  const trail = createAuditTrail(database, seals);
  const canaries = createCanaryAlarms({
    canaries: createCanaryReader(database, seals),
    newId,
    buildNotice,
    now: clock.now,
  });
  const denialLog = createDenialLog({ trail, alarmsOf: canaries.ofPaths, newId, monotonicMs });
  const integrityFaults = createIntegrityFaults({
    denialLog,
    monotonicMs,
    complain: (row, err) =>
      err === undefined
        ? log.error({ row }, 'a row of the database is not what Writ wrote, and is used for nothing')
        : log.warn({ row, err }, 'that a row is not what Writ wrote could not be put on record'),
  });
  return { trail, denialLog, integrityFaults, seals, canaries };
}
