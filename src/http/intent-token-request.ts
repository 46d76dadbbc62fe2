/** The body of both endpoints that issue intent tokens (contract section 4.1), and what it means. */

import Type, { type Static } from 'typebox';
import { faultOfMetadata } from '../domain/free-object.ts';
import { MAX_PLAN_STEPS } from '../domain/plan.ts';
import type { JsonValue } from '../domain/strict-json.ts';
import { readValiditySeconds } from '../domain/ttl.ts';
import { WritError } from '../errors.ts';
import type { IssueIntentTokenCommand } from '../use-cases/issue-intent-token.ts';
import { freeObject, refusedAs, strictObject, text } from './schemas.ts';

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
    `What the agent means to do: \`steps\`, 1 to ${MAX_PLAN_STEPS} objects, each with \`action\` and optionally \`mcp\`; other members are free and signed.`,
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
  metadata: Type.Optional(freeObject('At most 8 KiB; recorded in the audit trail, not signed.')),
  llm: Type.Optional(Type.Unsafe<JsonValue>({ description: 'accepted, never stored' })),
  prompt: Type.Optional(Type.Unsafe<JsonValue>({ description: 'accepted, never stored' })),
});

/** The SDK's word for "not given". */
const NOT_GIVEN = '__sdk_multiuser__';

/** Throws `INVALID_TTL`, `TTL_OUT_OF_RANGE` or `VALIDATION_ERROR`. */
export function commandOf(
  body: Static<typeof IntentTokenRequest>,
  underflowed: ReadonlySet<object>,
): IssueIntentTokenCommand {
  const given = (value: string | undefined): string | null =>
    value === undefined || value === NOT_GIVEN ? null : value;
  const fault = body.metadata === undefined ? undefined : faultOfMetadata(body.metadata);
  if (fault !== undefined) {
    throw new WritError('VALIDATION_ERROR', `metadata ${fault}.`, { details: { pointer: '/metadata' } });
  }
  return {
    plan: body.plan,
    policy: body.policy,
    underflowed,
    validitySeconds: validitySecondsOf(body),
    onBehalfOf: {
      userId: given(body.user_id),
      agentId: given(body.agent_id),
      contextId: given(body.context_id),
      userEmail: given(body.user_email),
    },
    metadata: body.metadata,
    dryRun: body.dry_run ?? false,
  };
}

function validitySecondsOf(body: Static<typeof IntentTokenRequest>): number {
  const { expires_in: short, validity_seconds: long } = body;
  if (short !== undefined && long !== undefined && short !== long) {
    throw new WritError('VALIDATION_ERROR', 'expires_in and validity_seconds differ; give one of them.', {
      details: { pointer: '/validity_seconds' },
    });
  }
  const read = readValiditySeconds(short ?? long);
  if (read.ok) return read.seconds;
  const message =
    read.code === 'INVALID_TTL'
      ? 'A validity is a positive whole number of seconds.'
      : 'A validity is 1 to 86400 seconds.';
  throw new WritError(read.code, message, {
    details: { pointer: short === undefined ? '/validity_seconds' : '/expires_in' },
  });
}
