/** What a client reports of a step that it carried out (contract section 4.8): read here, one row or many. */

import type { FastifyRequest, FastifySchemaValidationError } from 'fastify';
import Type, { type Static } from 'typebox';
import { WritError } from '../../errors.ts';
import type { Report } from '../../use-cases/intent-tokens/record-reports.ts';
import { instant, strictObject, text } from '../routing/schemas.ts';
import { withoutNullMembers } from '../server/json-body.ts';
import { validationError } from '../server/validation.ts';

const MAX_STEP_INDEX = 2_147_483_647;
/** A year. */
const MAX_DURATION_MS = 31_536_000_000;

const said = () => text({ max: 256 });
const optional = () => Type.Optional(said());
const unread = (what: string) =>
  Type.Optional(Type.Unsafe<unknown>({ description: `${what}: not read, never stored` }));

export const StepReport = strictObject({
  step_index: Type.Integer({ minimum: 0, maximum: MAX_STEP_INDEX }),
  action: said(),
  status: said(),
  tool: optional(),
  mcp: optional(),
  duration_ms: Type.Optional(Type.Number({ minimum: 0, maximum: MAX_DURATION_MS })),
  is_delegated: Type.Optional(Type.Boolean()),
  executed_at: Type.Optional(instant()),
  plan_id: Type.Optional(text({ max: 256, description: 'not checked' })),
  session_id: optional(),
  agent_id: optional(),
  user_email: optional(),
  delegated_by: optional(),
  delegated_to: optional(),
  input: unread('what the tool was given'),
  output: unread('what it answered'),
  error_message: unread('why it failed'),
  token: unread('the token'),
});

/** What is not kept of one: it could hold anything. */
const NEVER_STORED: ReadonlySet<string> = new Set(['input', 'output', 'error_message', 'token']);

export function reportOf(row: Static<typeof StepReport>): Report {
  const claimed = Object.fromEntries(Object.entries(row).filter(([name]) => !NEVER_STORED.has(name)));
  const tool = row.tool ?? row.action;
  return { resource: { type: 'tool', id: row.mcp === undefined ? tool : `${row.mcp}/${tool}` }, claimed };
}

export interface ReadReports {
  readonly reports: readonly Report[];
  readonly failures: readonly { readonly index: number; readonly error: string }[];
}

/** Each row by the schema of one, so that a row is refused in a batch as it would be alone. */
export function readReports(rows: readonly unknown[], request: FastifyRequest): ReadReports {
  const validate = request.compileValidationSchema(StepReport as unknown as Record<string, unknown>);
  const reports: Report[] = [];
  const failures: { index: number; error: string }[] = [];
  for (const [index, sent] of rows.entries()) {
    const row = withoutNullMembers(sent, StepReport);
    if (validate(row)) reports.push(reportOf(row as Static<typeof StepReport>));
    else failures.push({ index, error: reasonOf(validate.errors) });
  }
  return { reports, failures };
}

function reasonOf(errors: unknown): string {
  const error = validationError((errors ?? []) as FastifySchemaValidationError[], 'body');
  return error instanceof WritError ? error.publicMessage.replace(/^The body/, 'The row') : 'not acceptable';
}
