/**
 * Issues an intent token (contract sections 4.1 to 4.5): the plan is assessed, the policies decided for every step,
 * the claims signed; then one guarded statement makes the token exist together with its audit event. The answer
 * follows its commit. Under an idempotency key the same request gets the same token again.
 */

import { distinctActions } from '../../domain/intent-tokens/plan.ts';
import { canonicalText } from '../../domain/json/canonical-json.ts';
import { decidePlan, type PlanDecision } from '../../domain/policies/policy-decision.ts';
import { WritError } from '../../errors.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import { deny } from '../audit/deny.ts';
import type { AuditEvent, RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import type { Clock } from '../ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { type AssessedPlan, assessPlan, type PlanAssessment, type PlanRequest } from './assess-plan.ts';
import { createKeyedMutex } from './idempotency-lock.ts';
import type { IntentTokenStore, TokenSigner } from './ports.ts';
import {
  type Idempotency,
  type IdempotencyKey,
  idempotencyRecordOf,
  idempotencyScope,
  type RepeatIssuanceDeps,
  repeatIssuance,
  requireSameBody,
} from './repeat-issuance.ts';
import {
  type IssuedIntentToken,
  issuanceFields,
  type OnBehalfOf,
  startSigning,
  type UnsignedIntentToken,
} from './sign-intent-token.ts';

export interface IssueIntentTokenDeps extends RepeatIssuanceDeps {
  readonly store: IntentTokenStore;
  readonly signer: () => TokenSigner;
  readonly clock: Clock;
  readonly issuer: string;
  readonly audience: string;
  readonly confirm: Authenticator['confirm'];
  readonly denialLog: DenialLog;
}

export interface IssueIntentTokenCommand extends PlanRequest {
  readonly onBehalfOf: OnBehalfOf;
  readonly dryRun: boolean;
  readonly idempotency: IdempotencyKey | undefined;
}

export type IssueIntentToken = (
  command: IssueIntentTokenCommand,
  caller: Caller,
  context: RequestContext,
) => Promise<PlanAssessment | IssuedIntentToken>;

/**
 * Rejects with the codes of `assessPlan`, with `POLICY_DENIED`, `IDEMPOTENCY_KEY_REUSED`, `IDEMPOTENCY_KEY_SPENT`,
 * `INTEGRITY_ERROR`, `BUSY`, the codes of a key that is no longer live, and those of storage.
 */
export function createIssueIntentToken(deps: IssueIntentTokenDeps): IssueIntentToken {
  const keyedMutex = createKeyedMutex();
  return async (command, caller, context) => {
    const assessed = assessPlan(command, deps.sha256);
    const request: Request = { command, assessed, context };
    if (command.dryRun) return assessOnly(deps, request, caller);
    const { idempotency } = command;
    if (idempotency === undefined) return issueNew(deps, request, caller, undefined);
    const scope = idempotencyScope(idempotency, caller);
    return keyedMutex(JSON.stringify(scope), () =>
      issueNew(deps, request, caller, { scope, ...idempotency }),
    );
  };
}

interface Request {
  readonly command: IssueIntentTokenCommand;
  readonly assessed: AssessedPlan;
  readonly context: RequestContext;
}

/** Everything but signing and recording; the key's row is read, because nothing is written that would judge it. */
async function assessOnly(
  deps: IssueIntentTokenDeps,
  request: Request,
  caller: Caller,
): Promise<PlanAssessment> {
  const confirmed = await deps.confirm(caller, request.context);
  const { idempotency } = request.command;
  const earlier = idempotency && (await deps.store.findIssued(idempotencyScope(idempotency, confirmed)));
  // It takes no key and would give no token.
  requireSameBody(earlier, idempotency);
  const decision = decide(request, confirmed);
  if (!decision.allowed) return denyPlan(deps, request, confirmed, decision);
  return { ...request.assessed.assessment, validation: decision.policy_validation };
}

function issueNew(
  deps: IssueIntentTokenDeps,
  request: Request,
  firstCaller: Caller,
  idempotency: Idempotency | undefined,
): Promise<IssuedIntentToken> {
  let caller = firstCaller;
  return retryGuardedWrite(async () => {
    const earlier = idempotency && (await deps.store.findIssued(idempotency.scope));
    if (earlier !== undefined) {
      caller = await deps.confirm(caller, request.context);
      requireSameBody(earlier, idempotency);
    }
    const decision = decide(request, caller);
    if (!decision.allowed) {
      // What is remembered of the principal may be a minute old: a refusal rests on its row.
      const fresh = await deps.confirm(caller, request.context);
      const changed = fresh.principal.revision !== caller.principal.revision;
      caller = fresh;
      return changed ? RETRY : denyPlan(deps, request, caller, decision);
    }
    const validation = decision.policy_validation;
    const { assessed, command, context } = request;
    const assessment = { ...assessed.assessment, validation };
    if (idempotency !== undefined && earlier !== undefined) {
      const { detailsMember } = assessed;
      const { onBehalfOf } = command;
      const repeated = { assessment, detailsMember, onBehalfOf, idempotency, earlier, caller, context };
      return repeatIssuance(deps, repeated);
    }
    const issued = await issueOnce(deps, request, { assessment, caller, idempotency });
    if (issued === RETRY) {
      caller = await deps.confirm(caller, context);
      // Another process may have changed the key that signs: what is signed next is signed with the one that does now.
      await deps.readKeysAgain();
    }
    return issued;
  });
}

/** Signs, then lets one guarded write judge the key and its agent and the key that signed, and make the token exist. */
async function issueOnce(
  deps: IssueIntentTokenDeps,
  request: Request,
  decided: {
    readonly assessment: PlanAssessment;
    readonly caller: Caller;
    readonly idempotency: Idempotency | undefined;
  },
): Promise<IssuedIntentToken | typeof RETRY> {
  const { assessment, caller, idempotency } = decided;
  const { token, signature } = sign(deps, request, assessment, caller);
  // An idempotency record holds a hash of the JWT, so it waits for the signature.
  const record = idempotency && {
    scope: idempotency.scope,
    record: idempotencyRecordOf(token, (await signature).jwt, idempotency, deps.sha256),
  };
  const isWritten = await deps.store.issue(
    tokenRecordOf(token, request, caller),
    eventOf(deps, token, request, caller),
    record,
  );
  return isWritten ? Object.assign(token, await signature) : RETRY;
}

function decide({ assessed }: Request, { principal }: Caller): PlanDecision {
  const { policy: agentPolicy } = principal;
  return decidePlan(
    [
      { source: 'request', policy: assessed.policy },
      ...(agentPolicy === null ? [] : [{ source: 'agent' as const, policy: agentPolicy }]),
    ],
    assessed.plan.steps,
  );
}

/** One denied step refuses the whole plan, and the refusal is on record before it is answered. */
function denyPlan(
  deps: IssueIntentTokenDeps,
  { assessed, context }: Request,
  { principal, keyId }: Caller,
  { policy_validation: validation }: PlanDecision,
): Promise<never> {
  const error = new WritError('POLICY_DENIED', 'The policy denies a step of this plan.', {
    members: { policy_validation: validation },
  });
  return deny(deps.denialLog, { actor: principal, credentialId: keyId, context }, error, {
    type: 'intent.denied',
    resource: { type: 'plan', id: assessed.assessment.digest.planHashHex },
    metadata: { denied_tools: validation.denied_tools.slice(0, 20) },
  });
}

function sign(
  deps: IssueIntentTokenDeps,
  { command, assessed }: Request,
  assessment: PlanAssessment,
  { principal, keyId }: Caller,
): ReturnType<typeof startSigning> {
  const { onBehalfOf } = command;
  const { detailsMember, validitySeconds } = assessed;
  const fields = issuanceFields(deps, keyId, validitySeconds);
  const signer = deps.signer();
  return startSigning({ assessment, detailsMember, onBehalfOf, principal, fields, signer }, deps.sha256);
}

function tokenRecordOf(issued: UnsignedIntentToken, { assessed }: Request, { principal, keyId }: Caller) {
  return {
    jti: issued.jti,
    planId: issued.planId,
    agentId: principal.id,
    keyId,
    agentRevision: principal.revision,
    kid: issued.signer.kid,
    planHashHex: issued.digest.planHashHex,
    merkleRootHex: issued.digest.merkleRootHex,
    treeSize: issued.digest.treeSize,
    policyText: issued.policyText,
    actionsText: canonicalText(distinctActions(assessed.plan)),
    issuedAtSeconds: issued.issuedAtSeconds,
    expiresAtSeconds: issued.expiresAtSeconds,
  };
}

function eventOf(
  deps: IssueIntentTokenDeps,
  issued: UnsignedIntentToken,
  { command, context }: Request,
  { principal, keyId }: Caller,
): AuditEvent {
  const { userId, agentId, contextId, userEmail } = command.onBehalfOf;
  return auditEvent(principal, context, {
    id: deps.newId(),
    type: 'intent.issued',
    resource: { type: 'intent_token', id: issued.jti },
    metadata: {
      key_id: keyId,
      plan_id: issued.planId,
      plan_hash: issued.digest.planHashHex,
      user_id: userId,
      agent_id: agentId,
      context_id: contextId,
      user_email: userEmail,
      ...(command.metadata === undefined ? {} : { metadata: command.metadata }),
    },
  });
}
