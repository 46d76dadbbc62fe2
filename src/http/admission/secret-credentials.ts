/**
 * Credentials that open secrets: a scoped token, or an API key (contract sections 2, 5.4). Requests are counted for the
 * owner of a token as for its key; a token that nobody knows counts as a failed credential.
 */

import type { FastifyRequest } from 'fastify';
import { looksLikeScopedToken, SCOPED_TOKEN_PREFIX } from '../../domain/scoped-tokens/scoped-token-format.ts';
import { WritError } from '../../errors.ts';
import type { Authenticator } from '../../use-cases/authentication/authenticate-api-key.ts';
import { type SecretAuthorization, unknownToken } from '../../use-cases/secrets/authorize-secret-request.ts';
import type {
  AuthorizedRequest,
  ResolvedRequester,
  SecretRequest,
} from '../../use-cases/secrets/authorized-request.ts';
import type { RequestAuth } from '../server/request-auth.ts';
import type { RateLimits } from './rate-limits.ts';

export interface SecretCredentials {
  isScopedToken(text: string): boolean;
  /** Whose token it is: this process knows, or reads it. Rejects with `TOKEN_INVALID`, `RATE_LIMITED`. */
  authenticateToken(request: FastifyRequest, text: string, asked: SecretRequest): Promise<RequestAuth>;
  /** What the credential of `request.auth` may do. Rejects as contract section 5.4 orders it. */
  authorizeSecrets(request: FastifyRequest, asked: SecretRequest): Promise<AuthorizedRequest>;
}

export interface SecretCredentialsDeps {
  readonly secrets: SecretAuthorization;
  readonly confirm: Authenticator['confirm'];
  readonly limits: RateLimits;
  /** SHA-256 in hex. */
  readonly hashToken: (text: string) => string;
  /** Whose token it was when it was last read, to count a request before it costs a read. */
  readonly tokenOwners: {
    get(tokenHashHex: string): string | undefined;
    set(tokenHashHex: string, agentId: string, generation: number): void;
  };
}

export function createSecretCredentials(deps: SecretCredentialsDeps): SecretCredentials {
  const { secrets, limits, tokenOwners } = deps;

  const resolveToken = async (tokenHashHex: string, asked: SecretRequest): Promise<ResolvedRequester> => {
    const resolved = await secrets.resolveRequester({ kind: 'scoped_token', tokenHashHex }, asked);
    tokenOwners.set(tokenHashHex, resolved.requester.actor.id, resolved.generation);
    return resolved;
  };

  const countFailureOf = async (error: unknown, request: FastifyRequest): Promise<never> => {
    if (error instanceof WritError && error.code === 'TOKEN_INVALID') await limits.countFailure(request);
    throw error;
  };

  const authorizeKey = async (
    { state }: FastifyRequest,
    { caller: known }: Extract<RequestAuth, { kind: 'api_key' }>,
    asked: SecretRequest,
  ): Promise<AuthorizedRequest> => {
    const caller = await deps.confirm(known, state.context);
    const credential = { kind: 'api_key', caller } as const;
    const resolved = await secrets.resolveRequester(credential, asked);
    return secrets.authorizeSecretRequest(resolved, credential, state.context);
  };

  const authorizeToken = async (
    request: FastifyRequest,
    { tokenHashHex, resolved: read }: Extract<RequestAuth, { kind: 'scoped_token' }>,
    asked: SecretRequest,
  ): Promise<AuthorizedRequest> => {
    try {
      const resolved = read ?? (await resolveToken(tokenHashHex, asked));
      const credential = { kind: 'scoped_token', tokenHashHex } as const;
      return await secrets.authorizeSecretRequest(resolved, credential, request.state.context);
    } catch (error) {
      return countFailureOf(error, request);
    }
  };

  return {
    isScopedToken: (text) => text.startsWith(SCOPED_TOKEN_PREFIX),

    authenticateToken: async (request, text, asked) => {
      const tokenHashHex = deps.hashToken(text);
      const owner = tokenOwners.get(tokenHashHex);
      if (owner !== undefined) {
        return { kind: 'scoped_token', principalId: owner, tokenHashHex, resolved: undefined };
      }
      await limits.countAddress(request);
      await limits.requireFewFailures(request);
      try {
        if (!looksLikeScopedToken(text)) throw unknownToken();
        const resolved = await resolveToken(tokenHashHex, asked);
        return { kind: 'scoped_token', principalId: resolved.requester.actor.id, tokenHashHex, resolved };
      } catch (error) {
        return countFailureOf(error, request);
      }
    },

    authorizeSecrets: async (request, asked) => {
      const { auth } = request;
      if (auth?.kind === 'scoped_token') return authorizeToken(request, auth, asked);
      if (auth?.kind === 'api_key') return authorizeKey(request, auth, asked);
      throw new Error('secrets were asked for without a credential');
    },
  };
}
