/**
 * The one road of every online verification (contract section 4.6): the token, its row, the decision about what was
 * asked, then for a keyed question what is written of it. A grant that uses something up exists together with its use
 * and its event in one guarded statement; a refusal uses nothing and is put on record as refusals are.
 */

import type { IntentClaims } from '../../domain/intent-tokens/intent-claims.ts';
import type { ProvenStep } from '../../domain/intent-tokens/proven-step.ts';
import { type AskedUse, refuseUse } from '../../domain/intent-tokens/step-uses.ts';
import type { VerificationRefusal } from '../../domain/intent-tokens/verification-code.ts';
import { auditEvent } from '../audit/build-audit-event.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { AuditEvent, EventType, RequestContext } from '../audit/ports.ts';
import type { Authenticator } from '../authentication/authenticate-api-key.ts';
import type { Caller } from '../authentication/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { judgeState, type LiveToken, readClaims, type TokenReadingDeps } from './live-token.ts';
import type { IntentTokenUses, VerificationEvents } from './ports.ts';
import type { PresentedToken } from './verification-question.ts';

export interface AnswerVerificationDeps extends TokenReadingDeps {
  readonly uses: IntentTokenUses;
  readonly verifications: VerificationEvents;
  readonly denialLog: Pick<DenialLog, 'record'>;
  readonly confirm: Authenticator['confirm'];
  readonly newId: () => string;
}

/** What was decided to be allowed, and what it uses up. */
export interface Permit {
  /** Absent where only the token was asked about. */
  readonly step?: ProvenStep;
  readonly use: AskedUse;
}

export const USES_NOTHING: AskedUse = { consumedStep: null, rateLimit: null };

/** Whose API key asks; undefined: anybody, of whom nothing is written and for whom nothing is counted. */
export type Asker = { readonly caller: Caller; readonly context: RequestContext } | undefined;

export interface VerificationQuestion {
  readonly token: PresentedToken;
  readonly asker: Asker;
  readonly eventType: Extract<EventType, 'intent.verified' | 'intent.enforced'>;
  /** Of the event, beside key and code. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** About a token that is good. It may be asked again, with what has changed meanwhile. */
  readonly decide: (token: LiveToken) => Permit | VerificationRefusal;
}

export interface VerificationOutcome {
  readonly refusal?: VerificationRefusal;
  /** Once the token itself is good. */
  readonly claims?: IntentClaims;
  readonly step?: ProvenStep | undefined;
}

/** Rejects with `BUSY`, the codes of a key that is no longer live, those of storage, and what `decide` throws. */
export async function answerVerification(
  deps: AnswerVerificationDeps,
  question: VerificationQuestion,
): Promise<VerificationOutcome> {
  const { token, asker } = question;
  const presented = await readClaims(deps, token);
  // Of a token that is not ours nothing is known, not even its name.
  if (!presented.ok) return refuse(deps, question, { refusal: presented, jti: 'unknown' });
  const { claims } = presented;
  return retryGuardedWrite(async (isFirst) => {
    if (!isFirst && asker !== undefined) await deps.confirm(asker.caller, asker.context);
    const state = await deps.reader.findState(claims.jti);
    const judged = judgeState(state, presented, token);
    return judged.ok
      ? permit(deps, question, judged)
      : refuse(deps, question, { refusal: judged, jti: claims.jti });
  });
}

async function permit(
  deps: AnswerVerificationDeps,
  question: VerificationQuestion,
  live: LiveToken,
): Promise<VerificationOutcome | typeof RETRY> {
  const { claims, state } = live;
  const decided = question.decide(live);
  const refused = (refusal: VerificationRefusal) =>
    refuse(deps, question, { refusal, jti: claims.jti, claims });
  if ('code' in decided) return refused(decided);
  const { step, use } = decided;
  const { asker } = question;
  if (asker === undefined) return use.rateLimit === null ? { claims, step } : refused(UNCOUNTED);
  const event = eventOf(deps, question, asker, { jti: claims.jti, use });
  if (use.consumedStep === null && use.rateLimit === null) {
    const { agentId, agentRole } = state;
    const isWritten = await deps.verifications.append({ event, agentId, agentRole });
    return isWritten ? { claims, step } : RETRY;
  }
  const { jti, rootJti } = claims;
  const { agentRevision } = state;
  const recorded = { ...use, jti, rootJti, agentRevision, callerKeyId: asker.caller.keyId, event };
  if (await deps.uses.record(recorded)) return { claims, step };
  const used = await deps.uses.find(rootJti);
  const spent = used && refuseUse(used, use);
  return spent === undefined ? RETRY : refused(spent);
}

/** A limit that was not counted would be none. */
const UNCOUNTED: VerificationRefusal = {
  code: 'RATE_LIMIT',
  reason: 'The policy has a rate_limit, and only verifications with an API key are counted.',
};

async function refuse(
  { denialLog }: AnswerVerificationDeps,
  { asker, eventType: type, metadata }: VerificationQuestion,
  refused: {
    readonly refusal: VerificationRefusal;
    readonly jti: string;
    readonly claims?: IntentClaims;
  },
): Promise<VerificationOutcome> {
  const { refusal, jti, claims } = refused;
  if (asker !== undefined) {
    await denialLog.record({
      type,
      code: refusal.code,
      actor: asker.caller.principal,
      credentialId: asker.caller.keyId,
      resource: { type: 'intent_token', id: jti },
      metadata,
      context: asker.context,
    });
  }
  const { code, reason } = refusal;
  return { refusal: { code, reason }, ...(claims === undefined ? {} : { claims }) };
}

function eventOf(
  { newId }: AnswerVerificationDeps,
  { eventType: type, metadata }: VerificationQuestion,
  { caller, context }: NonNullable<Asker>,
  { jti, use }: { readonly jti: string; readonly use: AskedUse },
): AuditEvent {
  return auditEvent(caller.principal, context, {
    id: newId(),
    type,
    resource: { type: 'intent_token', id: jti },
    metadata: {
      key_id: caller.keyId,
      code: 'VALID',
      ...metadata,
      ...(use.consumedStep === null ? {} : { consumed: true }),
    },
  });
}
