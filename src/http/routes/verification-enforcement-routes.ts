/** `POST /iap/sdk/enforce`: may this tool be called now? As the Python SDK asks it in server-side mode (contract section 4.6). */

import Type from 'typebox';
import { MAX_STEP_NAME_CHARACTERS } from '../../domain/formats/step-name.ts';
import { isJsonObject, type JsonValue } from '../../domain/json/strict-json.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { EnforcePlannedTool } from '../../use-cases/intent-tokens/enforce-planned-tool.ts';
import { type Routes, requireWellFormed } from '../routing/route.ts';
import { oneOf, strictObject, text } from '../routing/schemas.ts';
import { memberOf, readTokenFirst } from './verification-request.ts';
import { CodeAnswered, VERIFICATION_TAG } from './verification-schemas.ts';

const name = (description: string) => text({ max: MAX_STEP_NAME_CHARACTERS, description });
const unread = (description: string) => Type.Optional(text({ max: 512, description }));
const neverStored = (description: string) => Type.Optional(Type.Unsafe<JsonValue>({ description }));

const EnforceRequest = strictObject({
  mcp: Type.Optional(name('of the step; absent for a step that has none')),
  tool: name('the action'),
  intent_token: strictObject({
    jwt_token: Type.String(),
    plan_id: Type.Optional(text({ max: 64, description: 'must be the token’s' })),
  }),
  wireName: unread('not read: what the client’s framework calls the tool, in a form of its own'),
  mcpServer: Type.Optional(name('must be `mcp`: the server that the client knows to own the tool')),
  toolsSnapshotHash: unread('not read'),
  session_id: unread('not read'),
  user_email: unread('not read'),
  agent_id: unread('not read'),
  arguments: neverStored('not read, never stored'),
  policy_snapshot: neverStored('not read: the policy that was signed decides'),
});

const EnforceAnswer = strictObject({
  allowed: Type.Boolean(),
  enforcementAction: oneOf(['allow', 'block']),
  reason: Type.String(),
  code: CodeAnswered,
});

export function addToolEnforcementRoutes(routes: Routes, enforce: EnforcePlannedTool): void {
  routes.authenticated({
    method: 'POST',
    url: '/iap/sdk/enforce',
    tag: VERIFICATION_TAG,
    summary: 'May this tool of an own plan be called now?',
    roles: ROLES,
    keyCheck: 'before-handler',
    faultsWait: true,
    body: EnforceRequest,
    answers: { 200: EnforceAnswer },
    refusals: ['AUDIT_UNAVAILABLE', 'OUTCOME_UNKNOWN'],
    handle: async ({ body, caller, context, request }) => {
      const sent = memberOf(request, 'intent_token');
      const jwt = isJsonObject(sent) ? sent['jwt_token'] : undefined;
      const { mcp = null, tool, mcpServer } = body ?? {};
      const question = {
        token: readTokenFirst(request, typeof jwt === 'string' ? jwt : undefined, '/intent_token/jwt_token'),
        called: request.validationError === undefined ? { mcp, tool } : undefined,
        read: () => {
          requireWellFormed(request);
          const planId = body.intent_token.plan_id;
          return { planId, mcp, tool, mcpServer, clientAddress: request.state.context.clientAddress };
        },
      };
      const { refusal } = await enforce(question, caller, context);
      return {
        status: 200,
        body: {
          allowed: refusal === undefined,
          enforcementAction: refusal === undefined ? 'allow' : 'block',
          reason: refusal?.reason ?? 'The tool is a step of the signed plan and may be called now.',
          code: refusal?.code ?? 'VALID',
        },
      };
    },
  });
}
