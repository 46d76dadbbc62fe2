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
import { STOPPED } from '../authentication/authenticate-api-key.ts';
import type { Clock } from '../ports.ts';
import type { IntentTokenReader, IntentTokenState } from './ports.ts';
import type { PresentedToken } from './verification-question.ts';

export interface TokenReadingDeps {
  readonly reader: IntentTokenReader;
  readonly checkSignature: CheckSignature;
  /** Reads the signing keys again: a read that begins after the call. */
  readonly readKeysAgain: () => Promise<void>;
  readonly decode: DecodeBase64url;
  readonly clock: Clock;
  readonly issuer: string;
  readonly audience: string;
}

/** Of the token itself. */
export interface TokenRefusal extends VerificationRefusal {
  readonly code: 'TOKEN_INVALID' | 'TOKEN_EXPIRED' | 'TOKEN_REVOKED' | 'EMERGENCY_STOP';
}

/** What a token says, under a signature of ours. */
export interface SignedClaims {
  readonly claims: IntentClaims;
  /** Of the key that the signature is by. */
  readonly kid: string;
}

/** A token that is good now. */
export interface LiveToken {
  readonly claims: IntentClaims;
  readonly state: IntentTokenState;
}

type ReadClaims = (SignedClaims & { readonly ok: true }) | ({ readonly ok: false } & TokenRefusal);

/**
 * Signature, times, issuer and audience. Nothing is asked of the database but for the keys, where this process does not
 * know the token's: another one may have begun to sign with a key that was made a moment ago.
 */
export async function readClaims(
  deps: Omit<TokenReadingDeps, 'reader'>,
  presented: PresentedToken,
): Promise<ReadClaims> {
  const read = readOnce(deps, presented);
  if (read !== 'key unknown') return read;
  await deps.readKeysAgain();
  const readAgain = readOnce(deps, presented);
  return readAgain === 'key unknown' ? KEY_NOT_OURS : readAgain;
}

function readOnce(
  deps: Omit<TokenReadingDeps, 'reader'>,
  { jwt }: PresentedToken,
): ReadClaims | 'key unknown' {
  let kid = '';
  let isKnown = true;
  const verdict = verifyIntentJwt(jwt, {
    issuer: deps.issuer,
    audience: deps.audience,
    nowSeconds: deps.clock.now().getTime() / 1000,
    checkSignature: (jws) => {
      const isRight = deps.checkSignature(jws);
      kid = jws.kid;
      isKnown = isRight !== undefined;
      return isRight;
    },
    decode: deps.decode,
  });
  if (verdict.ok) return { ok: true, claims: verdict.claims, kid };
  return isKnown ? refuse(verdict.code, `The token is refused: ${verdict.reason}.`) : 'key unknown';
}

/** A token that is good now, or why it is not. */
export type TokenJudgement = (LiveToken & { readonly ok: true }) | ({ readonly ok: false } & TokenRefusal);

/**
 * By what the token's row says, and what was stated beside the JWT. That the key is the row's is what refuses a key at
 * once that this process takes for ours yet: whoever had it could sign the id of any other token.
 */
export function judgeState(
  state: IntentTokenState | undefined,
  { claims, kid }: SignedClaims,
  { statedBeside }: PresentedToken,
): TokenJudgement {
  if (state === undefined || state.agentId !== claims.clientId)
    return refuse('TOKEN_INVALID', 'It is not on record here.');
  if (state.kid !== kid) return KEY_NOT_OURS;
  const differing = statedBeside.find(({ claim, value }) => claims.all[claim] !== value);
  if (differing !== undefined)
    return refuse('TOKEN_INVALID', `${differing.member} beside the JWT is not what was signed.`);
  if (state.revoked) return refuse('TOKEN_REVOKED', 'The token, its agent or an ancestor was revoked.');
  if (state.expired) return refuse('TOKEN_EXPIRED', 'The token has expired.');
  if (state.stopped) return refuse('EMERGENCY_STOP', STOPPED);
  return { ok: true, claims, state };
}

function refuse(code: TokenRefusal['code'], reason: string) {
  return { ok: false, code, reason } as const;
}

const KEY_NOT_OURS = refuse('TOKEN_INVALID', 'The token is refused: its key is not one of ours.');
