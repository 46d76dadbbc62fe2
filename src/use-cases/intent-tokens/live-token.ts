/**
 * What is known of a presented intent token: first what it says itself, which costs one signature, then what the
 * database knows of it (contract section 4.6). Nothing else about a question is looked at before.
 */

import type { IntentClaims } from '../../domain/intent-tokens/intent-claims.ts';
import {
  type CheckSignature,
  type DecodeBase64url,
  verifyIntentJwt,
} from '../../domain/intent-tokens/intent-jwt.ts';
import type { VerificationRefusal } from '../../domain/intent-tokens/verification-code.ts';
import type { Clock } from '../ports.ts';
import type { IntentTokenReader, IntentTokenState } from './ports.ts';
import type { PresentedToken } from './verification-question.ts';

export interface TokenReadingDeps {
  readonly reader: IntentTokenReader;
  readonly checkSignature: CheckSignature;
  readonly decode: DecodeBase64url;
  readonly clock: Clock;
  readonly issuer: string;
  readonly audience: string;
}

/** Of the token itself. */
export interface TokenRefusal extends VerificationRefusal {
  readonly code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED' | 'TOKEN_REVOKED';
}

/** A token that is good now. */
export interface LiveToken {
  readonly claims: IntentClaims;
  readonly state: IntentTokenState;
}

/** Signature, times, issuer and audience; nothing is asked of the database. */
export function readClaims(
  deps: Omit<TokenReadingDeps, 'reader'>,
  { jwt }: PresentedToken,
): { readonly ok: true; readonly claims: IntentClaims } | ({ readonly ok: false } & TokenRefusal) {
  const verdict = verifyIntentJwt(jwt, {
    issuer: deps.issuer,
    audience: deps.audience,
    nowSeconds: deps.clock.now().getTime() / 1000,
    checkSignature: deps.checkSignature,
    decode: deps.decode,
  });
  return verdict.ok ? verdict : { ...verdict, reason: `The token is refused: ${verdict.reason}.` };
}

/** A token that is good now, or why it is not. */
export type TokenJudgement = (LiveToken & { readonly ok: true }) | ({ readonly ok: false } & TokenRefusal);

/** By what the token's row says, and what was stated beside the JWT. */
export function judgeState(
  state: IntentTokenState | undefined,
  claims: IntentClaims,
  { statedBeside }: PresentedToken,
): TokenJudgement {
  if (state === undefined || state.agentId !== claims.clientId)
    return refuse('TOKEN_INVALID', 'It is not on record here.');
  const differing = statedBeside.find(({ claim, value }) => claims.all[claim] !== value);
  if (differing !== undefined)
    return refuse('TOKEN_INVALID', `${differing.member} beside the JWT is not what was signed.`);
  if (state.revoked) return refuse('TOKEN_REVOKED', 'The token, its agent or an ancestor was revoked.');
  if (state.expired) return refuse('TOKEN_EXPIRED', 'The token has expired.');
  return { ok: true, claims, state };
}

const refuse = (code: TokenRefusal['code'], reason: string) => ({ ok: false, code, reason }) as const;
