/**
 * `POST /iap/verify-step` and `POST /verify/action`: the question of `POST /token/verify` as vendor plug-ins put it
 * (contract section 4.6). They read a missing `allowed` as permission, so every answer has it.
 */

import type { FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { DIGEST_HEX } from '../../domain/crypto/hashing.ts';
import { MAX_STEP_NAME_CHARACTERS } from '../../domain/formats/step-name.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { VerificationOutcome } from '../../use-cases/intent-tokens/answer-verification.ts';
import type {
  AskedStep,
  TokenQuestion,
  VerificationRequest,
} from '../../use-cases/intent-tokens/verification-question.ts';
import type { VerifyIntentToken } from '../../use-cases/intent-tokens/verify-intent-token.ts';
import { type Routes, requireWellFormed } from '../routing/route.ts';
import { freeObject, nullable, strictObject, text } from '../routing/schemas.ts';
import { PolicyValidation } from './intent-token-routes.ts';
import {
  type NamedStep,
  readStepIndex,
  requireSmallContext,
  statedStepIndex,
} from './verification-plugin-question.ts';
import { fault, memberOf, readProof, readTokenFirst, requireWrittenNumber } from './verification-request.ts';
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
  step: strictObject({
    step_index: nullable(Type.Integer({ description: 'null for a question that is malformed' })),
    action: nullable(Type.String()),
  }),
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
    faultsWait: true,
    body: VerifyStepRequest,
    answers: { 200: StepVerdict },
    refusals: REFUSALS,
    handle: async ({ body, caller, context: origin, request }) => {
      const question = questionOf(request, body, () => {
        requireWrittenNumber(body, request.state.underflowed);
        requireSmallContext(body.context);
        return askedStep(body);
      });
      const outcome = await verify(question, caller, origin);
      const toolName = request.validationError === undefined ? (body.tool_name ?? null) : null;
      return { status: 200, body: stepVerdict(outcome, question.stepIndex ?? null, toolName) };
    },
  });

  routes.public({
    method: 'POST',
    url: '/verify/action',
    tag: VERIFICATION_TAG,
    summary: 'Verify an action at its place in a plan, as vendor plug-ins ask it',
    credential: 'none',
    faultsWait: true,
    body: VerifyActionRequest,
    answers: { 200: strictObject(verdict) },
    handle: async ({ body, context: origin, request }) => {
      const question = questionOf(request, body, () => {
        requireSmallContext(body.context);
        const { value: action, proof } = body;
        const stepIndex = readStepIndex(body);
        return { stepIndex, read: () => ({ stepIndex, action, proof: readProof(proof) }) };
      });
      return { status: 200, body: verdictOf(await verify(question, undefined, origin)) };
    },
  });
}

/** `readAsked` is for a body that has passed its schema, and throws `VALIDATION_ERROR`. */
function questionOf(
  request: FastifyRequest,
  body: NamedStep,
  readAsked: () => AskedStep,
): VerificationRequest {
  return {
    token: readTokenFirst(request, memberOf(request, 'token')),
    stepIndex: request.validationError === undefined ? statedStepIndex(body) : undefined,
    read: (): TokenQuestion => {
      requireWellFormed(request);
      const { clientAddress } = request.state.context;
      return { step: readAsked(), consume: false, clientAddress };
    },
  };
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

function stepVerdict(outcome: VerificationOutcome, stepIndex: number | null, toolName: string | null) {
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
