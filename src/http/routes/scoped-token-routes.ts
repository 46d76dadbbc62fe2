/** `/v1/tokens`: scoped tokens (contract sections 5.1, 5.5). */

import Type from 'typebox';
import { UUID } from '../../domain/formats/uuid.ts';
import type { IntrospectedToken, IntrospectToken } from '../../use-cases/scoped-tokens/introspect-token.ts';
import type { IssueScopedToken } from '../../use-cases/scoped-tokens/issue-scoped-token.ts';
import type { ScopedTokenManager } from '../../use-cases/scoped-tokens/manage-scoped-tokens.ts';
import { answerPage } from '../routing/pagination.ts';
import type { Answer, Routes } from '../routing/route.ts';
import { listOf, oneOf, PageQuery, strictObject } from '../routing/schemas.ts';
import { IntentIntrospection, introspectedIntentView } from './intent-token-introspection.ts';
import {
  Introspection,
  IssuedToken,
  introspectedView,
  issueCommandOf,
  issuedView,
  openedView,
  PendingApproval,
  SCOPED_TOKEN_STATUSES,
  ScopedToken,
  ScopedTokenRequest,
  scopedTokenView,
} from './scoped-token-schemas.ts';
import { INTROSPECT, uncachedRequest } from './secret-operation.ts';

const TAG = 'scoped tokens';

export interface ScopedTokenRouteDeps {
  readonly issue: IssueScopedToken;
  readonly tokens: ScopedTokenManager;
  readonly introspect: IntrospectToken;
}

const KEYED = { tag: TAG, roles: ['admin', 'agent'] } as const;
const tokenParams = strictObject({ id: Type.String() });

export function addScopedTokenRoutes(routes: Routes, deps: ScopedTokenRouteDeps): void {
  routes.authenticated({
    ...KEYED,
    method: 'POST',
    url: '/v1/tokens',
    summary: 'Issue a scoped token',
    keyCheck: 'in-write',
    body: ScopedTokenRequest,
    answers: { 201: IssuedToken, 202: PendingApproval },
    refusals: [
      'INVALID_SCOPE',
      'INVALID_TTL',
      'TTL_OUT_OF_RANGE',
      'INVALID_MAX_USES',
      'INVALID_IP_ALLOWLIST',
      'SCOPE_DENIED',
      'TOO_MANY_SECRETS',
    ],
    handle: async ({ body, caller, context }) => {
      const granted = await deps.issue(issueCommandOf(body), caller, context);
      return 'opened' in granted
        ? { status: 202, body: openedView(granted.opened) }
        : { status: 201, body: issuedView(granted) };
    },
  });

  routes.authenticated({
    ...KEYED,
    method: 'GET',
    url: '/v1/tokens',
    summary: 'Scoped tokens, newest first: an agent’s own, an admin’s all',
    keyCheck: 'before-handler',
    query: strictObject({ ...PageQuery, status: Type.Optional(oneOf(SCOPED_TOKEN_STATUSES)) }),
    answers: { 200: listOf(ScopedToken) },
    handle: async ({ query, caller }) => {
      const { status, ...page } = query;
      const state = status === 'active' ? 'live' : status;
      const body = await answerPage(page, {
        form: UUID,
        read: ({ limit, after: before }) => deps.tokens.list({ state, limit, before }, caller),
        positionOf: ({ id }) => id,
        viewOf: scopedTokenView,
      });
      return { status: 200, body };
    },
  });

  routes.authenticated({
    ...KEYED,
    method: 'GET',
    url: '/v1/tokens/:id',
    summary: 'One scoped token',
    keyCheck: 'before-handler',
    params: tokenParams,
    answers: { 200: ScopedToken },
    handle: async ({ params, caller }) => ({
      status: 200,
      body: scopedTokenView(await deps.tokens.get(params.id, caller)),
    }),
  });

  routes.authenticated({
    ...KEYED,
    method: 'DELETE',
    url: '/v1/tokens/:id',
    summary: 'Revoke a scoped token; again is fine',
    keyCheck: 'before-handler',
    params: tokenParams,
    answers: { 204: null },
    handle: async ({ params, caller, context }) => {
      await deps.tokens.revoke(params.id, caller, context);
      return { status: 204 };
    },
  });

  routes.secretBearer({
    tag: TAG,
    method: 'POST',
    url: '/v1/tokens/introspect',
    summary: 'What is this token? (RFC 7662); consumes no use',
    operation: () => uncachedRequest(INTROSPECT),
    takesForms: true,
    takesBasic: true,
    body: strictObject({
      token: Type.Optional(Type.String({ description: 'the asking token itself where absent' })),
      token_type_hint: Type.Optional(Type.String()),
    }),
    answers: { 200: Type.Union([IntentIntrospection, Introspection]) },
    handle: async ({ body, authorized }) =>
      introspectionAnswer(await deps.introspect(authorized.requester, body.token)),
  });
}

function introspectionAnswer(found: IntrospectedToken | undefined): Answer {
  if (found === undefined) return { status: 200, body: { active: false }, shape: Introspection };
  return found.kind === 'intent_token'
    ? { status: 200, body: introspectedIntentView(found.token), shape: IntentIntrospection }
    : { status: 200, body: introspectedView(found.record), shape: Introspection };
}
