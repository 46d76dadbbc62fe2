/**
 * Who asks about secrets: a scoped token or an API key (contract sections 2, 5.4). Requests are counted for the owner
 * of a token as for its key; a token that nobody knows counts as a failed credential.
 */

import type { FastifyRequest } from 'fastify';
import { WritError } from '../../errors.ts';
import type { Authenticator } from '../../use-cases/authentication/authenticate-api-key.ts';
import { type SecretAuthorization, unknownToken } from '../../use-cases/secrets/authorize-secret-request.ts';
import type { PresentedCredential, SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import { type CredentialCheck, readCredential } from './authenticate-request.ts';
import type { RateLimits } from './rate-limits.ts';

export interface BearerCheck {
  /** Sets `state.admission`, or rejects as contract section 5.4 orders it. */
  admit(request: FastifyRequest, asked: SecretRequest): Promise<void>;
}

export interface BearerCheckDeps {
  readonly apiKeys: CredentialCheck;
  readonly authenticator: Authenticator;
  readonly secrets: SecretAuthorization;
  readonly limits: RateLimits;
  readonly scopedTokens: {
    /** How every one of them begins. */
    readonly prefix: string;
    readonly isWellFormed: (text: string) => boolean;
    /** SHA-256 in hex. */
    readonly hash: (text: string) => string;
  };
  /** Whose token it was when it was last read, to count a request before it costs one. */
  readonly tokenOwners: {
    get(tokenHashHex: string): string | undefined;
    set(tokenHashHex: string, agentId: string): void;
  };
}

export function createBearerCheck(deps: BearerCheckDeps): BearerCheck {
  const { apiKeys, limits, tokenOwners, scopedTokens } = deps;

  const admitByKey = async (request: FastifyRequest, asked: SecretRequest): Promise<void> => {
    await apiKeys.requireApiKey(request);
    const { state } = request;
    if (state.caller === undefined) throw new Error('an API key was accepted without a caller');
    state.caller = await deps.authenticator.confirm(state.caller, state.context);
    const credential = { kind: 'api_key', caller: state.caller } as const;
    const known = await deps.secrets.resolveRequester(credential, asked);
    state.admission = await deps.secrets.authorizeSecretRequest(known, credential, state.context);
  };

  const admitByToken = async (request: FastifyRequest, asked: SecretRequest, text: string): Promise<void> => {
    const { state } = request;
    const tokenHashHex = scopedTokens.hash(text);
    state.principalId = tokenOwners.get(tokenHashHex);
    const counted = state.principalId !== undefined;
    await (counted ? limits.countPrincipal(request) : limits.countAddress(request));
    if (!counted) await limits.requireFewFailures(request);
    const credential: PresentedCredential = { kind: 'scoped_token', tokenHashHex };
    try {
      if (!scopedTokens.isWellFormed(text)) throw unknownToken();
      const known = await deps.secrets.resolveRequester(credential, asked);
      state.principalId = known.requester.actor.id;
      tokenOwners.set(tokenHashHex, state.principalId);
      if (!counted) await limits.countPrincipal(request);
      state.admission = await deps.secrets.authorizeSecretRequest(known, credential, state.context);
    } catch (error) {
      if (error instanceof WritError && error.code === 'TOKEN_INVALID') await limits.countFailure(request);
      throw error;
    }
  };

  return {
    admit: (request, asked) => {
      const header = readCredential(request.raw.rawHeaders);
      return header.kind === 'text' && header.text.startsWith(scopedTokens.prefix)
        ? admitByToken(request, asked, header.text)
        : admitByKey(request, asked);
    },
  };
}
