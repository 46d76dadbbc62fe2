/**
 * From headers to a caller (contract section 2), before a byte of the body is read. A key that this process
 * has cached costs no bcrypt; one that it does not is admitted per address first.
 */

import type { FastifyRequest } from 'fastify';
import { WritError } from '../../errors.ts';
import { type Authenticator, refusedKey } from '../../use-cases/authentication/authenticate-api-key.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { RateLimits } from './rate-limits.ts';

export type CredentialHeader =
  | { readonly kind: 'none' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ambiguous' };

const API_KEY_HEADER = 'x-api-key';
const AUTHORIZATION = 'authorization';

/**
 * The credential that the headers carry. `X-API-Key` may come twice or comma-joined if all values are the same,
 * because a published plug-in sends it so; anything else that is repeated or that differs is ambiguous.
 */
export function readCredential(rawHeaders: readonly string[]): CredentialHeader {
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
    if (bearer === undefined) return { kind: 'ambiguous' };
    keys.push(bearer);
  }
  const [first] = keys;
  if (first === undefined) return { kind: 'none' };
  return keys.every((key) => key === first) ? { kind: 'text', text: first } : { kind: 'ambiguous' };
}

export interface CredentialCheck {
  /** Sets `state.caller`, or rejects with 401, 429 or 503. */
  requireApiKey(request: FastifyRequest): Promise<void>;
  /** No credential is fine; one that is sent is checked. */
  checkApiKeyIfSent(request: FastifyRequest): Promise<void>;
  /** For public endpoints: counts the address. */
  admitAnonymous(request: FastifyRequest): Promise<void>;
}

export function createCredentialCheck(authenticator: Authenticator, limits: RateLimits): CredentialCheck {
  const authenticate = async (request: FastifyRequest, header: CredentialHeader): Promise<void> => {
    const text = header.kind === 'text' ? header.text : undefined;
    const cached = text === undefined ? undefined : authenticator.cached(text);
    if (cached !== undefined && 'caller' in cached) {
      accept(request, cached.caller);
      await limits.countPrincipal(request);
      return;
    }
    await limits.countAddress(request);
    // A request without any credential guesses nothing, so it is not a failure to count.
    if (header.kind === 'none') throw refusedKey('AUTH_INVALID_KEY');
    await limits.requireFewFailures(request);
    try {
      if (text === undefined) throw refusedKey('AUTH_INVALID_KEY');
      if (cached !== undefined) await authenticator.deny(cached, request.state.context);
      accept(request, await authenticator.verify(text, request.state));
    } catch (error) {
      if (error instanceof WritError && error.kind === 'unauthenticated') await limits.countFailure(request);
      throw error;
    }
    await limits.countPrincipal(request);
  };

  return {
    requireApiKey: (request) => authenticate(request, readCredential(request.raw.rawHeaders)),
    checkApiKeyIfSent: async (request) => {
      const header = readCredential(request.raw.rawHeaders);
      if (header.kind === 'none') return limits.countAddress(request);
      return authenticate(request, header);
    },
    admitAnonymous: (request) => limits.countAddress(request),
  };
}

function accept({ state }: FastifyRequest, caller: Caller): void {
  state.caller = caller;
  state.principalId = caller.principal.id;
}
