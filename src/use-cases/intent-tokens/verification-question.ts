/** What is asked about an intent token: types only. */

import type { ActionDigestToProve } from '../../domain/intent-tokens/proven-digest.ts';
import type { StepToProve } from '../../domain/intent-tokens/proven-step.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import type { Address } from '../../domain/network/ip-address.ts';

/** A token as it was presented. */
export interface PresentedToken {
  readonly jwt: string;
  /** What an SDK's token object says beside its JWT; it must agree with what was signed. */
  readonly statedBeside: readonly {
    readonly member: string;
    readonly claim: string;
    readonly value: JsonValue;
  }[];
}

/** A step that is asked about. It is not read before the token is known to be good: reading it can be work. */
export interface AskedStep {
  readonly stepIndex: number;
  /** Throws `VALIDATION_ERROR` for a proof that has not the form of one. */
  readonly read: () => StepToProve | ActionDigestToProve;
}

/** What is asked of a token that is good. */
export interface TokenQuestion {
  readonly step: AskedStep | undefined;
  /** Uses the step up; needs a step and a caller. */
  readonly consume: boolean;
  /** From which the step is asked for: what the caller says of its own client, else the caller's. */
  readonly clientAddress: Address | undefined;
}

/** The token is judged first: what else is wrong with a question is said of a good token only. */
export interface VerificationRequest {
  readonly token: PresentedToken;
  /** For the trail; undefined where the question names no step, or is malformed. */
  readonly stepIndex: number | undefined;
  /** Throws `VALIDATION_ERROR` for a question that is malformed. */
  readonly read: () => TokenQuestion;
}
