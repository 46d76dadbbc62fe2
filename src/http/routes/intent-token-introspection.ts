/** What introspection answers about an intent token (RFC 7662 section 2.2, contract section 5.5): what was signed. */

import Type from 'typebox';
import type { IntrospectedIntentToken } from '../../use-cases/intent-tokens/introspect-intent-token.ts';
import { freeObject, oneOf, sha256Hex, strictObject, uuid } from '../routing/schemas.ts';

const seconds = Type.Integer({ description: 'Unix seconds' });

const StepDetail = strictObject({
  type: oneOf(['writ_step']),
  step_index: Type.Integer(),
  locations: Type.Optional(Type.Array(Type.String())),
  actions: Type.Array(Type.String()),
});

export const IntentIntrospection = strictObject(
  {
    active: Type.Literal(true),
    token_type: oneOf(['Bearer']),
    iss: Type.String(),
    sub: Type.String({ description: 'the caller’s statement; no decision may rest on it' }),
    client_id: uuid('whose token it is'),
    aud: Type.String(),
    iat: seconds,
    nbf: seconds,
    exp: seconds,
    jti: uuid(),
    token_use: oneOf(['intent']),
    plan_hash: sha256Hex('SHA-256 of the canonical plan'),
    merkle_root: sha256Hex('root of the tree over the steps'),
    tree_size: Type.Integer(),
    policy: freeObject('as signed'),
    policy_hash: sha256Hex('SHA-256 of the canonical policy'),
    identity: freeObject('the caller’s statement, and the id of the API key'),
    authorization_details: Type.Optional(Type.Array(StepDetail, { description: 'RFC 9396' })),
    authorization_details_omitted: Type.Optional(Type.Literal(true)),
    allowed_actions: Type.Optional(Type.Array(Type.String(), { description: 'the only ones' })),
    act: Type.Optional(freeObject('who acts, RFC 8693')),
    cnf: Type.Optional(freeObject('the key of the holder, RFC 7800')),
    parent_jti: Type.Optional(uuid()),
    root_jti: Type.Optional(uuid()),
  },
  'an intent token: its claims, as signed',
);

export const introspectedIntentView = ({ claims }: IntrospectedIntentToken) => ({
  ...claims,
  active: true,
  token_type: 'Bearer',
});
