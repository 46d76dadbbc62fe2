/** `POST /token/verify`, and the vendors' ways of asking the same, which are not served yet (contract section 4.6). */

import Type from 'typebox';
import { MAX_STEP_NAME_CHARACTERS } from '../../domain/formats/step-name.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { ROLES } from '../../domain/principals/role.ts';
import { WritError } from '../../errors.ts';
import type { VerifyIntentToken } from '../../use-cases/intent-tokens/verify-intent-token.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, nullable, oneOf, strictObject, text } from '../routing/schemas.ts';
import { parseVerificationRequest } from './verification-request.ts';

const TAG = 'verification';
const CODES = [
  'VALID',
  'TOKEN_EXPIRED',
  'TOKEN_INVALID',
  'TOKEN_REVOKED',
  'MERKLE_PROOF_INVALID',
  'STEP_MISMATCH',
  'POLICY_DENIED',
] as const;

const eitherOf = (types: readonly string[], description: string) =>
  Type.Unsafe<JsonValue>({ type: types, description });

const AnyBody = freeObject('anything');

const VerifyRequest = strictObject({
  token: eitherOf(
    ['string', 'object'],
    'The JWT, or the token object of an SDK, whose `jwt_token` is what is verified.',
  ),
  step_index: Type.Optional(
    Type.Integer({ minimum: 0, description: 'needs `proof` and one of `action`, `step`' }),
  ),
  step: Type.Optional(freeObject('The whole step as it stands in the plan.')),
  action: Type.Optional(text({ max: MAX_STEP_NAME_CHARACTERS })),
  mcp: Type.Optional(
    text({ max: MAX_STEP_NAME_CHARACTERS, description: 'needs `step`: alone it is unproven' }),
  ),
  proof: Type.Optional(
    eitherOf(['array', 'object'], 'The list of siblings, or a whole element of `step_proofs`.'),
  ),
  consume: Type.Optional(Type.Boolean({ description: 'not served yet' })),
  client_ip: Type.Optional(Type.String({ description: 'not served yet' })),
});

const VerifyAnswer = strictObject({
  valid: Type.Boolean(),
  code: oneOf(CODES),
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
    tag: TAG,
    summary: 'Verify an intent token and optionally one step of its plan',
    credential: 'api-key-if-sent',
    body: VerifyRequest,
    answers: { 200: VerifyAnswer },
    refusals: ['PLAN_NOT_CANONICALIZABLE', 'AUDIT_UNAVAILABLE', 'OUTCOME_UNKNOWN'],
    handle: async ({ body, caller, context, request }) => {
      const question = parseVerificationRequest(body, request.state.underflowed);
      const verification = await verify(question, caller, context);
      return { status: 200, body: { valid: verification.code === 'VALID', ...verification } };
    },
  });

  const notServed = async (): Promise<never> => {
    throw new WritError('VALIDATION_ERROR', 'This way of asking is not served yet; use POST /token/verify.');
  };
  for (const url of ['/iap/verify-step', '/iap/sdk/enforce']) {
    routes.authenticated({
      method: 'POST',
      url,
      tag: TAG,
      summary: 'Not served yet: every answer is a refusal',
      roles: ROLES,
      keyCheck: 'before-handler',
      body: AnyBody,
      answers: {},
      handle: notServed,
    });
  }
  routes.public({
    method: 'POST',
    url: '/verify/action',
    tag: TAG,
    summary: 'Not served yet: every answer is a refusal',
    credential: 'none',
    body: AnyBody,
    answers: {},
    handle: notServed,
  });
}
