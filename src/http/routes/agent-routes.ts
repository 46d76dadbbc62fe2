/** `/v1/agents`: principals and their API keys, for administrators (contract section 2). */

import Type, { type Static } from 'typebox';
import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { UUID } from '../../domain/formats/uuid.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { AgentDetails, AgentManager } from '../../use-cases/principals/manage-principals.ts';
import { answerPage } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import {
  freeObject,
  instant,
  listOf,
  note,
  nullable,
  oneOf,
  PageQuery,
  refusedAs,
  strictObject,
  uuid,
} from '../routing/schemas.ts';
import { ADMIN, agentParams, apiKey, dateOf, Key, keyExpiry, keyView } from './agent-key-routes.ts';

const agentMembers = {
  id: uuid(),
  name: Type.String(),
  role: oneOf(ROLES),
  email: nullable(Type.String()),
  description: nullable(Type.String()),
  allowed_scopes: nullable(Type.Array(Type.String())),
  allowed_namespaces: nullable(Type.Array(Type.String())),
  effective_scopes: Type.Array(Type.String()),
  policy: nullable(freeObject('the operator’s policy for every plan of this agent')),
  active: Type.Boolean(),
  api_key_prefix: Type.String(),
  created_at: instant(),
  last_active_at: nullable(instant()),
  keys: Type.Array(Key),
};
const Agent = strictObject(agentMembers);

const scopes = nullable(
  Type.Array(Type.String({ maxLength: 600 }), { maxItems: 256, ...refusedAs('INVALID_SCOPE') }),
);
const namespaces = nullable(Type.Array(Type.String({ maxLength: 512 }), { maxItems: 256 }));
const changeable = {
  description: Type.Optional(nullable(note({ max: 500 }))),
  email: Type.Optional(nullable(Type.String({ format: 'email', maxLength: 254 }))),
  allowed_scopes: Type.Optional(scopes),
  allowed_namespaces: Type.Optional(namespaces),
  policy: Type.Optional(
    nullable(freeObject('`allow`, `deny`, `allowed_tools`', refusedAs('INVALID_POLICY'))),
  ),
};
const NewAgent = strictObject({
  name: Type.String({
    minLength: 1,
    maxLength: 64,
    description:
      'letters A-Z a-z, digits, `._-@` and single blanks between them; put in NFKC and trimmed; not a UUID; no look-alike of an active one',
  }),
  role: Type.Optional(oneOf(ROLES, 'agent where absent')),
  ...changeable,
  key_expires_at: keyExpiry,
});

const GRANT_REFUSALS = [
  'INVALID_SCOPE',
  'INVALID_PATH',
  'INVALID_POLICY',
  'PLAN_NOT_CANONICALIZABLE',
] as const;

export function addAgentRoutes(routes: Routes, agents: AgentManager): void {
  routes.authenticated({
    ...ADMIN,
    method: 'POST',
    url: '/v1/agents',
    summary: 'Create a principal and its first API key',
    body: NewAgent,
    answers: { 201: strictObject({ ...agentMembers, api_key: apiKey, key_id: Type.String() }) },
    refusals: ['ALREADY_EXISTS', ...GRANT_REFUSALS],
    handle: async ({ body, caller, context }) => {
      const spec = {
        name: body.name,
        role: body.role ?? 'agent',
        email: body.email ?? null,
        description: body.description ?? null,
        allowedScopes: body.allowed_scopes ?? null,
        allowedNamespaces: body.allowed_namespaces ?? null,
        policy: body.policy ?? null,
        keyExpiresAt: dateOf(body.key_expires_at),
      };
      const created = await agents.create(spec, caller, context);
      return {
        status: 201,
        body: { ...agentView(created.agent), api_key: created.apiKey, key_id: created.keyId },
      };
    },
  });

  routes.authenticated({
    ...ADMIN,
    method: 'GET',
    url: '/v1/agents',
    summary: 'All principals, the revoked ones included',
    query: strictObject(PageQuery),
    answers: { 200: listOf(Agent) },
    handle: async ({ query }) => ({
      status: 200,
      body: await answerPage(query, {
        form: UUID,
        read: agents.list,
        positionOf: ({ id }) => id,
        viewOf: agentView,
      }),
    }),
  });

  routes.authenticated({
    ...ADMIN,
    method: 'GET',
    url: '/v1/agents/:id',
    summary: 'One principal',
    params: agentParams,
    answers: { 200: Agent },
    handle: async ({ params }) => ({ status: 200, body: agentView(await agents.get(params.id)) }),
  });

  routes.authenticated({
    ...ADMIN,
    method: 'PATCH',
    url: '/v1/agents/:id',
    summary: 'Change everything but name and role; null clears',
    params: agentParams,
    body: strictObject(changeable),
    answers: { 200: Agent },
    refusals: GRANT_REFUSALS,
    handle: async ({ params, body, caller, context }) => {
      const changes = changesOf(body);
      return { status: 200, body: agentView(await agents.update(params.id, changes, caller, context)) };
    },
  });

  routes.authenticated({
    ...ADMIN,
    method: 'DELETE',
    url: '/v1/agents/:id',
    summary: 'Revoke a principal and all that depends on it',
    params: agentParams,
    answers: { 204: null },
    handle: async ({ params, caller, context }) => {
      await agents.revoke(params.id, caller, context);
      return { status: 204 };
    },
  });
}

function agentView(agent: AgentDetails) {
  const uses = agent.keys.flatMap((key) => (key.lastUsedAt === null ? [] : [key.lastUsedAt.getTime()]));
  const shownKey = agent.keys.findLast((key) => key.revokedAt === null) ?? agent.keys.at(-1);
  return {
    id: agent.id,
    name: agent.name,
    role: agent.role,
    email: agent.email,
    description: agent.description,
    allowed_scopes: agent.allowedScopes,
    allowed_namespaces: agent.allowedNamespaces,
    effective_scopes: agent.effectiveScopes,
    policy: agent.policy,
    active: agent.revokedAt === null,
    api_key_prefix: shownKey?.prefix ?? '',
    created_at: formatTimestamp(agent.createdAt),
    last_active_at: uses.length === 0 ? null : formatTimestamp(new Date(Math.max(...uses))),
    keys: agent.keys.map(keyView),
  };
}

type Changes = Static<ReturnType<typeof strictObject<typeof changeable>>>;

function changesOf(body: Changes) {
  return {
    ...(body.email === undefined ? {} : { email: body.email }),
    ...(body.description === undefined ? {} : { description: body.description }),
    ...(body.allowed_scopes === undefined ? {} : { allowedScopes: body.allowed_scopes }),
    ...(body.allowed_namespaces === undefined ? {} : { allowedNamespaces: body.allowed_namespaces }),
    ...(body.policy === undefined ? {} : { policy: body.policy }),
  };
}
