/** `GET /v1/me`: who am I? Nothing in the answer is null. */

import Type from 'typebox';
import { formatScope } from '../domain/scope.ts';
import type { Routes } from './route.ts';
import { oneOf, strictObject, uuid } from './schemas.ts';

const Me = strictObject({
  id: uuid(),
  name: Type.String(),
  role: oneOf(['admin', 'approver', 'agent']),
  email: Type.String(),
  plan: oneOf(['self-hosted']),
  subscription_status: oneOf(['active']),
  secret_count: Type.Integer(),
  agent_count: Type.Integer(),
  allowed_scopes: Type.Array(Type.String()),
  api_key_id: Type.String(),
  api_key_prefix: Type.String(),
});

export interface MeDeps {
  readonly countAgents: () => Promise<number>;
  readonly emailOf: (principalId: string) => Promise<string | null>;
}

export function addMeRoute(routes: Routes, deps: MeDeps): void {
  routes.keyed({
    method: 'GET',
    url: '/v1/me',
    tag: 'principals',
    summary: 'Who am I?',
    roles: ['admin', 'approver', 'agent'],
    liveness: 'read',
    answers: { 200: Me },
    handle: async ({ caller: { principal, keyId, keyPrefix } }) => {
      const [agentCount, email] = await Promise.all([deps.countAgents(), deps.emailOf(principal.id)]);
      const body = {
        id: principal.id,
        name: principal.name,
        role: principal.role,
        email: email ?? '',
        plan: 'self-hosted',
        subscription_status: 'active',
        secret_count: 0,
        agent_count: agentCount,
        allowed_scopes: principal.effectiveScopes.map(formatScope),
        api_key_id: keyId,
        api_key_prefix: keyPrefix,
      };
      return { status: 200, body };
    },
  });
}
