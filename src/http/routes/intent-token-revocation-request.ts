/** From the body of a revocation to the id of one intent token (contract section 4.7), or 400. */

import { readJsonObject } from '../../domain/intent-tokens/intent-claims.ts';
import { parseIntentJwt } from '../../domain/intent-tokens/intent-jwt.ts';
import { isJsonObject, type JsonValue } from '../../domain/json/strict-json.ts';
import type { RevokeIntentTokenCommand } from '../../use-cases/intent-tokens/manage-intent-tokens.ts';
import { fault } from './verification-request.ts';

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
  if (typeof token === 'string') return [{ pointer: '/token', id: jtiIn(token, '/token') }];
  if (!isJsonObject(token)) throw fault('/token', 'must be a JWT or the token object of an SDK');
  const { jwt_token: jwt = null, token_id: id = null } = token;
  if (jwt !== null && typeof jwt !== 'string') throw fault('/token/jwt_token', 'must be a JWT');
  if (id !== null && typeof id !== 'string') throw fault('/token/token_id', 'must be the id of a token');
  const named = [
    ...(jwt === null ? [] : [{ pointer: '/token/jwt_token', id: jtiIn(jwt, '/token/jwt_token') }]),
    ...(id === null ? [] : [{ pointer: '/token/token_id', id: id.toLowerCase() }]),
  ];
  if (named.length === 0) throw fault('/token', 'has neither jwt_token nor token_id');
  return named;
}

/**
 * The signature is not asked for: the id is looked up among the tokens that the caller may end, and an expired token, or
 * one whose key has gone, can be ended like any other.
 */
function jtiIn(jwt: string, pointer: string): string {
  const parsed = parseIntentJwt(jwt);
  const jti = parsed.ok ? readJsonObject(parsed.payload)?.['jti'] : undefined;
  if (typeof jti !== 'string') throw fault(pointer, 'must be a JWT');
  return jti.toLowerCase();
}
