/**
 * Who calls? (contract section 2). The headers that carry a credential are read once, before a byte of the body. A key
 * that this process has cached costs no bcrypt; any other is counted for its address first.
 */

import type { FastifyRequest } from 'fastify';
import { WritError } from '../../errors.ts';
import { type Authenticator, refusedKey } from '../../use-cases/authentication/authenticate-api-key.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import type { RequestAuth } from '../server/request-auth.ts';
import { takesBasic } from '../server/request-state.ts';
import { readBasicCredential } from './basic-credential.ts';
import type { RateLimits } from './rate-limits.ts';
import type { SecretCredentials } from './secret-credentials.ts';

export type CredentialHeader =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ambiguous' };

const API_KEY_HEADER = 'x-api-key';
const AUTHORIZATION = 'authorization';

/**
 * The credential that the headers carry. `X-API-Key` may come twice or comma-joined if all values are the same,
 * because a published plug-in sends it so; anything else that is repeated or that differs is ambiguous. `takesBasic`:
 * an API key may come as HTTP Basic; asked only where it matters, because Fastify gathers what it knows of the route.
 */
export function readCredential(rawHeaders: readonly string[], takesBasic: () => boolean): CredentialHeader {
  const keys: string[] = [];
  const authorizations: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    // The length first: most headers are neither, and need not be put into lower case.
    if (name.length === API_KEY_HEADER.length && name.toLowerCase() === API_KEY_HEADER)
      keys.push(...value.split(',').map((part) => part.trim()));
    else if (name.length === AUTHORIZATION.length && name.toLowerCase() === AUTHORIZATION)
      authorizations.push(value);
  }
  if (authorizations.length > 1) return { kind: 'ambiguous' };
  const [authorization] = authorizations;
  if (authorization !== undefined) {
    const bearer = /^Bearer ([!-~]{1,512})$/i.exec(authorization)?.[1];
    const sent = bearer ?? (takesBasic() ? readBasicCredential(authorization) : undefined);
    if (sent === undefined) return { kind: 'ambiguous' };
    keys.push(sent);
  }
  const [first] = keys;
  if (first === undefined) return { kind: 'none' };
  return keys.every((key) => key === first) ? { kind: 'text', text: first } : { kind: 'ambiguous' };
}

export interface AuthenticateRequestDeps {
  readonly authenticator: Authenticator;
  readonly limits: RateLimits;
  readonly secretCredentials: Pick<SecretCredentials, 'isScopedToken' | 'authenticateToken'>;
}

/** Rejects with 401, 429 or 503. `asked` is given where a scoped token is accepted too. */
export type AuthenticateRequest = (
  request: FastifyRequest,
  accepted: 'none' | 'api-key-if-sent' | 'api-key' | 'scoped-token-or-api-key',
  asked: SecretRequest | undefined,
) => Promise<RequestAuth>;

export function createAuthenticateRequest(deps: AuthenticateRequestDeps): AuthenticateRequest {
  const { authenticator, limits, secretCredentials } = deps;

  const byKey = async (request: FastifyRequest, header: CredentialHeader): Promise<RequestAuth> => {
    const text = header.kind === 'text' ? header.text : undefined;
    const cached = text === undefined ? undefined : authenticator.cached(text, request.state.context);
    if (cached !== undefined && 'caller' in cached) return authOf(cached.caller);
    await limits.countAddress(request);
    // A request without any credential guesses nothing, so it is not a failure to count.
    if (header.kind === 'none') throw refusedKey('AUTH_INVALID_KEY');
    await limits.requireFewFailures(request);
    try {
      if (text === undefined) throw refusedKey('AUTH_INVALID_KEY');
      if (cached !== undefined) return await authenticator.deny(cached, request.state.context);
      return authOf(await authenticator.verify(text, request.state));
    } catch (error) {
      if (error instanceof WritError && error.kind === 'unauthenticated') await limits.countFailure(request);
      throw error;
    }
  };

  return async (request, accepted, asked) => {
    const header =
      accepted === 'none' ? NO_CREDENTIAL : readCredential(request.raw.rawHeaders, () => takesBasic(request));
    if (header.kind === 'none' && (accepted === 'none' || accepted === 'api-key-if-sent')) {
      await limits.countAddress(request);
      return ANONYMOUS;
    }
    return asked !== undefined && header.kind === 'text' && secretCredentials.isScopedToken(header.text)
      ? secretCredentials.authenticateToken(request, header.text, asked)
      : byKey(request, header);
  };
}

const NO_CREDENTIAL: CredentialHeader = { kind: 'none' };
const ANONYMOUS: RequestAuth = { kind: 'anonymous', principalId: undefined };

const authOf = (caller: Caller): RequestAuth => ({
  kind: 'api_key',
  principalId: caller.principal.id,
  caller,
});
