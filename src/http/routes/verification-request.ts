/** From the body of a verification to a well-formed question (contract section 4.6), or 400. */

import type { StepToProve } from '../../domain/intent-tokens/proven-step.ts';
import { parseStepProof } from '../../domain/intent-tokens/step-proof.ts';
import { canonicalJson } from '../../domain/json/canonical-json.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json/strict-json.ts';
import { WritError } from '../../errors.ts';
import type { VerificationRequest } from '../../use-cases/intent-tokens/ports.ts';

export interface VerificationBody {
  readonly token: JsonValue;
  readonly step_index?: number | undefined;
  readonly step?: JsonObject | undefined;
  readonly action?: string | undefined;
  readonly mcp?: string | undefined;
  readonly proof?: JsonValue | undefined;
  readonly consume?: boolean | undefined;
  readonly client_ip?: string | undefined;
}

/** Throws `VALIDATION_ERROR` or `PLAN_NOT_CANONICALIZABLE`. */
export function parseVerificationRequest(
  body: VerificationBody,
  underflowed: ReadonlySet<object>,
): VerificationRequest {
  if (body.consume !== undefined) throw fault('/consume', 'is not served yet');
  if (body.client_ip !== undefined) throw fault('/client_ip', 'is not served yet');
  // The only number that stands in the body itself: 1e-400 reads as 0 and is not 0.
  if (underflowed.has(body)) throw fault('/step_index', 'must be a whole number');
  return { ...readToken(body.token), step: readStep(body, underflowed) };
}

function fault(pointer: string, what: string): WritError {
  return new WritError('VALIDATION_ERROR', `${pointer.slice(1)} ${what}.`, { details: { pointer } });
}

const STATED = {
  token_id: 'jti',
  plan_hash: 'plan_hash',
  merkle_root: 'merkle_root',
  expires_at: 'exp',
} as const;

function readToken(token: JsonValue): Pick<VerificationRequest, 'jwt' | 'statedBeside'> {
  if (typeof token === 'string') return { jwt: token, statedBeside: [] };
  if (!isJsonObject(token)) {
    throw fault('/token', 'must be a JWT or the token object of an SDK');
  }
  const { jwt_token: jwt } = token;
  if (typeof jwt !== 'string') throw fault('/token/jwt_token', 'must be a JWT');
  const statedBeside = Object.entries(STATED).flatMap(([member, claim]) => {
    const value = token[member];
    return value === undefined || value === null ? [] : [{ member, claim, value }];
  });
  return { jwt, statedBeside };
}

function readStep(body: VerificationBody, underflowed: ReadonlySet<object>): StepToProve | undefined {
  const { step_index: stepIndex, step, action, mcp } = body;
  if (stepIndex === undefined) {
    const orphan = (['proof', 'step', 'action', 'mcp'] as const).find((name) => body[name] !== undefined);
    if (orphan !== undefined) throw fault('/step_index', `is required with ${orphan}`);
    return undefined;
  }
  if (body.proof === undefined) throw fault('/proof', 'is required with step_index');
  if (step === undefined && action === undefined)
    throw fault('/step', 'or action is required with step_index');
  if (mcp !== undefined && step === undefined)
    throw fault('/step', 'is required with mcp, which is unproven alone');
  const text = step === undefined ? undefined : canonicalJson(step, underflowed);
  if (text?.ok === false) {
    throw new WritError('PLAN_NOT_CANONICALIZABLE', `The step has no canonical form: ${text.reason}.`, {
      details: { reason: text.reason, pointer: '/step' },
    });
  }
  const proof = parseStepProof(body.proof);
  if (!proof.ok)
    throw new WritError('VALIDATION_ERROR', `${proof.message}.`, { details: { pointer: proof.pointer } });
  return { stepIndex, step, action, mcp, proof: proof.proof, underflowed };
}
