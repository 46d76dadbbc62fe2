/**
 * The inventory of intent tokens, and their end (contract section 4.7): `GET /v1/intent-tokens`, and revoking by the
 * documented path and by that of the Python SDK.
 */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { UUID } from '../../domain/formats/uuid.ts';
import { consumedIndices } from '../../domain/intent-tokens/step-uses.ts';
import type { IntentTokenManager } from '../../use-cases/intent-tokens/manage-intent-tokens.ts';
import type { IntentTokenEntry } from '../../use-cases/intent-tokens/ports.ts';
import { answerPage } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import {
  instant,
  listOf,
  nullable,
  oneOf,
  PageQuery,
  sha256Hex,
  strictObject,
  text,
  uuid,
} from '../routing/schemas.ts';
import { parseRevocation } from './intent-token-revocation-request.ts';
import { TokenSent } from './verification-schemas.ts';

const KEYED = { tag: 'intent tokens', roles: ['admin', 'agent'], keyCheck: 'before-handler' } as const;
const STATUSES = ['active', 'expired', 'revoked'] as const;

const IntentToken = strictObject({
  token_id: uuid('the `jti`'),
  status: oneOf(STATUSES, 'revoked: itself, an ancestor, or the agent of one of them'),
  plan_id: uuid(),
  plan_hash: sha256Hex('SHA-256 of the canonical plan'),
  agent_id: uuid('to which it was issued'),
  agent_name: Type.String(),
  api_key_id: Type.String({ description: 'with which it was issued' }),
  total_steps: Type.Integer(),
  consumed_steps: Type.Array(Type.Integer(), {
    description:
      'indices, ascending; of the token at the root of its delegations and of all of them together',
  }),
  root_token_id: uuid('the first token of the chain of delegations; its own id where there is none'),
  parent_token_id: nullable(uuid('from which it was delegated')),
  issued_at: instant(),
  expires_at: instant(),
  revoked_at: nullable(instant('null where something that it depends on was revoked instead')),
});

const RevocationRequest = strictObject({
  token: Type.Optional(TokenSent),
  token_id: Type.Optional(text({ max: 64, description: 'this or `token`' })),
  reason: Type.Optional(text({ max: 500, description: 'for the audit trail' })),
  cascade: Type.Optional(Type.Boolean({ description: 'changes nothing: delegations always end as well' })),
  planId: Type.Optional(text({ max: 64, description: 'must be the token’s `plan_id`' })),
  intentReference: Type.Optional(text({ max: 64, description: 'must be the token’s id' })),
});

const Revocation = strictObject({
  success: Type.Boolean(),
  token_id: uuid(),
  revoked: Type.Array(uuid(), {
    description: 'the token, then what was delegated from it and has not expired: at most 1,001 ids',
  }),
  revoked_count: Type.Integer({ description: 'all of them' }),
});

export function addIntentTokenInventoryRoutes(routes: Routes, tokens: IntentTokenManager): void {
  routes.authenticated({
    ...KEYED,
    method: 'GET',
    url: '/v1/intent-tokens',
    summary: 'Intent tokens, newest first: an agent’s own, an admin’s all',
    query: strictObject({ ...PageQuery, status: Type.Optional(oneOf(STATUSES)) }),
    answers: { 200: listOf(IntentToken) },
    handle: async ({ query, caller }) => {
      const { status, ...page } = query;
      const state = status === 'active' ? 'live' : status;
      const body = await answerPage(page, {
        form: UUID,
        read: ({ limit, after: before }) => tokens.list({ state, limit, before }, caller),
        positionOf: ({ jti }) => jti,
        viewOf: tokenView,
      });
      return { status: 200, body };
    },
  });

  for (const [url, summary] of [
    ['/token/revoke', 'Revoke an intent token and what was delegated from it; again is fine'],
    ['/iap/trust/revoke', 'The same, as the Python SDK asks it'],
  ] as const) {
    routes.authenticated({
      ...KEYED,
      method: 'POST',
      url,
      summary,
      body: RevocationRequest,
      answers: { 200: Revocation },
      refusals: ['NOT_FOUND', 'AUDIT_UNAVAILABLE', 'OUTCOME_UNKNOWN'],
      handle: async ({ body, caller, context }) => {
        const command = parseRevocation(body);
        const { jtis, count } = await tokens.revoke(command, caller, context);
        return {
          status: 200,
          body: { success: true, token_id: command.jti, revoked: jtis, revoked_count: count },
        };
      },
    });
  }
}

function tokenView(entry: IntentTokenEntry) {
  return {
    token_id: entry.jti,
    status: entry.state === 'live' ? 'active' : entry.state,
    plan_id: entry.planId,
    plan_hash: entry.planHashHex,
    agent_id: entry.agentId,
    agent_name: entry.agentName,
    api_key_id: entry.keyId,
    total_steps: entry.totalSteps,
    consumed_steps: consumedIndices(entry.consumedSteps ?? ''),
    root_token_id: entry.rootJti,
    parent_token_id: entry.parentJti,
    issued_at: formatTimestamp(entry.issuedAt),
    expires_at: formatTimestamp(entry.expiresAt),
    revoked_at: instantOrNull(entry.revokedAt),
  };
}
