/**
 * May this tool be called now? (contract section 4.6, `POST /iap/sdk/enforce`). Nothing is proven: the pairs of `mcp` and
 * action are in the token's own row, so the answer is for the principal to whom the token was issued, and for nobody else.
 */

import type { VerificationRefusal } from '../../domain/intent-tokens/verification-code.ts';
import type { Address } from '../../domain/network/ip-address.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import {
  type AnswerVerificationDeps,
  answerVerification,
  type Permit,
  type VerificationOutcome,
} from './answer-verification.ts';
import {
  decideRuntimePolicy,
  deniedByOperator,
  type PlannedPair,
  plannedPairs,
} from './decide-token-step.ts';
import type { LiveToken } from './live-token.ts';
import type { PresentedToken } from './verification-question.ts';

export interface ToolCall {
  /** That the client believes the token to be of; undefined where it says none. */
  readonly planId: string | undefined;
  /** Null for a step without one. */
  readonly mcp: string | null;
  readonly tool: string;
  /** Whom the client knows to own the tool; undefined where it does not say. */
  readonly mcpServer: string | undefined;
  readonly clientAddress: Address | undefined;
}

export interface ToolCallQuestion {
  readonly token: PresentedToken;
  /** For the trail; undefined where the question is malformed. */
  readonly called: { readonly mcp: string | null; readonly tool: string } | undefined;
  /** Throws `VALIDATION_ERROR` for a question that is malformed: said of a good token of the caller's only. */
  readonly read: () => ToolCall;
}

export type EnforcePlannedTool = (
  question: ToolCallQuestion,
  caller: Caller,
  context: RequestContext,
) => Promise<VerificationOutcome>;

export function createEnforcePlannedTool(deps: AnswerVerificationDeps): EnforcePlannedTool {
  return (question, caller, context) =>
    answerVerification(deps, {
      token: question.token,
      asker: { caller, context },
      eventType: 'intent.enforced',
      metadata: question.called ?? {},
      decide: (live) => decide(live, question, { caller, nowSeconds: deps.clock.now().getTime() / 1000 }),
    });
}

function decide(
  live: LiveToken,
  question: ToolCallQuestion,
  { caller, nowSeconds }: { readonly caller: Caller; readonly nowSeconds: number },
): Permit | VerificationRefusal {
  const { claims, state } = live;
  if (state.agentId !== caller.principal.id)
    return { code: 'TOKEN_INVALID', reason: 'The token was issued to another principal.' };
  const { planId, mcp, tool, mcpServer, clientAddress } = question.read();
  if (planId !== undefined && planId !== state.planId)
    return { code: 'TOKEN_INVALID', reason: 'The plan_id is not the token’s.' };
  const runtime = decideRuntimePolicy(live, { nowSeconds, clientAddress });
  if ('code' in runtime) return runtime;
  if (claims.allowedActions?.includes(tool) === false)
    return { code: 'POLICY_DENIED', reason: 'The delegation does not allow this action.' };
  if (mcpServer !== undefined && mcpServer !== mcp)
    return { code: 'STEP_MISMATCH', reason: 'mcp and mcpServer name different servers.' };
  const pair: PlannedPair = [mcp, tool];
  if (!plannedPairs(state).some(([plannedMcp, action]) => plannedMcp === mcp && action === tool))
    return { code: 'STEP_MISMATCH', reason: 'The plan has no step that calls this tool.' };
  return deniedByOperator(state, [pair]) ?? { use: { ...runtime, consumedStep: null } };
}
