/** `POST /delegation/create` and `POST /iap/trust/delegate`: one delegation, as each SDK asks for it (contract section 4.7). */

import Type from 'typebox';
import type { DenyCaller } from '../../use-cases/authentication/deny-caller.ts';
import type {
  DelegatedIntentToken,
  DelegateIntentToken,
} from '../../use-cases/intent-tokens/delegate-intent-token.ts';
import { sdkTokenOf } from '../../use-cases/intent-tokens/sdk-token.ts';
import { type Routes, requireWellFormed } from '../routing/route.ts';
import { oneOf, strictObject } from '../routing/schemas.ts';
import { asksForSubtree, DelegationBody, delegationOf } from './intent-token-delegation-request.ts';
import { ClientInfo, clientInfoOf, PolicyValidation, SdkToken, tokenFacts } from './intent-token-routes.ts';

const Delegation = strictObject({
  success: Type.Boolean(),
  delegation_id: tokenFacts.token_id,
  delegation: strictObject({
    ...SdkToken.properties,
    plan_id: tokenFacts.plan_id,
    composite_identity: tokenFacts.composite_identity,
    client_info: ClientInfo,
    policy_validation: PolicyValidation,
    total_steps: Type.Integer(),
    allowed_operations: Type.Array(Type.String(), { description: 'the actions that are passed on' }),
    step_proofs: Type.Array(Type.Never(), {
      description: 'empty: those of the first token hold, because plan and tree are the same',
      maxItems: 0,
    }),
  }),
  expires_at: tokenFacts.expires_at,
  trust_delta: strictObject({}),
  status: oneOf(['delegated']),
});

export interface DelegationDeps {
  readonly delegate: DelegateIntentToken;
  readonly denyCaller: DenyCaller;
}

export function addDelegationRoutes(routes: Routes, deps: DelegationDeps): void {
  for (const [url, summary] of [
    ['/delegation/create', 'Pass an intent token on, narrower and bound to a delegate’s key'],
    ['/iap/trust/delegate', 'The same, as the Python SDK asks it'],
  ] as const) {
    routes.authenticated({
      method: 'POST',
      url,
      tag: 'intent tokens',
      summary,
      roles: ['admin', 'agent'],
      keyCheck: 'in-write',
      faultsWait: true,
      description: 'A body with `parentToken` or `subtreePath` is 403, whatever else it says.',
      body: DelegationBody,
      answers: { 200: Delegation },
      refusals: [
        'INVALID_TTL',
        'TTL_OUT_OF_RANGE',
        'TOKEN_INVALID',
        'TOKEN_EXPIRED',
        'TOKEN_REVOKED',
        'SCOPE_DENIED',
        'POLICY_DENIED',
        'FORBIDDEN',
      ],
      handle: async ({ body, caller, context, request }) => {
        if (asksForSubtree(request)) {
          return deps.denyCaller.forbid(caller, context, {
            type: 'endpoint',
            id: `POST ${url}`,
            why: 'A part of the tree cannot be delegated: name allowed_actions instead.',
          });
        }
        requireWellFormed(request);
        return {
          status: 200,
          body: delegationView(await deps.delegate(delegationOf(body), caller, context)),
        };
      },
    });
  }
}

function delegationView(delegated: DelegatedIntentToken) {
  return {
    success: true,
    delegation_id: delegated.jti,
    delegation: {
      ...sdkTokenOf(delegated, delegated.allowedActions),
      plan_id: delegated.planId,
      composite_identity: delegated.compositeIdentityHex,
      client_info: clientInfoOf(delegated.principal),
      policy_validation: delegated.validation,
      step_proofs: [],
      total_steps: delegated.totalSteps,
    },
    expires_at: delegated.expiresAtSeconds,
    trust_delta: {},
    status: 'delegated',
  };
}
