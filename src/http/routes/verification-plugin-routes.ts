/**
 * `POST /iap/verify-step` and `POST /verify/action`: the question of `POST /token/verify` as vendor plug-ins put it
 * (contract section 4.6). They read a missing `allowed` as permission, so every answer has it.
 */

import Type, { type Static } from 'typebox';
import { DIGEST_HEX } from '../../domain/crypto/hashing.ts';
import { MAX_STEP_NAME_CHARACTERS } from '../../domain/formats/step-name.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { VerificationOutcome } from '../../use-cases/intent-tokens/answer-verification.ts';
import type { AskedStep, VerificationRequest } from '../../use-cases/intent-tokens/verification-question.ts';
import type { VerifyIntentToken } from '../../use-cases/intent-tokens/verify-intent-token.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, nullable, strictObject, text } from '../routing/schemas.ts';
import { PolicyValidation } from './intent-token-routes.ts';
import { readStepIndex, requireSmallContext } from './verification-plugin-question.ts';
import { fault, readPresentedToken, readProof, requireWrittenNumber } from './verification-request.ts';
import { CodeAnswered, ProofSent, TokenSent, VERIFICATION_TAG } from './verification-schemas.ts';

const path = text({ max: 64, description: '`/steps/[i]/action`' });
const name = (description: string) => text({ max: MAX_STEP_NAME_CHARACTERS, description });
const context = (description: string) => Type.Optional(freeObject(`At most 8 KiB. ${description}`));

const VerifyStepRequest = strictObject({
  token: TokenSent,
  path: Type.Optional(path),
  step_index: Type.Optional(Type.Integer({ minimum: 0, description: 'this or `path`; both must agree' })),
  tool_name: Type.Optional(name('the action; this or a digest is required')),
  proof: ProofSent,
  context: context('Only `csrg_value_digest` is read: the `value_digest` of the step proof.'),
});

const VerifyActionRequest = strictObject({
  token: TokenSent,
  path,
  value: name('the action that stands there'),
  proof: ProofSent,
  context: context('Not read.'),
});

const verdict = {
  allowed: Type.Boolean(),
  code: CodeAnswered,
  reason: Type.String(),
};

const StepVerdict = strictObject({
  ...verdict,
  step: strictObject({ step_index: Type.Integer(), action: nullable(Type.String()) }),
  policy_validation: PolicyValidation,
  expiresAt: nullable(Type.Integer({ description: '`exp` of a good token, Unix seconds' })),
});

const REFUSALS = ['AUDIT_UNAVAILABLE', 'OUTCOME_UNKNOWN'] as const;

export function addPluginVerificationRoutes(routes: Routes, verify: VerifyIntentToken): void {
  routes.authenticated({
    method: 'POST',
    url: '/iap/verify-step',
    tag: VERIFICATION_TAG,
    summary: 'Verify a step of a plan, as vendor plug-ins ask it',
    roles: ROLES,
    keyCheck: 'before-handler',
    body: VerifyStepRequest,
    answers: { 200: StepVerdict },
    refusals: REFUSALS,
    handle: async ({ body, caller, context: origin, request }) => {
      requireWrittenNumber(body, request.state.underflowed);
      requireSmallContext(body.context);
      const step = askedStep(body);
      const { clientAddress } = request.state.context;
      const question = { token: readPresentedToken(body.token), step, consume: false, clientAddress };
      const outcome = await verify(question, caller, origin);
      return { status: 200, body: stepVerdict(outcome, step, body.tool_name ?? null) };
    },
  });

  routes.public({
    method: 'POST',
    url: '/verify/action',
    tag: VERIFICATION_TAG,
    summary: 'Verify an action at its place in a plan, as vendor plug-ins ask it',
    credential: 'none',
    body: VerifyActionRequest,
    answers: { 200: strictObject(verdict) },
    handle: async ({ body, context: origin, request }) => {
      requireSmallContext(body.context);
      const { value: action, proof } = body;
      const stepIndex = readStepIndex(body);
      const question: VerificationRequest = {
        token: readPresentedToken(body.token),
        step: { stepIndex, read: () => ({ stepIndex, action, proof: readProof(proof) }) },
        consume: false,
        clientAddress: request.state.context.clientAddress,
      };
      return { status: 200, body: verdictOf(await verify(question, undefined, origin)) };
    },
  });
}

/** Throws `VALIDATION_ERROR`. */
function askedStep(body: Static<typeof VerifyStepRequest>): AskedStep {
  const { tool_name: action, proof, context } = body;
  const stepIndex = readStepIndex(body);
  const actionDigestHex = context?.['csrg_value_digest'] ?? undefined;
  if (actionDigestHex === undefined) {
    if (action === undefined) throw fault('/tool_name', 'or context.csrg_value_digest is required');
    return { stepIndex, read: () => ({ stepIndex, action, proof: readProof(proof) }) };
  }
  if (typeof actionDigestHex !== 'string' || !DIGEST_HEX.test(actionDigestHex))
    throw fault('/context/csrg_value_digest', 'must be 64 lower-case hex digits');
  return { stepIndex, read: () => ({ stepIndex, actionDigestHex, action, proof: readProof(proof) }) };
}

const ALLOWED_REASON = 'The step belongs to the signed plan and may be carried out now.';

function verdictOf({ refusal }: VerificationOutcome) {
  return {
    allowed: refusal === undefined,
    code: refusal?.code ?? 'VALID',
    reason: refusal?.reason ?? ALLOWED_REASON,
  };
}

function stepVerdict(outcome: VerificationOutcome, { stepIndex }: AskedStep, toolName: string | null) {
  const { refusal, claims, step } = outcome;
  const action = step?.action ?? toolName;
  const isDenied = refusal?.code === 'POLICY_DENIED';
  return {
    ...verdictOf(outcome),
    step: { step_index: stepIndex, action },
    policy_validation: {
      allowed_tools: refusal === undefined && action !== null ? [action] : [],
      denied_tools: isDenied && action !== null ? [action] : [],
      denied_reasons: isDenied ? [refusal.reason] : [],
      default_enforcement_action: 'block',
    },
    expiresAt: claims?.expiresAtSeconds ?? null,
  };
}
