/** From the body of a revocation to the id of one intent token (contract section 4.7), or 400. */

import { readJsonObject } from '../../domain/intent-tokens/intent-claims.ts';
import { parseIntentJwt } from '../../domain/intent-tokens/intent-jwt.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import type { RevokeIntentTokenCommand } from '../../use-cases/intent-tokens/manage-intent-tokens.ts';
import { fault, readTokenSent, type TokenSentAs } from './verification-request.ts';

export interface RevocationBody {
  readonly token?: JsonValue | undefined;
  readonly token_id?: string | undefined;
  readonly reason?: string | undefined;
  readonly cascade?: boolean | undefined;
  readonly planId?: string | undefined;
  readonly intentReference?: string | undefined;
}

/** Everything that names the token must name the same one. Throws `VALIDATION_ERROR`. */
export function parseRevocation(body: RevocationBody): RevokeIntentTokenCommand {
  const { token_id: tokenId, intentReference, planId, reason } = body;
  const named = [
    ...(body.token === undefined ? [] : idsIn(body.token)),
    ...(tokenId === undefined ? [] : [{ pointer: '/token_id', id: tokenId.toLowerCase() }]),
  ];
  const [first] = named;
  if (first === undefined) throw fault('/token', 'or token_id is required');
  const stated =
    intentReference === undefined
      ? named
      : [...named, { pointer: '/intentReference', id: intentReference.toLowerCase() }];
  const other = stated.find(({ id }) => id !== first.id);
  if (other !== undefined) throw fault(other.pointer, `and ${first.pointer.slice(1)} name different tokens`);
  return { jti: first.id, planId, reason };
}

interface NamedToken {
  readonly pointer: string;
  readonly id: string;
}

function idsIn(token: JsonValue): readonly NamedToken[] {
  const { jwt, around } = readTokenSent(token, '/token');
  const { token_id: id = null } = around;
  if (id !== null && typeof id !== 'string') throw fault('/token/token_id', 'must be the id of a token');
  const named = [
    ...(jwt === undefined ? [] : [{ pointer: jwt.pointer, id: jtiIn(jwt) }]),
    ...(id === null ? [] : [{ pointer: '/token/token_id', id: id.toLowerCase() }]),
  ];
  if (named.length === 0) throw fault('/token', 'has neither jwt_token nor token_id');
  return named;
}

/**
 * The signature is not asked for: the id is looked up among the tokens that the caller may end, and an expired token, or
 * one whose key has gone, can be ended like any other.
 */
function jtiIn({ text, pointer }: NonNullable<TokenSentAs['jwt']>): string {
  const parsed = parseIntentJwt(text);
  const jti = parsed.ok ? readJsonObject(parsed.payload)?.['jti'] : undefined;
  if (typeof jti !== 'string') throw fault(pointer, 'must be a JWT');
  return jti.toLowerCase();
}
