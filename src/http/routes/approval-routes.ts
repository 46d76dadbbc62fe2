/** `/v1/approvals`: both sides of an approval (contract section 7). */

import Type from 'typebox';
import { APPROVAL_STATUSES, hasLostVotes } from '../../domain/approvals/approval-decision.ts';
import { APPROVAL_ID_PATTERN } from '../../domain/approvals/approval-id.ts';
import { shownDigest } from '../../domain/approvals/request-digest.ts';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { ROLES } from '../../domain/principals/role.ts';
import { ACCESS_TIERS } from '../../domain/secrets/access-tier.ts';
import { namedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import { namedSecrets } from '../../use-cases/approvals/approval-events.ts';
import type { ClaimApproval, PolledApproval } from '../../use-cases/approvals/claim-approval.ts';
import type { Approvals } from '../../use-cases/approvals/decide-approval.ts';
import type { ApprovalPosition, ApprovalRecord } from '../../use-cases/approvals/ports.ts';
import { answerPage } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import {
  instant,
  listOf,
  note,
  nullable,
  oneOf,
  PageQuery,
  sha256Hex,
  strictObject,
  uuid,
} from '../routing/schemas.ts';
import { shownRestrictions } from './scoped-token-restrictions.ts';

/** Milliseconds since 1970, and the id. */
const POSITION = new RegExp(`^\\d{1,13} ${APPROVAL_ID_PATTERN}$`);

const View = strictObject({
  id: Type.String(),
  agent_id: uuid(),
  agent_name: Type.String(),
  access_tier: oneOf(ACCESS_TIERS, 'what the token will open up to'),
  secret_count: Type.Integer({ description: 'how many secrets above standard it is about' }),
  secrets: Type.Array(strictObject({ path: Type.String(), access_tier: oneOf(ACCESS_TIERS) }), {
    description: 'these, as they were when it was asked for; above standard the token opens no other',
  }),
  status: oneOf(APPROVAL_STATUSES),
  scopes: Type.Array(Type.String()),
  ttl_seconds: Type.Integer(),
  ...shownRestrictions,
  description: nullable(Type.String()),
  created_at: instant(),
  expires_at: instant('until then it can be decided, or, once approved, claimed'),
  approvals: Type.Array(
    strictObject({
      approver_id: uuid(),
      approver_name: Type.String(),
      key_id: nullable(Type.String({ description: 'the key it was cast with' })),
      counts: Type.Boolean({ description: 'while whoever cast it and that key are live' }),
      at: instant(),
      reason: nullable(Type.String()),
    }),
  ),
  approvals_required: Type.Integer(),
  effective_at: nullable(instant('from then on it can be claimed')),
  denied_at: nullable(instant()),
  reason: nullable(Type.String({ description: 'of the denial' })),
  request_digest: sha256Hex('HMAC over what was asked'),
});

const Polled = strictObject({
  id: Type.String(),
  status: oneOf(APPROVAL_STATUSES),
  expires_at: instant(),
  approved_at: Type.Optional(instant()),
  denied_at: Type.Optional(instant()),
  reason: Type.Optional(Type.String({ description: 'of the denial, or why it is pending again' })),
  token: Type.Optional(Type.String({ description: 'in the one answer that claims it' })),
  token_id: Type.Optional(uuid()),
  token_expires_at: Type.Optional(instant()),
  scopes: Type.Optional(Type.Array(Type.String())),
});

const reason = Type.Optional(note({ max: 500 }));
const params = strictObject({ id: Type.String() });
const HUMAN = { tag: 'approvals', roles: ['approver', 'admin'], keyCheck: 'before-handler' } as const;
const DECIDING = [
  'SELF_APPROVAL_FORBIDDEN',
  'APPROVAL_ALREADY_DECIDED',
  'APPROVAL_EXPIRED',
  'INTEGRITY_ERROR',
] as const;

export function addApprovalRoutes(
  routes: Routes,
  { approvals, claim }: { readonly approvals: Approvals; readonly claim: ClaimApproval },
): void {
  routes.authenticated({
    ...HUMAN,
    method: 'GET',
    url: '/v1/approvals',
    summary: 'Approvals, newest first',
    query: strictObject({ ...PageQuery, status: Type.Optional(oneOf(APPROVAL_STATUSES)) }),
    answers: { 200: listOf(View) },
    handle: async ({ query: { status, ...page } }) => ({
      status: 200,
      body: await answerPage(page, {
        form: POSITION,
        read: ({ limit, after }) => approvals.list({ status, limit, before: positionRead(after) }),
        positionOf,
        viewOf: approvalView,
      }),
    }),
  });

  routes.authenticated({
    ...HUMAN,
    method: 'GET',
    url: '/v1/approvals/:id',
    summary: 'One approval',
    params,
    answers: { 200: View },
    handle: async ({ params: { id } }) => ({ status: 200, body: approvalView(await approvals.get(id)) }),
  });

  routes.authenticated({
    ...HUMAN,
    method: 'POST',
    url: '/v1/approvals/:id/approve',
    summary: 'Approve what was asked',
    params,
    body: strictObject({
      reason,
      request_digest: Type.Optional(
        Type.String({ description: 'of the request that was looked at; another is 409' }),
      ),
    }),
    answers: { 200: View },
    refusals: [...DECIDING, 'VERSION_CONFLICT'],
    handle: async ({ params: { id }, body, caller, context }) => {
      const decision = { reason: body.reason ?? null, requestDigest: body.request_digest };
      return { status: 200, body: approvalView(await approvals.approve(id, decision, caller, context)) };
    },
  });

  routes.authenticated({
    ...HUMAN,
    method: 'POST',
    url: '/v1/approvals/:id/deny',
    summary: 'Deny what was asked: possible until it is claimed, also after approving',
    params,
    body: strictObject({ reason }),
    answers: { 200: View },
    refusals: DECIDING,
    handle: async ({ params: { id }, body, caller, context }) => {
      const decision = { reason: body.reason ?? null };
      return { status: 200, body: approvalView(await approvals.deny(id, decision, caller, context)) };
    },
  });

  routes.authenticated({
    tag: 'approvals',
    roles: ROLES,
    keyCheck: 'before-handler',
    method: 'GET',
    url: '/v1/approvals/agent/:id',
    summary: 'What has become of my request? Hands the token over, once',
    params,
    answers: { 200: Polled },
    refusals: ['INTEGRITY_ERROR'],
    handle: async ({ params: { id }, caller, context }) => ({
      status: 200,
      body: polledView(await claim(id, caller, context)),
    }),
  });
}

function approvalView(approval: ApprovalRecord) {
  return {
    id: approval.id,
    agent_id: approval.agentId,
    agent_name: approval.agentName,
    access_tier: approval.tier,
    ...namedSecrets(approval),
    status: approval.status,
    scopes: approval.scopes,
    ttl_seconds: approval.ttlSeconds,
    ...namedRestrictions(approval),
    description: approval.description,
    created_at: formatTimestamp(approval.createdAt),
    expires_at: endOf(approval),
    approvals: approval.votes.map((vote) => ({
      approver_id: vote.approverId,
      approver_name: vote.approverName,
      key_id: vote.keyId,
      counts: vote.counts,
      at: formatTimestamp(vote.at),
      reason: vote.reason,
    })),
    approvals_required: approval.approvalsRequired,
    effective_at: instantOrNull(hasLostVotes(approval) ? null : approval.effectiveAt),
    denied_at: instantOrNull(approval.deniedAt),
    reason: approval.reason,
    request_digest: shownDigest(approval.requestDigest),
  };
}

function polledView({ approval, claimed }: PolledApproval) {
  const { effectiveAt, deniedAt, reason: why, tokenId, status } = approval;
  const approved = status === 'approved' || status === 'claimed';
  return {
    id: approval.id,
    status,
    expires_at: endOf(approval),
    ...(approved && effectiveAt !== null ? { approved_at: formatTimestamp(effectiveAt) } : {}),
    ...(deniedAt === null ? {} : { denied_at: formatTimestamp(deniedAt) }),
    ...(why === null ? {} : { reason: why }),
    ...(hasLostVotes(approval) ? { reason: LOST_VOTES } : {}),
    ...(claimed === undefined ? {} : { token: claimed.text }),
    ...tokenFacts(claimed?.token.id ?? tokenId),
    ...(claimed === undefined ? {} : { token_expires_at: formatTimestamp(claimed.token.expiresAt) }),
    ...(approved ? { scopes: approval.scopes } : {}),
  };
}

const LOST_VOTES =
  'A vote counts no more: whoever cast it, or the key it was cast with, was revoked or has expired. Another vote completes this.';

const tokenFacts = (id: string | null) => (id === null ? {} : { token_id: id });

/** Of the time in which it can be decided, or, once that is done, claimed. */
function endOf({ effectiveAt, expiresAt, windowSeconds }: ApprovalRecord): string {
  const end = effectiveAt === null ? expiresAt : new Date(effectiveAt.getTime() + windowSeconds * 1000);
  return formatTimestamp(end);
}

function positionOf({ createdAt, id }: ApprovalPosition): string {
  return `${createdAt.getTime()} ${id}`;
}

function positionRead(cursor: string | undefined): ApprovalPosition | undefined {
  const [milliseconds, id = ''] = cursor?.split(' ') ?? [];
  return milliseconds === undefined ? undefined : { createdAt: new Date(Number(milliseconds)), id };
}
