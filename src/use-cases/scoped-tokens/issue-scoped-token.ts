/**
 * An API key for a short-lived string (contract section 5.1): it opens some secrets, from some addresses, so many
 * times. Never more than its principal may open, and nothing that was asked is cut, widened or left out.
 */

import { literalPaths, type RequestedScopes, requestScopes } from '../../domain/scopes/requested-scopes.ts';
import { formatScope, type Scope } from '../../domain/scopes/scope.ts';
import { MAX_BOUND_SECRETS } from '../../domain/secrets/bound-secrets.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import {
  type MadeScopedToken,
  type MakeScopedTokenDeps,
  makeScopedToken,
  tokenIssuedEvent,
} from './mint-scoped-token.ts';
import {
  type IssueScopedTokenCommand,
  MAX_PENDING,
  type OpenedApproval,
  type RequestApproval,
  type ScopedTokenStore,
} from './ports.ts';

export interface IssuedScopedToken extends MadeScopedToken {
  readonly ttlSeconds: number;
}

export interface IssueScopedTokenDeps extends MakeScopedTokenDeps {
  readonly store: ScopedTokenStore;
  readonly confirm: Authenticator['confirm'];
  readonly denialLog: DenialLog;
  readonly requestApproval: RequestApproval;
}

/**
 * The token, or the approval that has to come first. Rejects with `INVALID_SCOPE`, `SCOPE_DENIED`, and what opening an
 * approval, storage and a dead key reject with.
 */
export type IssueScopedToken = (
  command: IssueScopedTokenCommand,
  caller: Caller,
  context: RequestContext,
) => Promise<IssuedScopedToken | { readonly opened: OpenedApproval }>;

export function createIssueScopedToken(deps: IssueScopedTokenDeps): IssueScopedToken {
  return (command, firstCaller, context) => {
    let caller = firstCaller;
    return retryGuardedWrite(async () => {
      const requested = requestScopes(command.scopes, caller.principal.effectiveScopes);
      if (!requested.ok) {
        // What is remembered of the principal may be a minute old: a refusal rests on its row.
        const fresh = await deps.confirm(caller, context);
        const changed = fresh.principal.revision !== caller.principal.revision;
        caller = fresh;
        return changed ? RETRY : refuse(deps, checkScope(requested, command), caller, context);
      }
      const granted = (await takesApproval(deps, command, requested.scopes))
        ? await open(deps, { command, scopes: requested.scopes }, caller, context)
        : await issue(deps, { command, scopes: requested.scopes }, caller, context);
      if (granted === RETRY) caller = await deps.confirm(caller, context);
      return granted;
    });
  };
}

interface Asked {
  readonly command: IssueScopedTokenCommand;
  readonly scopes: readonly Scope[];
}

/** A scope with `*` opens standard secrets at once; one that names a guarded secret means just that one. */
async function takesApproval(
  deps: IssueScopedTokenDeps,
  { requireApproval }: IssueScopedTokenCommand,
  scopes: readonly Scope[],
): Promise<boolean> {
  if (requireApproval) return true;
  const named = literalPaths(scopes);
  const tier = named.length === 0 ? undefined : await deps.store.highestTier(named);
  return tier !== undefined && tier !== 'standard';
}

async function open(
  deps: IssueScopedTokenDeps,
  asked: Asked,
  caller: Caller,
  context: RequestContext,
): Promise<{ readonly opened: OpenedApproval } | typeof RETRY> {
  const opened = await deps.requestApproval(asked, caller, context);
  if (opened === RETRY) return RETRY;
  if (opened === 'too_many') return refuse(deps, tooMany(), caller, context);
  if (opened === 'too_wide') return refuse(deps, tooWide(asked.command), caller, context);
  return { opened };
}

const tooMany = (): WritError =>
  new WritError('RATE_LIMITED', `At most ${MAX_PENDING} approvals of one agent are pending at once.`, {
    retryAfterSeconds: 60,
  });

const tooWide = ({ scopesMember }: IssueScopedTokenCommand): WritError =>
  new WritError(
    'TOO_MANY_SECRETS',
    `${scopesMember} names more than ${MAX_BOUND_SECRETS} sensitive or critical secrets; an approval is about at most ${MAX_BOUND_SECRETS}: ask with narrower scopes.`,
    { details: { pointer: `/${scopesMember}`, max: MAX_BOUND_SECRETS } },
  );

async function issue(
  deps: IssueScopedTokenDeps,
  { command, scopes }: Asked,
  caller: Caller,
  context: RequestContext,
): Promise<IssuedScopedToken | typeof RETRY> {
  const { text, token } = makeScopedToken(deps, caller, command, scopes.map(formatScope));
  const written = await deps.store.issue(token, tokenIssuedEvent(deps, token, caller, context));
  return written ? { text, token, ttlSeconds: command.ttlSeconds } : RETRY;
}

function checkScope(
  { code, index }: Extract<RequestedScopes, { ok: false }>,
  { scopesMember }: IssueScopedTokenCommand,
): WritError {
  const why =
    code === 'INVALID_SCOPE'
      ? 'is not a scope that a token can have'
      : 'is not covered by what this key may do';
  const place = scopesMember === 'scope' ? 'scope' : `scopes/${index}`;
  return new WritError(code, `${place} ${why}.`, { details: { pointer: `/${place}` } });
}

function refuse(
  deps: IssueScopedTokenDeps,
  error: WritError,
  { principal, keyId }: Caller,
  context: RequestContext,
): Promise<never> {
  const denied = { actor: principal, credentialId: keyId, context };
  const resource = { type: 'agent', id: principal.id };
  return deny(deps.denialLog, denied, error, { type: 'token.denied', resource });
}
