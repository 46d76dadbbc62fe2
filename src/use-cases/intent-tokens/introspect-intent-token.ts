/** What is this intent token? (RFC 7662, contract section 5.5). Its signature and its live row answer; nothing is consumed. */

import { type JwtExpectations, verifyIntentJwt } from '../../domain/intent-tokens/intent-jwt.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import type { Clock } from '../ports.ts';
import type { IntentTokenReader } from './ports.ts';

export interface IntrospectedIntentToken {
  /** Whose token it is. */
  readonly agentId: string;
  /** As signed. */
  readonly claims: JsonObject;
}

/** Undefined: not active, or not a token of ours. */
export type IntrospectIntentToken = (jwt: string) => Promise<IntrospectedIntentToken | undefined>;

export function createIntrospectIntentToken(
  deps: Omit<JwtExpectations, 'nowSeconds'> & { readonly reader: IntentTokenReader; readonly clock: Clock },
): IntrospectIntentToken {
  const { issuer, audience, checkSignature, reader, clock } = deps;
  return async (jwt) => {
    const nowSeconds = clock.now().getTime() / 1000;
    const result = verifyIntentJwt(jwt, { issuer, audience, checkSignature, nowSeconds });
    if (!result.ok) return undefined;
    const { jti, clientId, all: claims } = result.claims;
    const state = await reader.findState(jti);
    const isLive = state?.agentId === clientId && !state.revoked && !state.expired;
    return isLive ? { agentId: clientId, claims } : undefined;
  };
}
