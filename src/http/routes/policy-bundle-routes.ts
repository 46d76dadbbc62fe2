/**
 * `GET /policy/bundles/current` (contract section 4.8): the operator's policy of the key's principal, in the form in
 * which clients decide without asking. It is never null, which the published SDK would read as "allow everything".
 */

import Type from 'typebox';
import { compilePortablePolicy, type PortableDocument } from '../../domain/policies/portable-policy.ts';
import type { Principal } from '../../use-cases/authentication/ports.ts';
import { matchesEntityTag } from '../routing/entity-tag.ts';
import type { Routes } from '../routing/route.ts';
import { freeObject, strictObject, text, uuid } from '../routing/schemas.ts';

const POLICY_NAME = 'operator';
const nothing = (description: string) => Type.Array(Type.Unsafe<never>({}), { maxItems: 0, description });

const Agent = strictObject({
  agentId: uuid(),
  name: Type.String(),
  inactive: Type.Boolean(),
  policy: strictObject({
    policyId: Type.String(),
    name: Type.String(),
    document: Type.Unsafe<PortableDocument>(
      freeObject('as `armoriq-policy-ir` evaluates it; it never allows more than the policy'),
    ),
  }),
  tools: nothing('there is no inventory of tools'),
  members: nothing('there is no directory of users'),
});

export function addPolicyBundleRoute(
  routes: Routes,
  { entityTagOf }: { readonly entityTagOf: (text: string) => string },
): void {
  routes.authenticated({
    method: 'GET',
    url: '/policy/bundles/current',
    tag: 'python sdk',
    summary: 'The operator’s policy of this principal, for deciding in the client',
    roles: ['admin', 'agent'],
    keyCheck: 'before-handler',
    query: strictObject({
      agent: Type.Optional(
        text({ min: 1, max: 256, description: 'id or name; `agents` is empty unless it is the key’s own' }),
      ),
    }),
    headers: { 'If-None-Match': Type.String() },
    answerHeaders: { ETag: Type.String() },
    answers: { 200: strictObject({ agents: Type.Array(Agent) }), 304: null },
    handle: async ({ query, caller: { principal }, request }) => {
      const body = { agents: namesItself(query.agent, principal) ? [bundleOf(principal)] : [] };
      const etag = entityTagOf(JSON.stringify(body));
      const headers = { etag };
      if (matchesEntityTag(request, etag)) return { status: 304, headers };
      return { status: 200, body, headers };
    },
  });
}

const namesItself = (named: string | undefined, { id, name }: Principal): boolean =>
  named === undefined || named === id || named === name;

function bundleOf({ id, name, policy }: Principal) {
  const policyId = `${POLICY_NAME}:${id}`;
  return {
    agentId: id,
    name,
    inactive: false,
    policy: { policyId, name: POLICY_NAME, document: compilePortablePolicy(policy, policyId) },
    tools: [],
    members: [],
  };
}
