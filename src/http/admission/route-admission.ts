/** Who may come in: what stands between a request's headers and its body, for each kind of route. */

import type { FastifyRequest } from 'fastify';
import type { Role } from '../../domain/principals/role.ts';
import { WritError } from '../../errors.ts';
import type { Authenticator } from '../../use-cases/authentication/authenticate-api-key.ts';
import type { DenyCaller } from '../../use-cases/authentication/deny-caller.ts';
import type { SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import type { CredentialCheck } from './authenticate-request.ts';
import type { BearerCheck } from './secret-credentials.ts';

export interface AdmittanceDeps {
  readonly credentials: CredentialCheck;
  readonly bearers: BearerCheck;
  readonly authenticator: Authenticator;
  readonly denyCaller: DenyCaller;
}

/** What admission needs to know of a route. */
export type Admitted =
  | {
      readonly credential: 'scoped-token-or-api-key';
      readonly operation: (request: FastifyRequest) => SecretRequest;
    }
  | { readonly method: string; readonly url: string; readonly credential: 'none' | 'api-key-if-sent' }
  | {
      readonly method: string;
      readonly url: string;
      readonly credential: 'api-key';
      readonly roles: readonly Role[];
      readonly keyCheck: 'before-handler' | 'in-write';
    };

export async function admit(route: Admitted, request: FastifyRequest, deps: AdmittanceDeps): Promise<void> {
  if (route.credential === 'none') return deps.credentials.admitAnonymous(request);
  if (route.credential === 'scoped-token-or-api-key')
    return deps.bearers.admit(request, route.operation(request));
  if (route.credential === 'api-key-if-sent') await deps.credentials.checkApiKeyIfSent(request);
  else await deps.credentials.requireApiKey(request);
  const { state } = request;
  if (state.caller === undefined) return;
  if (route.credential !== 'api-key' || route.keyCheck === 'before-handler') {
    state.caller = await deps.authenticator.confirm(state.caller, state.context);
  }
  if (route.credential === 'api-key' && !route.roles.includes(state.caller.principal.role)) {
    if (route.keyCheck === 'in-write') await deps.authenticator.confirm(state.caller, state.context);
    const { role } = state.caller.principal;
    const what = {
      type: 'endpoint',
      id: `${route.method} ${route.url}`,
      why: `A key of role ${role} may not do this.`,
    };
    await deps.denyCaller.forbid(state.caller, state.context, what);
  }
}

/**
 * A guarded write judges the key where it has an effect; a refusal has none, so the key's row is read before it is
 * answered: a revoked key is told that it is revoked, whatever else is wrong. What is thrown goes on to the server's
 * own handler.
 */
export function confirmBeforeRefusing(authenticator: Authenticator) {
  return async (error: unknown, request: FastifyRequest): Promise<never> => {
    const { caller, context } = request.state;
    // A 401 is the answer of such a reading already: a second one would count the refusal twice.
    const unconfirmed =
      !(error instanceof WritError) || (error.status < 500 && error.kind !== 'unauthenticated');
    if (caller !== undefined && unconfirmed) await authenticator.confirm(caller, context);
    throw error;
  };
}
