/**
 * The two error envelopes (contract section 3), made in one place from one typed error: one inside `/v1`, one
 * outside. Whatever is not a `WritError` is answered as 500 with a fixed sentence.
 */

import { ERROR_CODES, type ErrorCode, WritError } from '../../errors.ts';

/** Its published client reads a 400 as permission: whatever is wrong with a question there is answered with 200. */
const NEVER_BAD_REQUEST = '/iap/enforce';
/** Beside the rest, where a client decides by it. */
const BLOCK = { action: 'block' } as const;
/**
 * Clients of several endpoints outside `/v1` read a missing `allowed` as permission. So every refusal there has it,
 * whatever the path: one that is nearly that of such an endpoint is asked by the same clients.
 */
const NO_GRANT = { allowed: false } as const;

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

export function isInsideV1(path: string): boolean {
  return path === '/v1' || path.startsWith('/v1/');
}

/** Whether the answer is 200 and not the status of the code. */
export const isAnsweredWith200 = (code: ErrorCode, path: string): boolean =>
  path === NEVER_BAD_REQUEST && ERROR_CODES[code].kind === 'invalid';

export interface RefusedRequest {
  /** Its path without the query. */
  readonly path: string;
  readonly requestId: string;
  /** HTTP Basic is one of the ways to authenticate there. */
  readonly takesBasic?: boolean;
}

export function errorAnswer(error: unknown, request: RefusedRequest): ErrorAnswer {
  const known =
    error instanceof WritError ? error : new WritError('INTERNAL', 'Something went wrong on our side.');
  const hasOwnStatus = known.status !== ERROR_CODES[known.code].status;
  if (!hasOwnStatus && isAnsweredWith200(known.code, request.path)) {
    return { status: 200, headers: {}, body: { ...NO_GRANT, ...BLOCK, reason: known.publicMessage } };
  }
  return {
    status: known.status,
    headers: headersOf(known, request.takesBasic === true),
    body: { ...known.members, ...envelopeOf(known, request) },
  };
}

function envelopeOf(
  { code, publicMessage: message, details: facts }: WritError,
  { path, requestId }: RefusedRequest,
): Readonly<Record<string, unknown>> {
  const details = facts === undefined ? {} : { details: facts };
  if (isInsideV1(path))
    return {
      error: { code: codeInsideV1(code), message, ...details },
      detail: message,
      request_id: requestId,
    };
  return {
    success: false,
    ...NO_GRANT,
    ...(path === NEVER_BAD_REQUEST ? BLOCK : {}),
    error: message,
    error_code: code,
    message,
    reason: message,
    ...details,
    request_id: requestId,
  };
}

/** The JSON Schema of a refusal with one of these codes: what `errorAnswer` makes, for the description. */
export function envelopeSchema(of: { path: string; codes: readonly ErrorCode[]; inside: boolean }) {
  const text = { type: 'string' };
  const details = { type: 'object', additionalProperties: true };
  const code = { type: 'string', enum: [...new Set(of.inside ? of.codes.map(codeInsideV1) : of.codes)] };
  const own: Record<string, unknown> = of.inside
    ? {
        error: {
          type: 'object',
          properties: { code, message: text, details },
          required: ['code', 'message'],
          additionalProperties: false,
        },
        detail: text,
        request_id: text,
      }
    : {
        success: { const: false },
        allowed: { const: false },
        ...(of.path === NEVER_BAD_REQUEST ? { action: { const: BLOCK.action } } : {}),
        error: text,
        error_code: code,
        message: text,
        reason: text,
        details,
        request_id: text,
      };
  const validation = of.codes.includes('POLICY_DENIED') ? { policy_validation: details } : {};
  return {
    type: 'object',
    properties: { ...own, ...validation },
    required: Object.keys(own).filter((name) => name !== 'details'),
    additionalProperties: false,
  };
}

/** Inside `/v1` a key that is not accepted has one code, whatever the reason. */
function codeInsideV1(code: ErrorCode): ErrorCode {
  return code === 'AUTH_INVALID_KEY' || code === 'AUTH_EXPIRED_KEY' ? 'UNAUTHORIZED' : code;
}

function headersOf(error: WritError, takesBasic: boolean): Record<string, string> {
  const headers: Record<string, string> = {};
  // RFC 6750 section 3; RFC 6749 section 5.2 asks for the scheme that a client used.
  if (error.status === 401) {
    headers['www-authenticate'] = `Bearer realm="writ"${takesBasic ? ', Basic realm="writ"' : ''}`;
  }
  if (error.retryAfterSeconds !== undefined)
    headers['retry-after'] = String(Math.max(1, error.retryAfterSeconds));
  return headers;
}

/** The answer to every path or method that is not served. */
export const noSuchEndpoint = (): WritError => new WritError('NOT_FOUND', 'There is no such endpoint.');
