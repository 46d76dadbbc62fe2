/** `/api-keys`: a principal's own API keys, as the vendor's command line reads them (contract section 4.8). */

import Type from 'typebox';
import { formatTimestamp, instantOrNull } from '../../domain/formats/rfc3339.ts';
import { ROLES } from '../../domain/principals/role.ts';
import { KEY_STATUSES, type OwnKey, type OwnKeys } from '../../use-cases/principals/manage-own-keys.ts';
import type { Routes } from '../routing/route.ts';
import { instant, nullable, oneOf, strictObject } from '../routing/schemas.ts';

const OWN = { tag: 'python sdk', roles: ROLES, keyCheck: 'before-handler' } as const;

const Key = strictObject({
  id: Type.String({ description: 'the public half: 16 hex characters' }),
  name: nullable(Type.String()),
  prefix: Type.String(),
  status: oneOf(KEY_STATUSES),
  createdAt: instant(),
  expiresAt: nullable(instant()),
  lastUsedAt: nullable(instant('within about a minute')),
});

export function addOwnKeyRoutes(routes: Routes, keys: OwnKeys): void {
  routes.authenticated({
    ...OWN,
    method: 'GET',
    url: '/api-keys',
    summary: 'One’s own API keys, without the keys themselves',
    answers: { 200: strictObject({ data: Type.Array(Key) }) },
    handle: async ({ caller }) => ({ status: 200, body: { data: (await keys.list(caller)).map(keyView) } }),
  });

  routes.authenticated({
    ...OWN,
    method: 'POST',
    url: '/api-keys/:id/revoke',
    summary: 'Revoke an API key of one’s own that is not in use; again is fine',
    params: strictObject({ id: Type.String() }),
    body: strictObject({}),
    answers: {
      200: strictObject({ success: Type.Boolean(), id: Type.String(), status: oneOf(['revoked']) }),
    },
    handle: async ({ params, caller, context }) => {
      await keys.revoke(params.id, caller, context);
      return { status: 200, body: { success: true, id: params.id, status: 'revoked' } };
    },
  });
}

function keyView(key: OwnKey) {
  return {
    id: key.keyId,
    name: key.name,
    prefix: key.prefix,
    status: key.status,
    createdAt: formatTimestamp(key.createdAt),
    expiresAt: instantOrNull(key.expiresAt),
    lastUsedAt: instantOrNull(key.lastUsedAt),
  };
}
