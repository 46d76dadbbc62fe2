/** What is this intent token? (RFC 7662, contract section 5.5). Its signature and its live row answer; nothing is consumed. */

import type { JsonObject } from '../../domain/json/strict-json.ts';
import { judgeState, readClaims, type TokenReadingDeps } from './live-token.ts';

export interface IntrospectedIntentToken {
  /** Whose token it is. */
  readonly agentId: string;
  /** As signed. */
  readonly claims: JsonObject;
}

/** Undefined: not active, or not a token of ours. */
export type IntrospectIntentToken = (jwt: string) => Promise<IntrospectedIntentToken | undefined>;

export function createIntrospectIntentToken(deps: TokenReadingDeps): IntrospectIntentToken {
  return async (jwt) => {
    const presented = { jwt, statedBeside: [] };
    const read = await readClaims(deps, presented);
    if (!read.ok) return undefined;
    const { claims } = read;
    const state = await deps.reader.findState(claims.jti);
    if (!judgeState(state, read, presented).ok) return undefined;
    return { agentId: claims.clientId, claims: claims.all };
  };
}
