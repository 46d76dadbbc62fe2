/** `POST /iap/audit`, `/iap/audit/batch`, `/iap/plans/:id/status`: what clients say that they did (contract section 4.8). */

import Type from 'typebox';
import type { RecordReports } from '../../use-cases/intent-tokens/record-reports.ts';
import type { ReportPlanStatus } from '../../use-cases/intent-tokens/report-plan-status.ts';
import type { Routes } from '../routing/route.ts';
import { strictObject, text } from '../routing/schemas.ts';
import { readReports, reportOf, StepReport } from './report-schemas.ts';

const REPORTING = {
  method: 'POST',
  tag: 'python sdk',
  roles: ['admin', 'agent'],
  keyCheck: 'before-handler',
} as const;
const MAX_ROWS = 100;
const Done = strictObject({ success: Type.Boolean() });

export interface ReportRouteDeps {
  readonly record: RecordReports;
  readonly reportPlanStatus: ReportPlanStatus;
}

export function addReportRoutes(routes: Routes, { record, reportPlanStatus }: ReportRouteDeps): void {
  routes.authenticated({
    ...REPORTING,
    url: '/iap/audit',
    summary: 'Report a step that was carried out: the client’s own claim',
    body: StepReport,
    answers: { 200: Done },
    handle: async ({ body, caller, context }) => {
      await record([reportOf(body)], caller, context);
      return { status: 200, body: { success: true } };
    },
  });

  routes.authenticated({
    ...REPORTING,
    url: '/iap/audit/batch',
    summary: 'Report many steps; a row that is not acceptable is left out and named',
    body: strictObject({
      rows: Type.Array(Type.Unsafe<unknown>({ description: 'as `POST /iap/audit` takes one' }), {
        minItems: 1,
        maxItems: MAX_ROWS,
      }),
    }),
    answers: {
      200: strictObject({
        written: Type.Integer(),
        failures: Type.Array(strictObject({ index: Type.Integer(), error: Type.String() })),
      }),
    },
    handle: async ({ body, caller, context, request }) => {
      const { reports, failures } = readReports(body.rows, request);
      if (reports.length > 0) await record(reports, caller, context);
      return { status: 200, body: { written: reports.length, failures } };
    },
  });

  routes.authenticated({
    ...REPORTING,
    url: '/iap/plans/:id/status',
    summary: 'Report how far a plan of one’s own is: the client’s own claim',
    params: strictObject({ id: Type.String({ description: 'the `plan_id` of a token' }) }),
    body: strictObject({ status: text({ min: 1, max: 64 }) }),
    answers: { 200: Done },
    handle: async ({ params, body, caller, context }) => {
      await reportPlanStatus({ planId: params.id, status: body.status }, caller, context);
      return { status: 200, body: { success: true } };
    },
  });
}
