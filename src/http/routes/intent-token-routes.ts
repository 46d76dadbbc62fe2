/** `POST /token/issue` and `POST /iap/sdk/token`: the same state, as documented and as the SDKs read them. */

import Type from 'typebox';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { PlanAssessment } from '../../use-cases/intent-tokens/assess-plan.ts';
import type { IssueIntentToken } from '../../use-cases/intent-tokens/issue-intent-token.ts';
import { sdkTokenOf } from '../../use-cases/intent-tokens/sdk-token.ts';
import type { IssuedIntentToken } from '../../use-cases/intent-tokens/sign-intent-token.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, oneOf, sha256Hex, strictObject, UNESCAPED, uuid } from '../routing/schemas.ts';
import { commandOf, IntentTokenRequest } from './intent-token-request.ts';

const signature = Type.String({ pattern: '^[0-9a-f]{128}$', description: 'Ed25519, hex' });
const unixSeconds = (what: string) => Type.Integer({ description: `${what}, Unix seconds` });

const StepProof = strictObject({
  step_index: Type.Integer(),
  path: Type.String(),
  value_digest: sha256Hex('of the canonical action'),
  leaf_index: Type.Integer(),
  tree_size: Type.Integer(),
  proof: Type.Array(strictObject({ position: oneOf(['left', 'right']), sibling_hash: sha256Hex('a node') })),
});

export const PolicyValidation = strictObject({
  allowed_tools: Type.Array(Type.String()),
  denied_tools: Type.Array(Type.String()),
  denied_reasons: Type.Array(Type.String()),
  default_enforcement_action: oneOf(['block']),
});

const planFacts = {
  success: Type.Boolean(),
  plan_hash: sha256Hex('SHA-256 of the canonical plan'),
  merkle_root: sha256Hex('root of the tree over the steps'),
  tree_size: Type.Integer({ description: 'leaves: twice the number of steps' }),
  policy: freeObject('as signed'),
  policy_hash: sha256Hex('SHA-256 of the canonical policy'),
  step_proofs: Type.Array(StepProof),
  total_steps: Type.Integer(),
  policy_validation: PolicyValidation,
};

export const tokenFacts = {
  token_id: uuid('the `jti`'),
  plan_id: uuid(),
  issued_at: unixSeconds('`iat`'),
  expires_at: unixSeconds('`exp`'),
  composite_identity: sha256Hex('SHA-256 of the canonical identity'),
};

const DryRun = strictObject({ ...planFacts, dry_run: Type.Boolean() }, 'answer to `dry_run`');
const jwt = Type.String({ description: 'compact JWS (RFC 7515)', ...UNESCAPED });

const Documented = strictObject({ ...planFacts, ...tokenFacts, token: jwt, signature });

export const SdkToken = strictObject({
  plan_hash: planFacts.plan_hash,
  issued_at: tokenFacts.issued_at,
  expires_at: tokenFacts.expires_at,
  policy: planFacts.policy,
  identity: tokenFacts.composite_identity,
  public_key: Type.String({
    pattern: '^[0-9a-f]{64}$',
    description: 'proves nothing by itself: verifiers pin the JWKS',
  }),
  version: oneOf(['1.0']),
  token_id: tokenFacts.token_id,
  merkle_root: planFacts.merkle_root,
  jwt_token: jwt,
  signature,
});

export const ClientInfo = strictObject({
  clientId: Type.String(),
  clientName: Type.String(),
  orgId: Type.String(),
});

const AsSdksRead = strictObject({
  ...planFacts,
  ...tokenFacts,
  token: SdkToken,
  jwt_token: jwt,
  intent_reference: tokenFacts.token_id,
  client_info: ClientInfo,
});

const REFUSALS = [
  'INVALID_PLAN',
  'INVALID_POLICY',
  'PLAN_NOT_CANONICALIZABLE',
  'INVALID_TTL',
  'TTL_OUT_OF_RANGE',
  'POLICY_DENIED',
  'IDEMPOTENCY_KEY_REUSED',
  'IDEMPOTENCY_KEY_SPENT',
  'AUDIT_UNAVAILABLE',
  'OUTCOME_UNKNOWN',
] as const;

const TAG = 'intent tokens';

export interface IntentTokenDeps {
  readonly issue: IssueIntentToken;
  readonly sha256Hex: (bytes: Uint8Array) => string;
}

export function addIntentTokenRoutes(routes: Routes, deps: IntentTokenDeps): void {
  const endpoints = [
    { url: '/token/issue', summary: 'Issue an intent token', schema: Documented, render: documented },
    {
      url: '/iap/sdk/token',
      summary: 'The same, in the shape the SDKs read',
      schema: AsSdksRead,
      render: asSdksRead,
    },
  ];
  for (const { url, summary, schema, render } of endpoints) {
    routes.authenticated({
      method: 'POST',
      url,
      tag: TAG,
      summary,
      roles: ['admin', 'agent'],
      keyCheck: 'in-write',
      body: IntentTokenRequest,
      headers: {
        'Idempotency-Key': Type.String({
          pattern: '^[\\x21-\\x7e]{1,128}$',
          description:
            'The same key with the same body is answered with the same token for 10 minutes, while it is live.',
        }),
      },
      answers: { 200: Type.Union([schema, DryRun]) },
      refusals: REFUSALS,
      handle: async ({ body, caller, context, request }) => {
        const issued = await deps.issue(commandOf(body, request, deps.sha256Hex), caller, context);
        return 'jwt' in issued
          ? { status: 200, body: render(issued, caller), shape: schema }
          : { status: 200, body: dryRun(issued), shape: DryRun };
      },
    });
  }
}

function factsOfPlan(plan: PlanAssessment) {
  return {
    success: true,
    plan_hash: plan.digest.planHashHex,
    merkle_root: plan.digest.merkleRootHex,
    tree_size: plan.digest.treeSize,
    policy: plan.policyJson,
    policy_hash: plan.policyHashHex,
    step_proofs: plan.digest.stepProofs,
    total_steps: plan.totalSteps,
    policy_validation: plan.validation,
  };
}

function factsOfToken(issued: IssuedIntentToken) {
  return {
    token_id: issued.jti,
    plan_id: issued.planId,
    issued_at: issued.issuedAtSeconds,
    expires_at: issued.expiresAtSeconds,
    composite_identity: issued.compositeIdentityHex,
  };
}

const dryRun = (plan: PlanAssessment) => ({ ...factsOfPlan(plan), dry_run: true });

/** Everything an answer says of a token. Spread into one literal it would take 7 µs instead of 0.3 (V8 makes a hash table). */
const requestStateOf = (issued: IssuedIntentToken) =>
  Object.assign(factsOfPlan(issued), factsOfToken(issued));

function documented(issued: IssuedIntentToken) {
  return Object.assign(requestStateOf(issued), { token: issued.jwt, signature: issued.signatureHex });
}

function asSdksRead(issued: IssuedIntentToken, { principal }: Caller) {
  return Object.assign(requestStateOf(issued), {
    token: sdkTokenOf(issued),
    jwt_token: issued.jwt,
    intent_reference: issued.jti,
    client_info: clientInfoOf(principal),
  });
}

export const clientInfoOf = ({ id, name }: { readonly id: string; readonly name: string }) => ({
  clientId: id,
  clientName: name,
  orgId: ORGANISATION,
});

/** A server has one organisation: whoever runs it. */
export const ORGANISATION = 'self-hosted';
