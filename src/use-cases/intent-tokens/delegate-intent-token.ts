/**
 * Passes an intent token on, narrower (contract section 4.7): the parent is verified and read, what may be left of it
 * decided, the child signed; then one guarded statement makes the child exist beneath its live parent, with its event.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import type { Ed25519Jwk } from '../../domain/crypto/jwk.ts';
import { keyUri } from '../../domain/intent-tokens/delegate-key.ts';
import { delegationDepth } from '../../domain/intent-tokens/delegated-claims.ts';
import { decideDelegation } from '../../domain/intent-tokens/delegation.ts';
import { canonicalText } from '../../domain/json/canonical-json.ts';
import type { JsonObject } from '../../domain/json/strict-json.ts';
import { parseAgentPolicy } from '../../domain/policies/policy.ts';
import { decidePlan, type PolicyValidation } from '../../domain/policies/policy-decision.ts';
import { isWithinReach } from '../../domain/principals/token-holder.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { AuditEvent, RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { judgeState, type LiveToken, readClaims, type TokenReadingDeps } from './live-token.ts';
import type { DelegationStore, TokenSigner } from './ports.ts';
import { type SignedDelegation, signDelegation } from './sign-delegation.ts';
import type { PresentedToken } from './verification-question.ts';

export interface DelegateIntentTokenDeps extends TokenReadingDeps {
  readonly store: DelegationStore;
  readonly signer: () => TokenSigner;
  readonly sha256: Sha256;
  readonly newId: () => string;
  readonly confirm: Authenticator['confirm'];
  readonly denialLog: DenialLog;
}

export interface DelegateIntentTokenCommand {
  readonly token: PresentedToken;
  readonly delegateKey: Ed25519Jwk;
  readonly validitySeconds: number;
  /** Undefined: all of the parent's. Never empty. */
  readonly allowedActions: readonly string[] | undefined;
  /** What the caller calls the delegate; no decision rests on it. */
  readonly targetAgent: string | undefined;
  /** Recorded in the audit trail, not signed. */
  readonly subtask: JsonObject | undefined;
}

export interface DelegatedIntentToken extends SignedDelegation {
  readonly planId: string;
  /** Whose authority it is, also where an admin passes it on. */
  readonly principal: { readonly id: string; readonly name: string };
  readonly allowedActions: readonly string[];
  readonly validation: PolicyValidation;
}

/**
 * Rejects with `TOKEN_INVALID`, `TOKEN_EXPIRED`, `TOKEN_REVOKED`, `SCOPE_DENIED`, `POLICY_DENIED`, `FORBIDDEN`,
 * `PAYLOAD_TOO_LARGE`, `BUSY`, the codes of a key that is no longer live, and those of storage.
 */
export type DelegateIntentToken = (
  command: DelegateIntentTokenCommand,
  caller: Caller,
  context: RequestContext,
) => Promise<DelegatedIntentToken>;

interface Request {
  readonly command: DelegateIntentTokenCommand;
  readonly caller: Caller;
  readonly context: RequestContext;
}

export function createDelegateIntentToken(deps: DelegateIntentTokenDeps): DelegateIntentToken {
  return (command, firstCaller, context) => {
    let caller = firstCaller;
    return retryGuardedWrite(async () => {
      const delegated = await delegateOnce(deps, { command, caller, context });
      if (delegated === RETRY) {
        caller = await deps.confirm(caller, context);
        await deps.readKeysAgain();
      }
      return delegated;
    });
  };
}

async function delegateOnce(
  deps: DelegateIntentTokenDeps,
  request: Request,
): Promise<DelegatedIntentToken | typeof RETRY> {
  const parent = await readParent(deps, request);
  const narrowed = await narrow(deps, request, parent);
  const signed = await signDelegation(deps, { ...request, ...narrowed, parent });
  const written = await deps.store.delegate(
    {
      jti: signed.jti,
      parentJti: parent.claims.jti,
      parentAgentRevision: parent.state.agentRevision,
      keyId: request.caller.keyId,
      callerRevision: request.caller.principal.revision,
      kid: signed.signer.kid,
      actionsText: canonicalText(narrowed.pairs.map((pair) => [...pair])),
      issuedAtSeconds: signed.issuedAtSeconds,
      expiresAtSeconds: signed.expiresAtSeconds,
    },
    eventOf(deps, request, parent, signed),
  );
  if (written === undefined) return RETRY;
  const { planId, agentId: id } = parent.state;
  const { allowedActions, validation } = narrowed;
  return { ...signed, planId, principal: { id, name: written.agentName }, allowedActions, validation };
}

/** To whoever may not delegate it, a token is like one that never was. */
async function readParent(deps: DelegateIntentTokenDeps, request: Request): Promise<LiveToken> {
  const { token } = request.command;
  const read = await readClaims(deps, token);
  if (!read.ok) return denyDelegation(deps, request, new WritError(read.code, read.reason));
  const { claims } = read;
  const { principal } = request.caller;
  const state = isWithinReach(principal, claims.clientId)
    ? await deps.reader.findState(claims.jti)
    : undefined;
  const judged = judgeState(state, read, token);
  if (judged.ok) return judged;
  return denyDelegation(deps, request, new WritError(judged.code, judged.reason), claims.jti);
}

interface Narrowed {
  readonly allowedActions: readonly string[];
  readonly expiresAtSeconds: number;
  readonly issuedAtSeconds: number;
  /** Of the plan, as far as they are left. */
  readonly pairs: readonly (readonly [mcp: string | null, action: string])[];
  readonly validation: PolicyValidation;
}

async function narrow(
  deps: DelegateIntentTokenDeps,
  request: Request,
  { claims, state }: LiveToken,
): Promise<Narrowed> {
  const plan = JSON.parse(state.actionsText) as [string | null, string][];
  const { expiresAtSeconds, allowedActions: own, all, jti } = claims;
  const issuedAtSeconds = Math.floor(deps.clock.now().getTime() / 1000);
  const parent = {
    expiresAtSeconds,
    allowedActions: own,
    planActions: plan.map(([, action]) => action),
    depth: delegationDepth(all),
  };
  const decided = decideDelegation(parent, request.command, issuedAtSeconds);
  if (!decided.ok) return denyDelegation(deps, request, refusalOf(decided), jti);
  const allowed = new Set(decided.allowedActions);
  const pairs = plan.filter(([, action]) => allowed.has(action));
  const validation = await requirePolicy(deps, request, { claims, state }, pairs);
  return { ...decided, issuedAtSeconds, pairs, validation };
}

/** The operator's present word: what it denies now is not passed on either. */
async function requirePolicy(
  deps: DelegateIntentTokenDeps,
  request: Request,
  { claims, state }: LiveToken,
  pairs: Narrowed['pairs'],
): Promise<PolicyValidation> {
  const { agentPolicyText: text } = state;
  const policy = text === null ? undefined : parseAgentPolicy(JSON.parse(text));
  if (policy?.ok === false) throw new Error(`agent ${state.agentId} has a policy that does not parse`);
  const decision = decidePlan(
    policy === undefined ? [] : [{ source: 'agent', policy: policy.policy }],
    pairs.map(([mcp, action]) => ({ mcp: mcp ?? undefined, action })),
  );
  const { allowed, policy_validation: validation } = decision;
  if (allowed) return validation;
  const error = new WritError('POLICY_DENIED', 'The operator’s policy denies an action of this delegation.', {
    members: { policy_validation: validation },
  });
  return denyDelegation(deps, request, error, claims.jti);
}

function refusalOf(decided: Extract<ReturnType<typeof decideDelegation>, { ok: false }>): WritError {
  if (decided.code === 'FORBIDDEN')
    return new WritError('FORBIDDEN', 'The token was delegated as often as a token can be.');
  return new WritError('SCOPE_DENIED', 'allowed_actions has an action that the token does not allow.', {
    details: { pointer: '/allowed_actions', actions: decided.excess.slice(0, MAX_NAMED) },
  });
}

/** Of what an answer or an event names of a list. */
const MAX_NAMED = 20;

function denyDelegation(
  deps: DelegateIntentTokenDeps,
  { caller, context }: Request,
  error: WritError,
  jti = 'unknown',
): Promise<never> {
  const denied = { actor: caller.principal, credentialId: caller.keyId, context };
  const resource = { type: 'intent_token', id: jti };
  return deny(deps.denialLog, denied, error, { type: 'intent.denied', resource });
}

function eventOf(
  deps: DelegateIntentTokenDeps,
  { command, caller, context }: Request,
  { claims, state }: LiveToken,
  signed: SignedDelegation,
): AuditEvent {
  const { targetAgent, subtask, delegateKey } = command;
  return auditEvent(caller.principal, context, {
    id: deps.newId(),
    type: 'intent.delegated',
    resource: { type: 'intent_token', id: signed.jti },
    metadata: {
      key_id: caller.keyId,
      agent_id: state.agentId,
      parent_jti: claims.jti,
      root_jti: claims.rootJti,
      delegate: keyUri(delegateKey, deps.sha256),
      allowed_actions: signed.allowedActions.slice(0, MAX_NAMED),
      allowed_actions_count: signed.allowedActions.length,
      ...(targetAgent === undefined ? {} : { target_agent: targetAgent }),
      ...(subtask === undefined ? {} : { subtask }),
    },
  });
}
