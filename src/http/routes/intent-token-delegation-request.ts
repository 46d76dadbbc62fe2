/** The body of a delegation (contract section 4.7), and what it means. */

import type { FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { validateMetadata } from '../../domain/formats/metadata.ts';
import { DELEGATION_VALIDITY, readValiditySeconds } from '../../domain/formats/ttl.ts';
import { readDelegateKey } from '../../domain/intent-tokens/delegate-key.ts';
import { MAX_PLAN_STEPS } from '../../domain/intent-tokens/plan.ts';
import { WritError } from '../../errors.ts';
import type { DelegateIntentTokenCommand } from '../../use-cases/intent-tokens/delegate-intent-token.ts';
import { freeObject, refusedAs, strictObject, text } from '../routing/schemas.ts';
import { fault, memberOf, readPresentedToken } from './verification-request.ts';
import { TokenSent } from './verification-schemas.ts';

/** Two hex digits for each byte of a key's SubjectPublicKeyInfo. */
const KEY_CHARACTERS = 88;

/** Of a call that goes on to use the parent's token as if it were narrowed. */
const OF_SUBTREE = ['parentToken', 'subtreePath'] as const;

export const DelegationBody = strictObject({
  token: TokenSent,
  delegate_public_key: text({
    max: KEY_CHARACTERS,
    description: 'Ed25519, in hex: the 32 bytes, or their SPKI DER form',
  }),
  validity_seconds: Type.Optional(
    Type.Number({
      description: 'whole seconds, 1 to 86400; 3600 where absent. Cut to the end of the token.',
      ...refusedAs('INVALID_TTL'),
    }),
  ),
  allowed_actions: Type.Optional(
    Type.Array(text({ max: 128 }), {
      minItems: 1,
      maxItems: MAX_PLAN_STEPS,
      description: 'the only actions that are passed on; those of the token where absent',
    }),
  ),
  target_agent: Type.Optional(text({ max: 256, description: 'a name for the delegate; not checked' })),
  subtask: Type.Optional(freeObject('At most 8 KiB; recorded in the audit trail, not signed.')),
});

type Body = Static<typeof DelegationBody>;

/** A call for a part of the tree, whatever else is in its body. */
export const asksForSubtree = (request: FastifyRequest): boolean =>
  OF_SUBTREE.some((name) => memberOf(request, name) !== undefined);

/** Throws `VALIDATION_ERROR`, `INVALID_TTL` or `TTL_OUT_OF_RANGE`. */
export function delegationOf(body: Body): DelegateIntentTokenCommand {
  const { token, delegate_public_key: keyText, subtask } = body;
  const delegateKey = readDelegateKey(keyText);
  if (delegateKey === undefined) {
    throw fault(
      '/delegate_public_key',
      'must be an Ed25519 public key, not of small order, in hex: 32 bytes, or SPKI DER',
    );
  }
  const metadataFault = subtask === undefined ? undefined : validateMetadata(subtask);
  if (metadataFault !== undefined) throw fault('/subtask', metadataFault);
  return {
    token: readPresentedToken(token),
    delegateKey,
    validitySeconds: validityOf(body),
    allowedActions: body.allowed_actions,
    targetAgent: body.target_agent,
    subtask,
  };
}

function validityOf({ validity_seconds: asked }: Body): number {
  const read = readValiditySeconds(asked, DELEGATION_VALIDITY);
  if (read.ok) return read.seconds;
  throw new WritError(read.code, 'A validity is a whole number of seconds from 1 to 86400.', {
    details: { pointer: '/validity_seconds' },
  });
}
