/** `/v1/agents/:id/keys`: the API keys of a principal, for administrators (contract section 2). */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { API_KEY_PREFIX_LENGTH } from '../../domain/principals/api-key.ts';
import type { AgentManager } from '../../use-cases/principals/manage-principals.ts';
import type { ApiKeyRecord } from '../../use-cases/principals/ports.ts';
import type { Routes } from '../routing/route.ts';
import { instant, label, nullable, strictObject, uuid } from '../routing/schemas.ts';

export const Key = strictObject({
  id: Type.String({ description: 'the public half: 16 hex characters' }),
  name: nullable(Type.String()),
  prefix: Type.String({ description: `the first ${API_KEY_PREFIX_LENGTH} characters` }),
  created_at: instant(),
  expires_at: nullable(instant()),
  last_used_at: nullable(instant('within about a minute')),
  revoked_at: nullable(instant()),
});

export const apiKey = Type.String({ description: 'the key itself: shown this once' });
export const keyExpiry = Type.Optional(instant('in the future'));
const NewKey = strictObject({ name: Type.Optional(label({ min: 1, max: 64 })), expires_at: keyExpiry });

export const agentParams = strictObject({ id: Type.String({ description: 'id or name; an id wins' }) });
const keyParams = strictObject({ id: Type.String(), keyId: Type.String() });
export const ADMIN = { tag: 'principals', roles: ['admin'], keyCheck: 'before-handler' } as const;

export function addAgentKeyRoutes(routes: Routes, agents: AgentManager): void {
  routes.authenticated({
    ...ADMIN,
    method: 'POST',
    url: '/v1/agents/:id/keys',
    summary: 'Add an API key',
    params: agentParams,
    body: NewKey,
    answers: { 201: strictObject({ ...Key.properties, api_key: apiKey, agent_id: uuid() }) },
    handle: async ({ params, body, caller, context }) => {
      const spec = { name: body.name ?? null, expiresAt: dateOf(body.expires_at) };
      const made = await agents.addKey(params.id, spec, caller, context);
      return { status: 201, body: { ...keyView(made.key), api_key: made.apiKey, agent_id: made.agentId } };
    },
  });

  routes.authenticated({
    ...ADMIN,
    method: 'DELETE',
    url: '/v1/agents/:id/keys/:keyId',
    summary: 'Revoke one API key',
    params: keyParams,
    answers: { 204: null },
    handle: async ({ params, caller, context }) => {
      await agents.revokeKey({ agent: params.id, keyId: params.keyId }, caller, context);
      return { status: 204 };
    },
  });
}

export function keyView(key: ApiKeyRecord) {
  return {
    id: key.keyId,
    name: key.name,
    prefix: key.prefix,
    created_at: formatTimestamp(key.createdAt),
    expires_at: instantOrNull(key.expiresAt),
    last_used_at: instantOrNull(key.lastUsedAt),
    revoked_at: instantOrNull(key.revokedAt),
  };
}

export const dateOf = (value: string | undefined): Date | null =>
  value === undefined ? null : new Date(value);
