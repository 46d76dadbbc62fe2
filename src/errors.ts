/**
 * The one error that Writ raises on purpose, and the closed table of its codes (contract section 3).
 * Public text and internal detail are separate fields from birth: only `publicMessage` and `details` may leave
 * the process. Any other exception is a bug of ours and is answered as 500 `INTERNAL` with a fixed sentence.
 */

/** Status and kind of every code. A code that is not here does not compile. */
export const ERROR_CODES = {
  VALIDATION_ERROR: { status: 400, kind: 'invalid' },
  INVALID_JSON: { status: 400, kind: 'invalid' },
  INVALID_PLAN: { status: 400, kind: 'invalid' },
  PLAN_NOT_CANONICALIZABLE: { status: 400, kind: 'invalid' },
  INVALID_POLICY: { status: 400, kind: 'invalid' },
  INVALID_SCOPE: { status: 400, kind: 'invalid' },
  INVALID_PATH: { status: 400, kind: 'invalid' },
  INVALID_TTL: { status: 400, kind: 'invalid' },
  TTL_OUT_OF_RANGE: { status: 400, kind: 'invalid' },
  INVALID_MAX_USES: { status: 400, kind: 'invalid' },
  INVALID_IP_ALLOWLIST: { status: 400, kind: 'invalid' },
  UNAUTHORIZED: { status: 401, kind: 'unauthenticated' },
  AUTH_INVALID_KEY: { status: 401, kind: 'unauthenticated' },
  AUTH_EXPIRED_KEY: { status: 401, kind: 'unauthenticated' },
  TOKEN_INVALID: { status: 401, kind: 'unauthenticated' },
  TOKEN_EXPIRED: { status: 401, kind: 'unauthenticated' },
  TOKEN_REVOKED: { status: 401, kind: 'unauthenticated' },
  TOKEN_EXHAUSTED: { status: 401, kind: 'unauthenticated' },
  SCOPE_DENIED: { status: 403, kind: 'denied' },
  IP_NOT_ALLOWED: { status: 403, kind: 'denied' },
  POLICY_DENIED: { status: 403, kind: 'denied' },
  EMERGENCY_STOP: { status: 403, kind: 'denied' },
  APPROVAL_REQUIRED: { status: 403, kind: 'denied' },
  SELF_APPROVAL_FORBIDDEN: { status: 403, kind: 'denied' },
  FORBIDDEN: { status: 403, kind: 'denied' },
  SECRET_NOT_FOUND: { status: 404, kind: 'absent' },
  NOT_FOUND: { status: 404, kind: 'absent' },
  ALREADY_EXISTS: { status: 409, kind: 'conflict' },
  VERSION_CONFLICT: { status: 409, kind: 'conflict' },
  APPROVAL_ALREADY_DECIDED: { status: 409, kind: 'conflict' },
  IDEMPOTENCY_KEY_REUSED: { status: 409, kind: 'conflict' },
  IDEMPOTENCY_KEY_SPENT: { status: 409, kind: 'conflict' },
  CURSOR_OUTDATED: { status: 409, kind: 'conflict' },
  APPROVAL_EXPIRED: { status: 410, kind: 'conflict' },
  PAYLOAD_TOO_LARGE: { status: 413, kind: 'invalid' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, kind: 'invalid' },
  TOO_MANY_SECRETS: { status: 422, kind: 'invalid' },
  RATE_LIMITED: { status: 429, kind: 'limited' },
  INTERNAL: { status: 500, kind: 'fault' },
  INTEGRITY_ERROR: { status: 500, kind: 'fault' },
  UNAVAILABLE: { status: 503, kind: 'unavailable' },
  BUSY: { status: 503, kind: 'unavailable' },
  AUDIT_UNAVAILABLE: { status: 503, kind: 'unavailable' },
  OUTCOME_UNKNOWN: { status: 503, kind: 'unavailable' },
} as const satisfies Record<string, { status: number; kind: ErrorKind }>;

export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'denied'
  | 'absent'
  | 'conflict'
  | 'limited'
  | 'fault'
  | 'unavailable';

export type ErrorCode = keyof typeof ERROR_CODES;

export interface WritErrorOptions {
  /** Machine-readable facts for the caller, for example `{ pointer: '/plan/steps/0/action' }`. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Members that stand beside the envelope's own, for example `policy_validation`. */
  readonly members?: Readonly<Record<string, unknown>>;
  /** In place of the code's own, where HTTP has one for a request that never became whole. */
  readonly status?: 408 | 431;
  /** Whole seconds after which a retry may succeed; sent as `Retry-After` with 429 and 503. */
  readonly retryAfterSeconds?: number;
  /** For the log only, never for the caller. */
  readonly detail?: string;
  /** For the trail only: what is absent, or which row is not what Writ wrote (its table and primary key). */
  readonly about?: ErrorSubject;
  /** For the log only: the SQLSTATE with which the database refused (PostgreSQL appendix A). */
  readonly sqlState?: string | undefined;
  readonly cause?: unknown;
}

export interface ErrorSubject {
  readonly type: string;
  /** As it was asked for, which may be any text. */
  readonly id: string;
}

/** An expected refusal or a known fault. `message` equals `publicMessage`: it is safe to send. */
export class WritError extends Error {
  override readonly name = 'WritError';
  readonly code: ErrorCode;
  readonly publicMessage: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly members: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly #status: number | undefined;
  readonly detail: string | undefined;
  readonly about: ErrorSubject | undefined;
  readonly sqlState: string | undefined;

  constructor(code: ErrorCode, publicMessage: string, options: WritErrorOptions = {}) {
    super(publicMessage, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.publicMessage = publicMessage;
    this.details = options.details;
    this.members = options.members;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.#status = options.status;
    this.detail = options.detail;
    this.about = options.about;
    this.sqlState = options.sqlState;
  }

  get status(): number {
    return this.#status ?? ERROR_CODES[this.code].status;
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind;
  }
}
