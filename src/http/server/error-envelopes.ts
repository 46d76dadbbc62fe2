/**
 * The two error envelopes (contract section 3), made in one place from one typed error: one inside `/v1`, one
 * outside. Whatever is not a `WritError` is answered as 500 with a fixed sentence.
 */

import { type ErrorCode, WritError } from '../../errors.ts';

/** Endpoints whose every refusal must also say `allowed: false`: a client reads a missing `allowed` as permission. */
const GRANT_PATHS: ReadonlySet<string> = new Set(['/iap/verify-step', '/verify/action', '/iap/sdk/enforce']);

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

export function isInsideV1(path: string): boolean {
  return path === '/v1' || path.startsWith('/v1/');
}

/** `path` is the request's path without its query; `takesBasic`: HTTP Basic is one of the ways to authenticate there. */
export function errorAnswer(
  error: unknown,
  request: { path: string; requestId: string; takesBasic?: boolean },
): ErrorAnswer {
  const known =
    error instanceof WritError ? error : new WritError('INTERNAL', 'Something went wrong on our side.');
  const inside = isInsideV1(request.path);
  const code = inside ? codeInsideV1(known.code) : known.code;
  const message = known.publicMessage;
  const details = known.details === undefined ? {} : { details: known.details };
  const body = inside
    ? { error: { code, message, ...details }, detail: message, request_id: request.requestId }
    : {
        success: false,
        error: message,
        error_code: code,
        message,
        ...details,
        request_id: request.requestId,
      };
  return {
    status: known.status,
    headers: headersOf(known, request.takesBasic === true),
    body: {
      ...body,
      ...known.members,
      ...(GRANT_PATHS.has(request.path) ? { allowed: false, reason: message } : {}),
    },
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
    : { success: { const: false }, error: text, error_code: code, message: text, details, request_id: text };
  const grant = GRANT_PATHS.has(of.path) ? { allowed: { const: false }, reason: text } : {};
  const beside = of.codes.includes('POLICY_DENIED') ? { policy_validation: details } : {};
  return {
    type: 'object',
    properties: { ...own, ...grant, ...beside },
    required: [...Object.keys(own).filter((name) => name !== 'details'), ...Object.keys(grant)],
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
