/** Requests and answers about scoped tokens (contract sections 5.1, 5.5): a token's text is in the one answer that issues it. */

import Type, { type Static } from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { readTtlSeconds, type TtlMembers } from '../../domain/formats/ttl.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { namedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import { WritError } from '../../errors.ts';
import type { IssuedScopedToken } from '../../use-cases/scoped-tokens/issue-scoped-token.ts';
import type {
  IssueScopedTokenCommand,
  OpenedApproval,
  ScopedTokenRecord,
} from '../../use-cases/scoped-tokens/ports.ts';
import {
  instant,
  label,
  nullable,
  oneOf,
  refusedAs,
  sameIfBoth,
  strictObject,
  uuid,
} from '../routing/schemas.ts';
import { requestedRestrictions, restrictionsAsked, shownRestrictions } from './scoped-token-restrictions.ts';

const scopeText = Type.String({ maxLength: 600, ...refusedAs('INVALID_SCOPE') });
const ttl = (description: string, types: readonly string[]) =>
  Type.Unsafe<JsonValue>({ type: types, description, ...refusedAs('INVALID_TTL') });

export const ScopedTokenRequest = strictObject({
  scopes: Type.Optional(Type.Array(scopeText, { minItems: 1, maxItems: 64, ...refusedAs('INVALID_SCOPE') })),
  scope: Type.Optional(scopeText),
  ttl_seconds: Type.Optional(ttl('300 to 86,400; 3600 where absent', ['number'])),
  ttl: Type.Optional(ttl('the same, or text such as `900`, `15m`, `1h`, `1d`', ['number', 'string'])),
  ...requestedRestrictions,
  require_approval: Type.Optional(Type.Boolean()),
  description: Type.Optional(label({ max: 500 })),
});

export const SCOPED_TOKEN_STATUSES = ['active', 'expired', 'revoked', 'exhausted'] as const;

const token = Type.String({ description: 'shown this once' });
const state = {
  token_id: uuid(),
  scope: Type.String({ description: 'the scopes, joined by a blank' }),
  scopes: Type.Array(Type.String()),
  expires_at: instant(),
  created_at: instant(),
  ttl_seconds: Type.Integer(),
  ...shownRestrictions,
  uses_remaining: nullable(Type.Integer()),
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
  ...Type.Partial(strictObject(shownRestrictions)).properties,
  uses_remaining: Type.Optional(nullable(Type.Integer())),
  description: Type.Optional(nullable(Type.String())),
});

/** Throws `INVALID_SCOPE`, `INVALID_TTL`, `TTL_OUT_OF_RANGE`, `INVALID_IP_ALLOWLIST` or `VALIDATION_ERROR`. */
export function issueCommandOf(body: Static<typeof ScopedTokenRequest>): IssueScopedTokenCommand {
  const one = body.scope === undefined ? undefined : [body.scope];
  const scopes = sameIfBoth(['scopes', body.scopes], ['scope', one]);
  if (scopes === undefined) {
    throw new WritError('INVALID_SCOPE', 'scopes is required: 1 to 64 of them.', {
      details: { pointer: '/scopes' },
    });
  }
  return {
    scopes,
    scopesMember: body.scopes === undefined ? 'scope' : 'scopes',
    ttlSeconds: ttlSecondsOf(body),
    ...restrictionsAsked(body),
    requireApproval: body.require_approval ?? false,
    description: body.description ?? null,
  };
}

const TTL_FAULTS = {
  INVALID_TTL: 'ttl must be a whole number of seconds above 0, or a text such as 900, 15m, 1h, 1d.',
  TTL_OUT_OF_RANGE: 'ttl must be from 300 to 86,400 seconds.',
  VALIDATION_ERROR: 'ttl_seconds and ttl are one member and differ.',
} as const;

/** Rejects with `INVALID_TTL`, `TTL_OUT_OF_RANGE`, or `VALIDATION_ERROR` where the two spellings differ. */
export function ttlSecondsOf(members: TtlMembers): number {
  const read = readTtlSeconds(members);
  if (read.ok) return read.seconds;
  const pointer = members.ttl === undefined ? '/ttl_seconds' : '/ttl';
  throw new WritError(read.code, TTL_FAULTS[read.code], { details: { pointer } });
}

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
    uses_remaining: record.maxUses,
    description: record.description,
    agent_id: record.agentId,
    requires_approval: false,
    // Last: what follows a spread in a literal costs five times as much.
    ...namedRestrictions(record),
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
    ...namedRestrictions(record),
    uses_remaining: usesRemaining(record),
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
    ...namedRestrictions(record),
    uses_remaining: usesRemaining(record),
    description: record.description,
  };
}

const usesRemaining = ({ maxUses, uses }: ScopedTokenRecord): number | null =>
  maxUses === null ? null : maxUses - uses;
