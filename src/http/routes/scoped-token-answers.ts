/** What `/v1/tokens` answers (contract sections 5.1, 5.5): a token's text in the one answer that issues it, and its state. */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import type { IssuedScopedToken } from '../../use-cases/scoped-tokens/issue-scoped-token.ts';
import type { OpenedApproval, ScopedTokenRecord } from '../../use-cases/scoped-tokens/ports.ts';
import { instant, nullable, oneOf, strictObject, uuid } from '../routing/schemas.ts';

export const SCOPED_TOKEN_STATUSES = ['active', 'expired', 'revoked', 'exhausted'] as const;

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
export const IssuedToken = strictObject({ token, value: token, ...state });
export const PendingApproval = strictObject({
  requires_approval: Type.Boolean(),
  approval_id: Type.String(),
  status: oneOf(['pending']),
  expires_at: instant('until then it can be decided'),
  poll: Type.String({ description: 'the path that the requesting agent asks' }),
});
export const ScopedToken = strictObject({
  ...state,
  status: oneOf(SCOPED_TOKEN_STATUSES),
  revoked_at: nullable(instant()),
});

export const Introspection = strictObject({
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

export function openedView({ id, expiresAt }: OpenedApproval) {
  return {
    requires_approval: true,
    approval_id: id,
    status: 'pending',
    expires_at: formatTimestamp(expiresAt),
    poll: `/v1/approvals/agent/${id}`,
  };
}

export function issuedView({ text, token: record, ttlSeconds }: IssuedScopedToken) {
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

export function scopedTokenView(record: ScopedTokenRecord) {
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

export function introspectedView(record: ScopedTokenRecord) {
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
