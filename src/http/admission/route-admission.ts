/**
 * What stands between a request's headers and its body: who calls, how often they may, what they may. Each request is
 * authenticated once and authorized once, here; everything after reads `request.auth` and `request.authorized`.
 */

import type { FastifyRequest } from 'fastify';
import type { Role } from '../../domain/principals/role.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../../use-cases/audit/denial-log.ts';
import type { RequestContext } from '../../use-cases/audit/ports.ts';
import type { Authenticator } from '../../use-cases/authentication/authenticate-api-key.ts';
import type { DenyCaller } from '../../use-cases/authentication/deny-caller.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import type { Authorized } from '../server/request-auth.ts';
import type { AuthenticateRequest } from './authenticate-request.ts';
import type { RateLimits } from './rate-limits.ts';
import { type Endpoint, recordRefusal } from './refusals-on-record.ts';
import type { SecretCredentials } from './secret-credentials.ts';

export interface AdmissionDeps {
  readonly authenticate: AuthenticateRequest;
  readonly secretCredentials: Pick<SecretCredentials, 'authorizeSecrets'>;
  readonly limits: Pick<RateLimits, 'countPrincipal'>;
  readonly confirm: Authenticator['confirm'];
  readonly denyCaller: DenyCaller;
  readonly denialLog: Pick<DenialLog, 'record'>;
}

/** Who may call a route. */
export type RouteAccess =
  /** `api-key-if-sent`: none is fine, a wrong one is 401. */
  | { readonly credential: 'none' | 'api-key-if-sent' }
  | {
      readonly credential: 'scoped-token-or-api-key';
      /** What the request is about, as far as it can be told before the body. */
      readonly operation: (request: FastifyRequest) => SecretRequest;
    }
  | {
      readonly credential: 'api-key';
      readonly method: string;
      readonly url: string;
      readonly roles: readonly Role[];
      /** `before-handler`: the key's row is read first. `in-write`: the write at the end judges it in its own statement. */
      readonly keyCheck: 'before-handler' | 'in-write';
    };

/** Before a byte of the body is read. */
export async function checkAccess(
  access: RouteAccess,
  request: FastifyRequest,
  deps: AdmissionDeps,
): Promise<void> {
  const asked = access.credential === 'scoped-token-or-api-key' ? access.operation(request) : undefined;
  request.auth = await deps.authenticate(request, access.credential, asked);
  if (request.auth.kind !== 'anonymous') await deps.limits.countPrincipal(request);
  request.authorized = await authorize(access, request, asked, deps);
}

/** Rejects with 401, 403 and what else the credential's own checks refuse. */
function authorize(
  access: RouteAccess,
  request: FastifyRequest,
  asked: SecretRequest | undefined,
  deps: AdmissionDeps,
): Promise<Authorized> {
  if (asked !== undefined) return authorizeSecrets(request, asked, deps);
  const { auth } = request;
  if (auth?.kind !== 'api_key') return Promise.resolve(ANYONE);
  return authorizeCaller(access, auth.caller, request, deps);
}

async function authorizeSecrets(
  request: FastifyRequest,
  asked: SecretRequest,
  { secretCredentials }: AdmissionDeps,
): Promise<Authorized> {
  return { kind: 'secrets', authorized: await secretCredentials.authorizeSecrets(request, asked) };
}

async function authorizeCaller(
  access: RouteAccess,
  known: Caller,
  request: FastifyRequest,
  deps: AdmissionDeps,
): Promise<Authorized> {
  const { context } = request.state;
  const inWrite = access.credential === 'api-key' && access.keyCheck === 'in-write';
  const caller = inWrite ? known : await deps.confirm(known, context);
  if (access.credential !== 'api-key' || access.roles.includes(caller.principal.role)) {
    return { kind: 'caller', caller };
  }
  // No write will judge the key, so its row is read: a dead one is told that it is dead.
  if (inWrite) await deps.confirm(caller, context);
  return forbid(access, caller, context, deps);
}

const ANYONE: Authorized = { kind: 'anyone' };

function forbid(
  { method, url }: { readonly method: string; readonly url: string },
  caller: Caller,
  context: RequestContext,
  { denyCaller }: AdmissionDeps,
): Promise<never> {
  return denyCaller.forbid(caller, context, {
    type: 'endpoint',
    id: `${method} ${url}`,
    why: `A key of role ${caller.principal.role} may not do this.`,
  });
}

/**
 * What is thrown goes on to the server's own handler, once it is on record. A guarded write judges the key where it has
 * an effect; a refusal has none, so the key's row is read before it is answered: a revoked key is told that it is
 * revoked, whatever else is wrong.
 */
export function beforeRefusing(access: RouteAccess, endpoint: Endpoint, deps: AdmissionDeps) {
  const inWrite = access.credential === 'api-key' && access.keyCheck === 'in-write';
  const operation = access.credential === 'scoped-token-or-api-key' ? access.operation : undefined;
  return async (error: unknown, request: FastifyRequest): Promise<never> => {
    const refusal = inWrite ? await confirmed(error, request, deps.confirm) : error;
    await recordRefusal(refusal, request, { operation, endpoint, denialLog: deps.denialLog });
    throw refusal;
  };
}

/** What to refuse with: `error`, unless the key is dead. */
async function confirmed(
  error: unknown,
  { auth, state }: FastifyRequest,
  confirm: Authenticator['confirm'],
): Promise<unknown> {
  // These are answers of such a reading already: a second one would count the refusal twice.
  const unconfirmed =
    !(error instanceof WritError) ||
    (error.status < 500 && error.kind !== 'unauthenticated' && error.code !== 'EMERGENCY_STOP');
  if (auth?.kind !== 'api_key' || !unconfirmed) return error;
  return confirm(auth.caller, state.context).then(
    () => error,
    (reason: unknown) => reason,
  );
}
