/** The body of both endpoints that issue intent tokens (contract section 4.1), and what it means. */

import type { FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { WritError } from '../../errors.ts';
import type { IssueIntentTokenCommand } from '../../use-cases/intent-tokens/issue-intent-token.ts';
import { freeObject, refusedAs, strictObject, text } from '../routing/schemas.ts';

const onBehalfOf = (what: string) =>
  Type.Optional(
    text({ max: 256, description: `${what}; names on whose behalf, never widens what the key may do` }),
  );

const validity = Type.Optional(
  Type.Number({
    description: 'whole seconds, 1 to 86400; 60 where absent. Both spellings must agree.',
    ...refusedAs('INVALID_TTL'),
  }),
);

export const IntentTokenRequest = strictObject({
  plan: freeObject(
    'What the agent means to do: `steps`, 1 to 1000 objects, each with `action` and optionally `mcp`; other members are free and signed.',
    refusedAs('INVALID_PLAN'),
  ),
  policy: Type.Optional(
    freeObject('Absent: everything is allowed. Signed as sent.', refusedAs('INVALID_POLICY')),
  ),
  expires_in: validity,
  validity_seconds: validity,
  user_id: onBehalfOf('user'),
  agent_id: onBehalfOf('agent'),
  context_id: onBehalfOf('context'),
  user_email: onBehalfOf('user’s address'),
  dry_run: Type.Optional(Type.Boolean({ description: 'everything but signing and recording' })),
  authorization_details: Type.Optional(
    Type.Boolean({ description: 'false leaves the claim of that name (RFC 9396) out of the token' }),
  ),
  metadata: Type.Optional(freeObject('At most 8 KiB; recorded in the audit trail, not signed.')),
  llm: Type.Optional(Type.Unsafe<JsonValue>({ description: 'accepted, never stored' })),
  prompt: Type.Optional(Type.Unsafe<JsonValue>({ description: 'accepted, never stored' })),
});

/** The SDK's word for "not given". */
const NOT_GIVEN = '__sdk_multiuser__';

export function commandOf(
  body: Static<typeof IntentTokenRequest>,
  request: FastifyRequest,
  sha256Hex: (bytes: Uint8Array) => string,
): IssueIntentTokenCommand {
  const given = (value: string | undefined): string | null =>
    value === undefined || value === NOT_GIVEN ? null : value;
  return {
    plan: body.plan,
    policy: body.policy,
    underflowed: request.state.underflowed,
    validity: { expires_in: body.expires_in, validity_seconds: body.validity_seconds },
    onBehalfOf: {
      userId: given(body.user_id),
      agentId: given(body.agent_id),
      contextId: given(body.context_id),
      userEmail: given(body.user_email),
    },
    metadata: body.metadata,
    authorizationDetails: body.authorization_details ?? true,
    dryRun: body.dry_run ?? false,
    idempotency: idempotencyOf(request, sha256Hex),
  };
}

/** `Idempotency-Key`: per principal and path, bound to the body's bytes. Throws `VALIDATION_ERROR`. */
function idempotencyOf(
  request: FastifyRequest,
  sha256Hex: (bytes: Uint8Array) => string,
): IssueIntentTokenCommand['idempotency'] {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(key)) {
    throw new WritError(
      'VALIDATION_ERROR',
      'Idempotency-Key must be 1 to 128 printable ASCII characters without blanks.',
      {
        details: { header: 'Idempotency-Key' },
      },
    );
  }
  return { key, path: request.state.path, bodySha256Hex: sha256Hex(request.state.bodyBytes) };
}
