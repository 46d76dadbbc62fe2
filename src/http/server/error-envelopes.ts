/**
 * The two error envelopes (contract section 3), made in one place from one typed error: one inside `/v1`, one
 * outside. Whatever is not a `WritError` is answered as 500 with a fixed sentence.
 */

import { ERROR_CODES, type ErrorCode, WritError } from '../../errors.ts';

const NO_GRANT = { allowed: false } as const;
/** Its published client reads a 400 as permission: whatever is wrong with a question there is answered with 200. */
const NEVER_BAD_REQUEST = '/iap/enforce';
/**
 * Endpoints whose every refusal says more, and why as `reason`: a client reads a missing `allowed` as permission, and
 * another shows the `reason`.
 */
const BESIDE_REASON: ReadonlyMap<string, object> = new Map<string, object>([
  ['/iap/verify-step', NO_GRANT],
  ['/verify/action', NO_GRANT],
  ['/iap/sdk/enforce', NO_GRANT],
  [NEVER_BAD_REQUEST, { ...NO_GRANT, action: 'block' }],
  ['/iap/trust/reanchor', {}],
]);

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

/** `path` is the request's path without its query; `takesBasic`: HTTP Basic is one of the ways to authenticate there. */
export function errorAnswer(
  error: unknown,
  request: { path: string; requestId: string; takesBasic?: boolean },
): ErrorAnswer {
  const known =
    error instanceof WritError ? error : new WritError('INTERNAL', 'Something went wrong on our side.');
  const beside = BESIDE_REASON.get(request.path);
  if (isAnsweredWith200(known.code, request.path)) {
    return { status: 200, headers: {}, body: { ...beside, reason: known.publicMessage } };
  }
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
      ...(beside === undefined ? {} : { ...beside, reason: message }),
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
  const beside = BESIDE_REASON.get(of.path);
  const said = Object.entries(beside ?? {}).map(([name, value]) => [name, { const: value }]);
  const grant = beside === undefined ? {} : { ...Object.fromEntries(said), reason: text };
  const validation = of.codes.includes('POLICY_DENIED') ? { policy_validation: details } : {};
  return {
    type: 'object',
    properties: { ...own, ...grant, ...validation },
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
