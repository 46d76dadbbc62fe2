/**
 * Issues an intent token (contract sections 4.1 to 4.5): the plan is canonicalised, hashed and put into a Merkle
 * tree, the policy decided for every step, the claims signed; then one guarded statement makes the token exist
 * together with its audit event. The answer follows its commit.
 */

import { canonicalJson, canonicalText } from '../domain/canonical-json.ts';
import { faultOfMetadata } from '../domain/free-object.ts';
import type { Sha256 } from '../domain/hashing.ts';
import { type Plan, parsePlan } from '../domain/plan.ts';
import { digestPlan, MAX_CANONICAL_PLAN_BYTES, type PlanDigest } from '../domain/plan-digest.ts';
import { type Policy, parsePolicy } from '../domain/policy.ts';
import { decidePlan, type PolicyValidation } from '../domain/policy-decision.ts';
import type { JsonObject, JsonValue } from '../domain/strict-json.ts';
import { readValiditySeconds } from '../domain/ttl.ts';
import { WritError } from '../errors.ts';
import type { Authenticator } from './authenticate.ts';
import type { Caller, Clock, IntentTokenStore, RequestContext, TokenSigner } from './ports.ts';
import type { RefusalRecorder } from './record-refusal.ts';

/** For verifiers whose clock is behind ours. */
const NOT_BEFORE_LEEWAY_SECONDS = 5;
const MAX_ATTEMPTS = 3;
/** Signed in this form when a request has no policy. */
const DEFAULT_POLICY: JsonValue = { allow: ['*'], deny: [] };

export interface IssueIntentTokenDeps {
  readonly store: IntentTokenStore;
  readonly signer: () => TokenSigner;
  readonly sha256: Sha256;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly issuer: string;
  readonly audience: string;
  readonly confirm: Authenticator['confirm'];
  readonly refusals: RefusalRecorder;
}

export interface IssueIntentTokenCommand {
  readonly plan: JsonValue;
  /** Undefined means everything is allowed. */
  readonly policy: JsonValue | undefined;
  /** Numbers of plan and policy that were written non-zero and read as 0; from `readStrictJson`. */
  readonly underflowed: ReadonlySet<object>;
  /** Two spellings of one number; absent means 60 seconds. */
  readonly validity: {
    readonly expires_in: number | undefined;
    readonly validity_seconds: number | undefined;
  };
  readonly onBehalfOf: OnBehalfOf;
  readonly metadata: JsonObject | undefined;
  readonly dryRun: boolean;
}

/** The caller's statement; no decision rests on it. */
export interface OnBehalfOf {
  readonly userId: string | null;
  readonly agentId: string | null;
  readonly contextId: string | null;
  readonly userEmail: string | null;
}

/** What is known of a plan before anything is signed: the answer of a dry run. */
export interface PlanAssessment {
  readonly digest: PlanDigest;
  readonly policyJson: JsonValue;
  readonly policyText: string;
  readonly policyHashHex: string;
  readonly validation: PolicyValidation;
  readonly totalSteps: number;
}

export interface IssuedIntentToken extends PlanAssessment {
  readonly jwt: string;
  readonly signatureHex: string;
  readonly jti: string;
  readonly planId: string;
  readonly issuedAtSeconds: number;
  readonly expiresAtSeconds: number;
  readonly compositeIdentityHex: string;
  readonly signer: TokenSigner;
}

export type IssueIntentToken = (
  command: IssueIntentTokenCommand,
  caller: Caller,
  context: RequestContext,
) => Promise<PlanAssessment | IssuedIntentToken>;

/**
 * Rejects with `INVALID_TTL`, `TTL_OUT_OF_RANGE`, `VALIDATION_ERROR`, `INVALID_PLAN`, `INVALID_POLICY`, `PLAN_NOT_CANONICALIZABLE`, `PAYLOAD_TOO_LARGE`, `POLICY_DENIED`,
 * `FORBIDDEN`, the codes of a key that is no longer live, and those of storage.
 */
export function createIssueIntentToken(deps: IssueIntentTokenDeps): IssueIntentToken {
  return async (command, firstCaller, context) => {
    const prepared = prepare(command, deps.sha256);
    let caller = firstCaller;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const validation = await decide(deps, prepared, caller, context);
      const assessment: PlanAssessment = { ...prepared.assessment, validation };
      if (command.dryRun) {
        const confirmed = await deps.confirm(caller);
        if (confirmed.principal.revision === caller.principal.revision) return assessment;
        caller = confirmed;
        continue;
      }
      const issued = sign(deps, { command, validitySeconds: prepared.validitySeconds, assessment, caller });
      if (await record(deps, { command, issued, caller, context, plan: prepared.plan })) return issued;
      caller = await deps.confirm(caller);
    }
    throw new WritError('BUSY', 'The principal keeps changing; try again.', { retryAfterSeconds: 1 });
  };
}

interface Prepared {
  readonly plan: Plan;
  readonly policy: Policy;
  readonly validitySeconds: number;
  readonly assessment: Omit<PlanAssessment, 'validation'>;
}

function prepare(command: IssueIntentTokenCommand, sha256: Sha256): Prepared {
  const validitySeconds = readValidity(command.validity);
  checkMetadata(command.metadata);
  const plan = parsePlan(command.plan);
  if (!plan.ok) throw new WritError('INVALID_PLAN', plan.message, { details: { pointer: plan.pointer } });
  const policyJson: JsonValue = command.policy ?? DEFAULT_POLICY;
  const policy = parsePolicy(policyJson);
  if (!policy.ok) {
    throw new WritError('INVALID_POLICY', `policy${policy.pointer}: ${policy.message}`, {
      details: { pointer: `/policy${policy.pointer}` },
    });
  }
  const digested = digestPlan(plan.plan, sha256, command.underflowed);
  if (!digested.ok) throw notCanonicalizable('plan', digested.reason);
  if (digested.digest.canonicalText.length > MAX_CANONICAL_PLAN_BYTES) {
    throw new WritError(
      'PAYLOAD_TOO_LARGE',
      `The canonical plan is larger than ${MAX_CANONICAL_PLAN_BYTES} bytes.`,
    );
  }
  const policyText = canonicalJson(policyJson, command.underflowed);
  if (!policyText.ok) throw notCanonicalizable('policy', policyText.reason);
  return {
    plan: plan.plan,
    policy: policy.policy,
    validitySeconds,
    assessment: {
      digest: digested.digest,
      policyJson,
      policyText: policyText.text,
      policyHashHex: sha256.hex(policyText.text),
      totalSteps: plan.plan.steps.length,
    },
  };
}

function readValidity({
  expires_in: short,
  validity_seconds: long,
}: IssueIntentTokenCommand['validity']): number {
  const pointer = short === undefined ? '/validity_seconds' : '/expires_in';
  if (short !== undefined && long !== undefined && short !== long) {
    throw new WritError('VALIDATION_ERROR', 'expires_in and validity_seconds differ; give one of them.', {
      details: { pointer },
    });
  }
  const read = readValiditySeconds(short ?? long);
  if (read.ok) return read.seconds;
  throw new WritError(read.code, 'A validity is a whole number of seconds from 1 to 86400.', {
    details: { pointer },
  });
}

function checkMetadata(metadata: JsonObject | undefined): void {
  const fault = metadata === undefined ? undefined : faultOfMetadata(metadata);
  if (fault === undefined) return;
  throw new WritError('VALIDATION_ERROR', `metadata ${fault}.`, { details: { pointer: '/metadata' } });
}

function notCanonicalizable(where: 'plan' | 'policy', reason: string): WritError {
  return new WritError('PLAN_NOT_CANONICALIZABLE', `The ${where} has no canonical form: ${reason}.`, {
    details: { reason, pointer: `/${where}` },
  });
}

/** One denied step refuses the whole plan, and the refusal is on record before it is answered. */
async function decide(
  deps: IssueIntentTokenDeps,
  { plan, policy, assessment }: Prepared,
  caller: Caller,
  context: RequestContext,
): Promise<PolicyValidation> {
  const agentPolicy = caller.principal.policy;
  const decision = decidePlan(
    [
      { source: 'request', policy },
      ...(agentPolicy === null ? [] : [{ source: 'agent' as const, policy: agentPolicy }]),
    ],
    plan.steps,
  );
  if (decision.allowed) return decision.policy_validation;
  await deps.refusals.record({
    eventType: 'intent.denied',
    code: 'POLICY_DENIED',
    actor: { id: caller.principal.id, type: caller.principal.role },
    credentialId: caller.keyId,
    resource: { type: 'plan', id: assessment.digest.planHashHex },
    metadata: { denied_tools: decision.policy_validation.denied_tools.slice(0, 20) },
    context,
  });
  throw new WritError('POLICY_DENIED', 'The policy denies a step of this plan.', {
    members: { policy_validation: decision.policy_validation },
  });
}

function sign(
  deps: IssueIntentTokenDeps,
  made: {
    command: IssueIntentTokenCommand;
    validitySeconds: number;
    assessment: PlanAssessment;
    caller: Caller;
  },
): IssuedIntentToken {
  const { command, validitySeconds, assessment, caller } = made;
  const { onBehalfOf } = command;
  const { digest, policyJson, policyHashHex } = assessment;
  const issuedAtSeconds = Math.floor(deps.clock.now().getTime() / 1000);
  const expiresAtSeconds = issuedAtSeconds + validitySeconds;
  const jti = deps.newId();
  const identity = {
    user_id: onBehalfOf.userId,
    agent_id: onBehalfOf.agentId,
    context_id: onBehalfOf.contextId,
    api_key_id: caller.keyId,
  };
  const signer = deps.signer();
  const claims = {
    iss: deps.issuer,
    sub: onBehalfOf.userId ?? caller.principal.id,
    client_id: caller.principal.id,
    aud: deps.audience,
    iat: issuedAtSeconds,
    nbf: issuedAtSeconds - NOT_BEFORE_LEEWAY_SECONDS,
    exp: expiresAtSeconds,
    jti,
    token_use: 'intent',
    plan_hash: digest.planHashHex,
    merkle_root: digest.merkleRootHex,
    tree_size: digest.treeSize,
    policy: policyJson,
    policy_hash: policyHashHex,
    identity,
  };
  return {
    ...assessment,
    ...signer.signJwt(JSON.stringify(claims)),
    jti,
    planId: deps.newId(),
    issuedAtSeconds,
    expiresAtSeconds,
    compositeIdentityHex: deps.sha256.hex(canonicalText(identity)),
    signer,
  };
}

function record(
  deps: IssueIntentTokenDeps,
  made: {
    command: IssueIntentTokenCommand;
    issued: IssuedIntentToken;
    caller: Caller;
    context: RequestContext;
    plan: Plan;
  },
): Promise<boolean> {
  const { command, issued, caller, context, plan } = made;
  const { userId, agentId, contextId, userEmail } = command.onBehalfOf;
  return deps.store.issue(
    {
      jti: issued.jti,
      planId: issued.planId,
      agentId: caller.principal.id,
      keyId: caller.keyId,
      agentRevision: caller.principal.revision,
      kid: issued.signer.kid,
      planHashHex: issued.digest.planHashHex,
      merkleRootHex: issued.digest.merkleRootHex,
      treeSize: issued.digest.treeSize,
      policyText: issued.policyText,
      actionsText: canonicalText(distinctActions(plan)),
      issuedAtSeconds: issued.issuedAtSeconds,
      expiresAtSeconds: issued.expiresAtSeconds,
    },
    {
      id: deps.newId(),
      eventType: 'intent.issued',
      actorId: caller.principal.id,
      actorType: caller.principal.role,
      resourceType: 'intent_token',
      resourceId: issued.jti,
      metadata: {
        key_id: caller.keyId,
        plan_id: issued.planId,
        plan_hash: issued.digest.planHashHex,
        user_id: userId,
        agent_id: agentId,
        context_id: contextId,
        user_email: userEmail,
        ...(command.metadata === undefined ? {} : { metadata: command.metadata }),
      },
      ipAddress: context.ipAddress,
      requestId: context.requestId,
    },
  );
}

/** What online verification needs to know of the plan, and nothing else of it (contract 4.6). */
function distinctActions(plan: Plan): JsonValue[] {
  const pairs = new Map<string, JsonValue>();
  for (const { mcp, action } of plan.steps) pairs.set(`${mcp ?? ''}\u0000${action}`, [mcp ?? null, action]);
  return [...pairs.values()];
}
