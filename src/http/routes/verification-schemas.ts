/** What the routes of verification take and answer alike (contract section 4.6). */

import Type from 'typebox';
import { VERIFICATION_CODES } from '../../domain/intent-tokens/verification-code.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { oneOf } from '../routing/schemas.ts';

export const VERIFICATION_TAG = 'verification';

const eitherOf = (types: readonly string[], description: string) =>
  Type.Unsafe<JsonValue>({ type: types, description });

export const TokenSent = eitherOf(
  ['string', 'object'],
  'The JWT, or the token object of an SDK, whose `jwt_token` is what is verified.',
);

export const ProofSent = eitherOf(
  ['array', 'object'],
  'The list of siblings, or a whole element of `step_proofs`.',
);

export const CodeAnswered = oneOf(VERIFICATION_CODES);
