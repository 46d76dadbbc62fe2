/** A filter of the audit trail that takes every event, but for what is named. */
import type { AuditFilter } from '../../src/use-cases/audit/ports.ts';

export const auditFilter = (named: Partial<AuditFilter> = {}): AuditFilter => ({
  eventType: undefined,
  actorId: undefined,
  resourceType: undefined,
  resourceId: undefined,
  since: undefined,
  until: undefined,
  ofCanaries: true,
  ...named,
});
