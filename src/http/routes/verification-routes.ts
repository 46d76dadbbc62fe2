/** `POST /token/verify` (contract section 4.6). */

import Type from 'typebox';
import { MAX_STEP_NAME_CHARACTERS } from '../../domain/formats/step-name.ts';
import { refusedKey } from '../../use-cases/authentication/authenticate-api-key.ts';
import type { VerificationOutcome } from '../../use-cases/intent-tokens/answer-verification.ts';
import type { VerifyIntentToken } from '../../use-cases/intent-tokens/verify-intent-token.ts';
import { type Routes, requireWellFormed } from '../routing/route.ts';
import { freeObject, nullable, strictObject, text } from '../routing/schemas.ts';
import { memberOf, needsKey, parseVerificationRequest, readTokenFirst } from './verification-request.ts';
import { CodeAnswered, ProofSent, TokenSent, VERIFICATION_TAG } from './verification-schemas.ts';

const VerifyRequest = strictObject({
  token: TokenSent,
  step_index: Type.Optional(
    Type.Integer({ minimum: 0, description: 'needs `proof` and one of `action`, `step`' }),
  ),
  step: Type.Optional(freeObject('The whole step as it stands in the plan.')),
  action: Type.Optional(text({ max: MAX_STEP_NAME_CHARACTERS })),
  mcp: Type.Optional(
    text({ max: MAX_STEP_NAME_CHARACTERS, description: 'needs `step`: alone it is unproven' }),
  ),
  proof: Type.Optional(ProofSent),
  consume: Type.Optional(
    Type.Boolean({
      description: 'uses the step up, once for the token and all its delegations; needs an API key',
    }),
  ),
  client_ip: Type.Optional(
    text({
      max: 64,
      description:
        'of the client that asks you for the step, for `ip_whitelist`; the caller’s own where absent; needs an API key',
    }),
  ),
});

const VerifyAnswer = strictObject({
  valid: Type.Boolean(),
  code: CodeAnswered,
  reason: Type.Optional(Type.String({ description: 'absent when valid' })),
  claims: Type.Optional(freeObject('as signed; present once the token itself is good')),
  step: Type.Optional(
    strictObject({ step_index: Type.Integer(), action: Type.String(), mcp: nullable(Type.String()) }),
  ),
});

export function addVerificationRoutes(routes: Routes, verify: VerifyIntentToken): void {
  routes.public({
    method: 'POST',
    url: '/token/verify',
    tag: VERIFICATION_TAG,
    summary: 'Verify an intent token and optionally one step of its plan',
    credential: 'api-key-if-sent',
    faultsWait: true,
    body: VerifyRequest,
    answers: { 200: VerifyAnswer },
    refusals: ['PLAN_NOT_CANONICALIZABLE', 'AUDIT_UNAVAILABLE', 'OUTCOME_UNKNOWN'],
    handle: async ({ body, caller, context, request }) => {
      if (caller === undefined && needsKey(request)) throw refusedKey('AUTH_INVALID_KEY');
      const { underflowed, context: client } = request.state;
      const question = {
        token: readTokenFirst(request, memberOf(request, 'token')),
        stepIndex: request.validationError === undefined ? body.step_index : undefined,
        read: () => {
          requireWellFormed(request);
          return parseVerificationRequest(body, { underflowed, callerAddress: client.clientAddress });
        },
      };
      return { status: 200, body: verifiedView(await verify(question, caller, context)) };
    },
  });
}

function verifiedView({ refusal, claims, step }: VerificationOutcome) {
  return {
    valid: refusal === undefined,
    code: refusal?.code ?? 'VALID',
    reason: refusal?.reason,
    claims: claims?.all,
    step: step && { step_index: step.stepIndex, action: step.action, mcp: step.mcp },
  };
}
