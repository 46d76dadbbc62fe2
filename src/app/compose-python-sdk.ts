/** What the Python SDK and plug-ins of coding assistants ask beside tokens. */

import { addPolicyBundleRoute } from '../http/routes/policy-bundle-routes.ts';
import { addReportRoutes } from '../http/routes/report-routes.ts';
import { addSdkRoutes } from '../http/routes/sdk-routes.ts';
import { addToolEnforcementRoute } from '../http/routes/tool-enforcement-routes.ts';
import { newId } from '../platform/ids.ts';
import { createCallerEvents } from '../storage/audit/caller-event-store.ts';
import { createPlanReports } from '../storage/intent-tokens/plan-report-store.ts';
import { createEnforceTool } from '../use-cases/intent-tokens/enforce-tool.ts';
import { createRecordReports } from '../use-cases/intent-tokens/record-reports.ts';
import { createReportPlanStatus } from '../use-cases/intent-tokens/report-plan-status.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import { strongEntityTag } from './strong-entity-tag.ts';

export function composePythonSdk(
  { database, clock }: AppContext,
  parts: { readonly audit: AuditPart; readonly authentication: AuthenticationPart },
): ServedPart {
  const { authenticator, denyCaller } = parts.authentication;
  const { confirm } = authenticator;
  const events = createCallerEvents(database);
  const enforce = createEnforceTool({ events, denialLog: parts.audit.denialLog, confirm, clock, newId });
  const record = createRecordReports({ events, newId, deadKey: denyCaller.deadKey });
  const plans = createPlanReports(database);
  const reportPlanStatus = createReportPlanStatus({ plans, confirm, newId });
  return {
    addRoutes: (routes) => {
      addSdkRoutes(routes, { now: clock.now, forbid: denyCaller.forbid });
      addPolicyBundleRoute(routes, { entityTagOf: strongEntityTag });
      addToolEnforcementRoute(routes, enforce);
      addReportRoutes(routes, { record, reportPlanStatus });
    },
  };
}
