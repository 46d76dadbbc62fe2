/**
 * From the body of a verification to a question (contract section 4.6). Its token is read first; what else is wrong with it
 * is 400 once the token is known to be good.
 */

import type { FastifyRequest } from 'fastify';
import { parseStepProof } from '../../domain/intent-tokens/step-proof.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json/strict-json.ts';
import { type Address, parseClientAddress } from '../../domain/network/ip-address.ts';
import { WritError } from '../../errors.ts';
import type {
  AskedStep,
  PresentedToken,
  TokenQuestion,
} from '../../use-cases/intent-tokens/verification-question.ts';
import { requireWellFormed } from '../routing/route.ts';

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

export interface VerificationOrigin {
  /** Of the body's numbers. */
  readonly underflowed: ReadonlySet<object>;
  /** The caller's own. */
  readonly callerAddress: Address | undefined;
}

/**
 * The token of a request whose body may have any fault. Throws `VALIDATION_ERROR` where `sent`, which stands at `pointer`,
 * is none, and what the schema refuses where there is nothing to be judged.
 */
export function readTokenFirst(request: FastifyRequest, sent: JsonValue | undefined, pointer = '/token') {
  if (typeof sent !== 'string' && !isJsonObject(sent)) requireWellFormed(request);
  return readPresentedToken(sent ?? null, pointer);
}

/** A member of a body of which nothing is known. */
export function memberOf({ body }: FastifyRequest, name: string): JsonValue | undefined {
  const value = body as JsonValue | undefined;
  return isJsonObject(value) ? value[name] : undefined;
}

/** Throws `VALIDATION_ERROR`. What a step holds is not looked at yet. */
export function parseVerificationRequest(
  body: VerificationBody,
  { underflowed, callerAddress }: VerificationOrigin,
): TokenQuestion {
  requireWrittenNumber(body, underflowed);
  const { consume = false, client_ip: clientIp } = body;
  const step = readStep(body, underflowed);
  if (step === undefined) {
    if (consume) throw fault('/step_index', 'is required with consume');
    if (clientIp !== undefined) throw fault('/step_index', 'is required with client_ip');
  }
  return {
    step,
    consume,
    clientAddress: clientIp === undefined ? callerAddress : readAddress(clientIp),
  };
}

/** Whether a question is for callers with an API key, whatever else it says. */
export const needsKey = (request: FastifyRequest): boolean =>
  memberOf(request, 'consume') === true || memberOf(request, 'client_ip') !== undefined;

/** The only number that stands in the body itself: 1e-400 reads as 0 and is not 0. Throws `VALIDATION_ERROR`. */
export function requireWrittenNumber(body: object, underflowed: ReadonlySet<object>): void {
  if (underflowed.has(body)) throw fault('/step_index', 'must be a whole number');
}

export function fault(pointer: string, what: string): WritError {
  return new WritError('VALIDATION_ERROR', `${pointer.slice(1)} ${what}.`, { details: { pointer } });
}

const STATED = {
  token_id: 'jti',
  plan_hash: 'plan_hash',
  merkle_root: 'merkle_root',
  expires_at: 'exp',
} as const;

/** A JWT, or the token object of an SDK. Throws `VALIDATION_ERROR`. */
export function readPresentedToken(token: JsonValue, pointer = '/token'): PresentedToken {
  const { jwt, around } = readTokenSent(token, pointer);
  if (jwt === undefined) throw fault(`${pointer}/jwt_token`, 'must be a JWT');
  const statedBeside = Object.entries(STATED).flatMap(([member, claim]) => {
    const value = around[member];
    return value === undefined || value === null ? [] : [{ member, claim, value }];
  });
  return { jwt: jwt.text, statedBeside };
}

export interface TokenSentAs {
  /** Undefined for an object without one. */
  readonly jwt: { readonly text: string; readonly pointer: string } | undefined;
  /** What an SDK's token object holds beside its JWT. */
  readonly around: JsonObject;
}

/** A JWT by itself, or in the token object of an SDK. Throws `VALIDATION_ERROR`. */
export function readTokenSent(token: JsonValue, pointer: string): TokenSentAs {
  if (typeof token === 'string') return { jwt: { text: token, pointer }, around: {} };
  if (!isJsonObject(token)) throw fault(pointer, 'must be a JWT or the token object of an SDK');
  const { jwt_token: text = null, ...around } = token;
  const at = `${pointer}/jwt_token`;
  if (text !== null && typeof text !== 'string') throw fault(at, 'must be a JWT');
  return { jwt: text === null ? undefined : { text, pointer: at }, around };
}

function readAddress(clientIp: string): Address {
  const parsed = parseClientAddress(clientIp);
  if (!parsed.ok) throw fault('/client_ip', 'must be an IP address');
  return parsed.address;
}

function readStep(body: VerificationBody, underflowed: ReadonlySet<object>): AskedStep | undefined {
  const { step_index: stepIndex, step, action, mcp, proof } = body;
  if (stepIndex === undefined) {
    const orphan = (['proof', 'step', 'action', 'mcp'] as const).find((name) => body[name] !== undefined);
    if (orphan !== undefined) throw fault('/step_index', `is required with ${orphan}`);
    return undefined;
  }
  if (proof === undefined) throw fault('/proof', 'is required with step_index');
  if (step === undefined && action === undefined)
    throw fault('/step', 'or action is required with step_index');
  if (mcp !== undefined && step === undefined)
    throw fault('/step', 'is required with mcp, which is unproven alone');
  const read = () => ({ stepIndex, step, action, mcp, proof: readProof(proof), underflowed });
  return { stepIndex, read };
}

/** Throws `VALIDATION_ERROR`. */
export function readProof(proof: JsonValue) {
  const parsed = parseStepProof(proof);
  if (parsed.ok) return parsed.proof;
  throw new WritError('VALIDATION_ERROR', `${parsed.message}.`, { details: { pointer: parsed.pointer } });
}
