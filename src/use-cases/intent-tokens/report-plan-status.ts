/** A client says how far it is with a plan of its own (contract section 4.8): a claim, of a plan that was issued to it. */

import { UUID } from '../../domain/formats/uuid.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import type { PlanReports } from './ports.ts';
import { reportMetadata } from './record-reports.ts';

export type ReportPlanStatus = (
  asked: { readonly planId: string; readonly status: string },
  caller: Caller,
  context: RequestContext,
) => Promise<void>;

export function createReportPlanStatus(deps: {
  readonly plans: PlanReports;
  readonly confirm: Authenticator['confirm'];
  readonly newId: () => string;
}): ReportPlanStatus {
  return async ({ planId, status }, caller, context) => {
    const event = auditEvent(caller.principal, context, {
      id: deps.newId(),
      type: 'intent.reported',
      resource: { type: 'plan', id: planId.toLowerCase() },
      metadata: reportMetadata({ status }, caller),
    });
    const known = UUID.test(planId) && (await deps.plans.report(planId, event, caller.keyId));
    if (known) return;
    await deps.confirm(caller, context);
    throw new WritError('NOT_FOUND', 'There is no such plan of this principal.', {
      about: { type: 'plan', id: planId.toLowerCase() },
    });
  };
}
