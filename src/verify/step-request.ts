/**
 * What a program asks about one step. A request that the program itself put wrongly is a `TypeError`; whatever the
 * holder of the token may have sent is refused with a code.
 */

import type { StepToProve } from '../domain/intent-tokens/proven-step.ts';
import { parseStepProof } from '../domain/intent-tokens/step-proof.ts';
import { MAX_JSON_DEPTH } from '../domain/json/json-scanner.ts';
import type { JsonObject, JsonValue } from '../domain/json/strict-json.ts';
import { VerificationError } from './verification-error.ts';

/** Members of every request. */
interface StepRequestBase {
  /** Counted from 0. */
  readonly stepIndex: number;
  /** `step_proofs[stepIndex]` of the answer that held the token, or the list in its `proof`. */
  readonly proof: unknown;
  /** The address from which the step is asked for; required where the policy has `ip_whitelist`. */
  readonly clientIp?: string | undefined;
  /**
   * Nothing counts uses offline, so a token whose policy has `rate_limit` is refused. True accepts it all the same,
   * for callers that count, by `rootJti`, themselves.
   */
  readonly acceptUncounted?: boolean | undefined;
}

/** Proves the step with its `mcp` and every parameter. */
export interface WholeStepRequest extends StepRequestBase {
  /** The step as it stands in the plan, parsed from JSON. */
  readonly step: object;
  /** Refused if the step's is another. */
  readonly action?: string | undefined;
  /** Refused if the step's is another, or if it has none. */
  readonly mcp?: string | undefined;
}

/** Proves the action alone: neither its `mcp` nor its parameters. */
export interface ActionRequest extends StepRequestBase {
  readonly action: string;
  readonly step?: undefined;
  readonly mcp?: undefined;
}

export type StepRequest = WholeStepRequest | ActionRequest;

const MEMBERS: ReadonlySet<string> = new Set<keyof WholeStepRequest>([
  'stepIndex',
  'proof',
  'clientIp',
  'acceptUncounted',
  'step',
  'action',
  'mcp',
]);

/** @throws TypeError for a request that the program put wrongly; a misspelt member would check less than was meant. */
export function requireStepRequest(request: StepRequest): void {
  if (typeof request !== 'object' || request === null)
    throw new TypeError('verifyStep needs a step to verify');
  const unknown = Object.keys(request).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined) throw new TypeError(`verifyStep does not know the member ${unknown}`);
  const { step, action, mcp, acceptUncounted } = request;
  if (step === undefined && action === undefined) throw new TypeError('verifyStep needs step or action');
  if (step === undefined && mcp !== undefined) throw new TypeError('mcp needs step: alone it is unproven');
  if (acceptUncounted !== undefined && typeof acceptUncounted !== 'boolean') {
    throw new TypeError('acceptUncounted must be true or false');
  }
}

/** Throws `VerificationError`. */
export function parseStepRequest({ stepIndex, step, action, mcp, proof }: StepRequest): StepToProve {
  const parsed = parseStepProof(proof as JsonValue);
  if (!parsed.ok) {
    throw new VerificationError('MERKLE_PROOF_INVALID', `${parsed.pointer.slice(1)}: ${parsed.message}.`);
  }
  if (step !== undefined && !isShallowObject(step)) {
    throw new VerificationError('MERKLE_PROOF_INVALID', 'The step is not an object that a plan can hold.');
  }
  return { stepIndex, step, action, mcp, proof: parsed.proof };
}

/** Deeper ones, and circles, are no part of any plan and would exhaust the stack. */
function isShallowObject(value: object | null): value is JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && nestsWithin(value, MAX_JSON_DEPTH)
  );
}

function nestsWithin(value: object, levels: number): boolean {
  if (levels < 0) return false;
  return Object.values(value).every(
    (item: unknown) => typeof item !== 'object' || item === null || nestsWithin(item, levels - 1),
  );
}
