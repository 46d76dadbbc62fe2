/** `/v1/tokens`: scoped tokens (contract sections 5.1, 5.5). */

import Type, { type Static } from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { UUID } from '../../domain/formats/uuid.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { WritError } from '../../errors.ts';
import type {
  IntrospectedToken,
  IntrospectScopedToken,
} from '../../use-cases/scoped-tokens/introspect-scoped-token.ts';
import type {
  IssuedScopedToken,
  IssueScopedToken,
} from '../../use-cases/scoped-tokens/issue-scoped-token.ts';
import type { ScopedTokenManager } from '../../use-cases/scoped-tokens/manage-scoped-tokens.ts';
import type {
  IssueScopedTokenCommand,
  OpenedApproval,
  ScopedTokenRecord,
} from '../../use-cases/scoped-tokens/ports.ts';
import { decodeCursor, limitOf, paginate } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import {
  instant,
  listOf,
  nullable,
  oneOf,
  PageQuery,
  refusedAs,
  sameIfBoth,
  strictObject,
  uuid,
} from '../routing/schemas.ts';
import { requireAddressList, ttlSecondsOf } from './scoped-token-request.ts';
import { INTROSPECT, uncachedRequest } from './secret-operation.ts';

const STATUS = ['active', 'expired', 'revoked', 'exhausted'] as const;
const TAG = 'scoped tokens';

const scopeText = Type.String({ maxLength: 600, ...refusedAs('INVALID_SCOPE') });
const addresses = Type.Array(Type.String({ ...refusedAs('INVALID_IP_ALLOWLIST') }), {
  minItems: 1,
  maxItems: 64,
  description: 'addresses or CIDR blocks; any address where absent',
  ...refusedAs('INVALID_IP_ALLOWLIST'),
});
const ttl = (description: string, types: readonly string[]) =>
  Type.Unsafe<JsonValue>({ type: types, description, ...refusedAs('INVALID_TTL') });

const IssueBody = strictObject({
  scopes: Type.Optional(Type.Array(scopeText, { minItems: 1, maxItems: 64, ...refusedAs('INVALID_SCOPE') })),
  scope: Type.Optional(scopeText),
  ttl_seconds: Type.Optional(ttl('300 to 86,400; 3600 where absent', ['number'])),
  ttl: Type.Optional(ttl('the same, or text such as `900`, `15m`, `1h`, `1d`', ['number', 'string'])),
  max_uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, ...refusedAs('INVALID_MAX_USES') })),
  allowed_ips: Type.Optional(addresses),
  ip_allowlist: Type.Optional(addresses),
  require_approval: Type.Optional(Type.Boolean()),
  description: Type.Optional(
    Type.String({ maxLength: 500, pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$' }),
  ),
});

const token = Type.String({ description: 'shown this once' });
const state = {
  token_id: uuid(),
  scope: Type.String({ description: 'the scopes, joined by a blank' }),
  scopes: Type.Array(Type.String()),
  expires_at: instant(),
  created_at: instant(),
  ttl_seconds: Type.Integer(),
  max_uses: nullable(Type.Integer()),
  uses_remaining: nullable(Type.Integer()),
  allowed_ips: nullable(Type.Array(Type.String())),
  description: nullable(Type.String()),
  agent_id: uuid(),
  requires_approval: Type.Boolean(),
};
const Issued = strictObject({ token, value: token, ...state });
const Opened = strictObject({
  requires_approval: Type.Boolean(),
  approval_id: Type.String(),
  status: oneOf(['pending']),
  expires_at: instant('until then it can be decided'),
  poll: Type.String({ description: 'the path that the requesting agent asks' }),
});
const Item = strictObject({ ...state, status: oneOf(STATUS), revoked_at: nullable(instant()) });

const Introspected = strictObject({
  active: Type.Boolean(),
  scope: Type.Optional(Type.String()),
  client_id: Type.Optional(uuid('whose token it is')),
  sub: Type.Optional(uuid()),
  token_type: Type.Optional(oneOf(['Bearer'])),
  exp: Type.Optional(Type.Integer({ description: 'Unix seconds' })),
  iat: Type.Optional(Type.Integer({ description: 'Unix seconds' })),
  jti: Type.Optional(uuid()),
  max_uses: Type.Optional(nullable(Type.Integer())),
  uses_remaining: Type.Optional(nullable(Type.Integer())),
  allowed_ips: Type.Optional(nullable(Type.Array(Type.String()))),
  description: Type.Optional(nullable(Type.String())),
});

export interface ScopedTokenRouteDeps {
  readonly issue: IssueScopedToken;
  readonly tokens: ScopedTokenManager;
  readonly introspect: IntrospectScopedToken;
  /** SHA-256 in hex. */
  readonly hashToken: (text: string) => string;
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
    body: IssueBody,
    answers: { 201: Issued, 202: Opened },
    refusals: [
      'INVALID_SCOPE',
      'INVALID_TTL',
      'TTL_OUT_OF_RANGE',
      'INVALID_MAX_USES',
      'INVALID_IP_ALLOWLIST',
      'SCOPE_DENIED',
    ],
    handle: async ({ body, caller, context }) => {
      const granted = await deps.issue(commandOf(body), caller, context);
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
    query: strictObject({ ...PageQuery, status: Type.Optional(oneOf(STATUS)) }),
    answers: { 200: listOf(Item) },
    handle: async ({ query, caller }) => {
      const limit = limitOf(query);
      const state = query.status === 'active' ? 'live' : query.status;
      const before = decodeCursor(query.cursor, UUID);
      const found = await deps.tokens.list({ state, limit: limit + 1, before }, caller);
      return { status: 200, body: paginate(found, limit, { positionOf: ({ id }) => id, viewOf: itemView }) };
    },
  });

  routes.authenticated({
    ...KEYED,
    method: 'GET',
    url: '/v1/tokens/:id',
    summary: 'One scoped token',
    keyCheck: 'before-handler',
    params: tokenParams,
    answers: { 200: Item },
    handle: async ({ params, caller }) => ({
      status: 200,
      body: itemView(await deps.tokens.get(params.id, caller)),
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
    body: strictObject({
      token: Type.Optional(Type.String({ description: 'the asking token itself where absent' })),
      token_type_hint: Type.Optional(Type.String()),
    }),
    answers: { 200: Introspected },
    handle: async ({ body, authorized }) => {
      const asked: IntrospectedToken =
        body.token === undefined ? 'itself' : { hashHex: deps.hashToken(body.token) };
      const record = await deps.introspect(authorized.requester, asked);
      return { status: 200, body: record === undefined ? { active: false } : introspectedView(record) };
    },
  });
}

function commandOf(body: Static<typeof IssueBody>): IssueScopedTokenCommand {
  const one = body.scope === undefined ? undefined : [body.scope];
  const scopes = sameIfBoth(['scopes', body.scopes], ['scope', one]);
  if (scopes === undefined) {
    throw new WritError('INVALID_SCOPE', 'scopes is required: 1 to 64 of them.', {
      details: { pointer: '/scopes' },
    });
  }
  const allowedIps = sameIfBoth(['allowed_ips', body.allowed_ips], ['ip_allowlist', body.ip_allowlist]);
  if (allowedIps !== undefined) {
    requireAddressList(allowedIps, body.allowed_ips === undefined ? '/ip_allowlist' : '/allowed_ips');
  }
  return {
    scopes,
    scopesMember: body.scopes === undefined ? 'scope' : 'scopes',
    ttlSeconds: ttlSecondsOf(body),
    maxUses: body.max_uses ?? null,
    allowedIps: allowedIps ?? null,
    requireApproval: body.require_approval ?? false,
    description: body.description ?? null,
  };
}

function openedView({ id, expiresAt }: OpenedApproval) {
  return {
    requires_approval: true,
    approval_id: id,
    status: 'pending',
    expires_at: formatTimestamp(expiresAt),
    poll: `/v1/approvals/agent/${id}`,
  };
}

function issuedView({ text, token: record, ttlSeconds }: IssuedScopedToken) {
  return {
    token: text,
    value: text,
    token_id: record.id,
    scope: record.scopes.join(' '),
    scopes: record.scopes,
    expires_at: formatTimestamp(record.expiresAt),
    created_at: formatTimestamp(record.createdAt),
    ttl_seconds: ttlSeconds,
    max_uses: record.maxUses,
    uses_remaining: record.maxUses,
    allowed_ips: record.allowedIps,
    description: record.description,
    agent_id: record.agentId,
    requires_approval: false,
  };
}

function itemView(record: ScopedTokenRecord) {
  return {
    token_id: record.id,
    scope: record.scopes.join(' '),
    scopes: record.scopes,
    expires_at: formatTimestamp(record.expiresAt),
    created_at: formatTimestamp(record.createdAt),
    ttl_seconds: Math.round((record.expiresAt.getTime() - record.createdAt.getTime()) / 1000),
    max_uses: record.maxUses,
    uses_remaining: usesRemaining(record),
    allowed_ips: record.allowedIps,
    description: record.description,
    agent_id: record.agentId,
    requires_approval: false,
    status: record.state === 'live' ? 'active' : record.state,
    revoked_at: instantOrNull(record.revokedAt),
  };
}

function introspectedView(record: ScopedTokenRecord) {
  return {
    active: true,
    scope: record.scopes.join(' '),
    client_id: record.agentId,
    sub: record.agentId,
    token_type: 'Bearer',
    exp: Math.floor(record.expiresAt.getTime() / 1000),
    iat: Math.floor(record.createdAt.getTime() / 1000),
    jti: record.id,
    max_uses: record.maxUses,
    uses_remaining: usesRemaining(record),
    allowed_ips: record.allowedIps,
    description: record.description,
  };
}

const usesRemaining = ({ maxUses, uses }: ScopedTokenRecord): number | null =>
  maxUses === null ? null : maxUses - uses;
