/** `GET /v1/me`: who am I? Nothing in the answer is null. */

import Type from 'typebox';
import { formatTimestamp } from '../../domain/formats/rfc3339.ts';
import { ROLES } from '../../domain/principals/role.ts';
import type { DescribeCaller } from '../../use-cases/principals/describe-caller.ts';
import type { Routes } from '../routing/route.ts';
import { instant, oneOf, strictObject, uuid } from '../routing/schemas.ts';

const Me = strictObject({
  id: uuid(),
  name: Type.String(),
  role: oneOf(ROLES),
  email: Type.String(),
  plan: oneOf(['self-hosted']),
  subscription_status: oneOf(['active']),
  secret_count: Type.Integer(),
  agent_count: Type.Integer(),
  allowed_scopes: Type.Array(Type.String()),
  api_key_id: Type.String(),
  api_key_prefix: Type.String(),
  api_key_expires_at: Type.Optional(instant('absent where it does not end')),
  warning: Type.Optional(Type.String({ description: 'in the last days of the API key' })),
});

export function addMeRoute(routes: Routes, describe: DescribeCaller): void {
  routes.authenticated({
    method: 'GET',
    url: '/v1/me',
    tag: 'principals',
    summary: 'Who am I?',
    roles: ROLES,
    keyCheck: 'before-handler',
    answers: { 200: Me },
    handle: async ({ caller }) => {
      const me = await describe(caller);
      const body = {
        id: me.id,
        name: me.name,
        role: me.role,
        email: '',
        plan: 'self-hosted',
        subscription_status: 'active',
        secret_count: me.secretCount,
        agent_count: me.agentCount,
        allowed_scopes: me.allowedScopes,
        api_key_id: caller.keyId,
        api_key_prefix: caller.keyPrefix,
        ...(me.keyExpiresAt === null ? {} : { api_key_expires_at: formatTimestamp(me.keyExpiresAt) }),
        ...(me.warning === undefined ? {} : { warning: me.warning }),
      };
      return { status: 200, body };
    },
  });
}
