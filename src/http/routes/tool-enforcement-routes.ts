/**
 * `POST /iap/enforce` (contract section 4.6), as plug-ins of coding assistants ask before every call of a tool. Their
 * published client reads a 400, and a 200 without `allowed:false`, as permission: see `error-envelopes.ts`.
 */

import Type from 'typebox';
import { MAX_TOOL_NAME_CHARACTERS } from '../../domain/policies/tool-decision.ts';
import type { EnforceTool } from '../../use-cases/intent-tokens/enforce-tool.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, oneOf, strictObject, text } from '../routing/schemas.ts';

const claimed = (description: string) => Type.Optional(text({ max: 256, description }));
const unread = (description: string) => Type.Optional(Type.String({ description }));

const ToolRequest = strictObject({
  tool_name: text({
    max: MAX_TOOL_NAME_CHARACTERS,
    description: '`tool`, `server/tool` or `mcp__server__tool`',
  }),
  tool_input: Type.Optional(freeObject('what the tool would be given: not read, never stored')),
  source: claimed('the client’s own name, for the audit trail'),
  session_id: claimed('the client’s own, for the audit trail'),
  org_id: unread('not read: a server has one organisation'),
  description: unread('not read, never stored'),
});

const ToolAnswer = strictObject({
  allowed: Type.Boolean(),
  action: oneOf(['allow', 'block']),
  reason: Type.String(),
  matched_policy: Type.Optional(
    strictObject({
      name: Type.String({ description: 'the rule that decided, for example `deny mail-mcp/*`' }),
    }),
  ),
});

export function addToolEnforcementRoute(routes: Routes, enforce: EnforceTool): void {
  routes.authenticated({
    method: 'POST',
    url: '/iap/enforce',
    tag: 'verification',
    summary: 'May this tool be called now, by the operator’s policy of this principal?',
    description:
      'Never 400, 413 or 415: a question that is not well-formed is answered with 200 and `allowed:false`.',
    roles: ['admin', 'agent'],
    keyCheck: 'in-write',
    body: ToolRequest,
    answers: { 200: ToolAnswer },
    handle: async ({ body, caller, context, request }) => {
      const { clientAddress } = request.state.context;
      const claims = { source: body.source, session_id: body.session_id };
      const asked = { toolName: body.tool_name, clientAddress, claimed: present(claims) };
      const { allowed, reason, rule } = await enforce(asked, caller, context);
      return {
        status: 200,
        body: {
          allowed,
          action: allowed ? 'allow' : 'block',
          reason,
          ...(rule === undefined ? {} : { matched_policy: { name: rule } }),
        },
      };
    },
  });
}

const present = (members: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(members).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
