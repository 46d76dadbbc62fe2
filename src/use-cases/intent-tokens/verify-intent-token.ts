/**
 * Is this token good, and is this step one of its plan's that may be carried out now? (contract section 4.6). Every
 * well-formed question is answered. With `consume` a step is good once, for all that hold the token or a delegation of it.
 */

import type { Sha256 } from '../../domain/crypto/hashing.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { Caller } from '../authentication/ports.ts';
import {
  type AnswerVerificationDeps,
  answerVerification,
  type VerificationOutcome,
} from './answer-verification.ts';
import { decideTokenStep } from './decide-token-step.ts';
import type { VerificationRequest } from './verification-question.ts';

export interface VerifyIntentTokenDeps extends AnswerVerificationDeps {
  readonly sha256: Sha256;
}

/** `caller` undefined: anybody may ask, but only a keyed verification is put on record and counted. */
export type VerifyIntentToken = (
  question: VerificationRequest,
  caller: Caller | undefined,
  context: RequestContext,
) => Promise<VerificationOutcome>;

export function createVerifyIntentToken(deps: VerifyIntentTokenDeps): VerifyIntentToken {
  return (question, caller, context) => {
    const { token, stepIndex } = question;
    return answerVerification(deps, {
      token,
      asker: caller && { caller, context },
      eventType: 'intent.verified',
      metadata: stepIndex === undefined ? {} : { step_index: stepIndex },
      decide: (live) => {
        const nowSeconds = deps.clock.now().getTime() / 1000;
        return decideTokenStep(live, question.read(), { nowSeconds, sha256: deps.sha256 });
      },
    });
  };
}
