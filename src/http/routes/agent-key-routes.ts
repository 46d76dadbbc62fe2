/** `/v1/agents/:id/keys`: the API keys of a principal, for administrators (contract section 2). */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { API_KEY_PREFIX_LENGTH, KEY_ID } from '../../domain/principals/api-key.ts';
import { ROTATION_OVERLAP } from '../../domain/principals/api-key-overlap.ts';
import type { AgentKey, AgentKeys } from '../../use-cases/principals/manage-agent-keys.ts';
import { KEY_STATUSES } from '../../use-cases/principals/manage-own-keys.ts';
import type { AgentManager } from '../../use-cases/principals/manage-principals.ts';
import type { ApiKeyRecord } from '../../use-cases/principals/ports.ts';
import { answerPage } from '../routing/pagination.ts';
import type { Routes } from '../routing/route.ts';
import {
  instant,
  label,
  listOf,
  nullable,
  oneOf,
  PageQuery,
  strictObject,
  uuid,
} from '../routing/schemas.ts';

export const Key = strictObject({
  id: Type.String({ description: 'the public half: 16 hex characters' }),
  name: nullable(Type.String()),
  prefix: Type.String({ description: `the first ${API_KEY_PREFIX_LENGTH} characters` }),
  created_at: instant(),
  expires_at: nullable(instant()),
  last_used_at: nullable(instant('within about a minute')),
  last_used_ip: nullable(Type.String({ description: 'the address of that use' })),
  revoked_at: nullable(instant()),
});

export const apiKey = Type.String({ description: 'the key itself: shown this once' });
export const keyExpiry = Type.Optional(instant('in the future'));
const NewKey = strictObject({ name: Type.Optional(label({ min: 1, max: 64 })), expires_at: keyExpiry });

export const agentParams = strictObject({ id: Type.String({ description: 'id or name; an id wins' }) });
const keyParams = strictObject({ id: Type.String(), keyId: Type.String() });
export const ADMIN = { tag: 'principals', roles: ['admin'], keyCheck: 'before-handler' } as const;

const KeyPage = strictObject({
  ...Key.properties,
  status: oneOf(KEY_STATUSES),
  agent_id: uuid(),
  agent_name: Type.String(),
});
const Rotation = strictObject({
  overlap_seconds: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: ROTATION_OVERLAP.maxSeconds,
      description: `how long the older keys live on; 0 ends them at once; ${ROTATION_OVERLAP.defaultSeconds} where absent`,
    }),
  ),
  ...NewKey.properties,
});
const Rotated = strictObject({
  ...KeyPage.properties,
  api_key: apiKey,
  older_keys: Type.Array(strictObject({ id: Type.String(), expires_at: instant() })),
});

export function addAgentKeyRoutes(routes: Routes, agents: AgentManager, keys: AgentKeys): void {
  routes.authenticated({
    ...ADMIN,
    method: 'GET',
    url: '/v1/agents/:id/keys',
    summary: 'The API keys of a principal, oldest first, the dead ones included',
    params: agentParams,
    query: strictObject(PageQuery),
    answers: { 200: listOf(KeyPage) },
    handle: async ({ params, query }) => ({
      status: 200,
      body: await answerPage(query, {
        form: KEY_ID,
        read: (page) => keys.list(params.id, page),
        positionOf: ({ keyId }) => keyId,
        viewOf: keyPage,
      }),
    }),
  });

  routes.authenticated({
    ...ADMIN,
    method: 'GET',
    url: '/v1/agents/:id/keys/:keyId',
    summary: 'One API key: since when, last used when and from where, until when',
    params: keyParams,
    answers: { 200: KeyPage },
    handle: async ({ params }) => ({
      status: 200,
      body: keyPage(await keys.get({ agent: params.id, keyId: params.keyId })),
    }),
  });

  routes.authenticated({
    ...ADMIN,
    method: 'POST',
    url: '/v1/agents/:id/keys/rotate',
    summary: 'Add an API key and let the older ones end after an overlap',
    params: agentParams,
    body: Rotation,
    answers: { 201: Rotated },
    handle: async ({ params, body, caller, context }) => {
      const spec = {
        name: body.name ?? null,
        expiresAt: dateOf(body.expires_at),
        overlapSeconds: body.overlap_seconds ?? ROTATION_OVERLAP.defaultSeconds,
      };
      const { key, apiKey: text, older } = await keys.rotate(params.id, spec, caller, context);
      const olderKeys = older.map(({ keyId, endsAt }) => ({
        id: keyId,
        expires_at: formatTimestamp(endsAt),
      }));
      return { status: 201, body: { ...keyPage(key), api_key: text, older_keys: olderKeys } };
    },
  });

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
    last_used_ip: key.lastUsedIp,
    revoked_at: instantOrNull(key.revokedAt),
  };
}

const keyPage = (key: AgentKey) => ({
  ...keyView(key),
  status: key.status,
  agent_id: key.agentId,
  agent_name: key.agentName,
});

export const dateOf = (value: string | undefined): Date | null =>
  value === undefined ? null : new Date(value);
