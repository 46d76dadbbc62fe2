/** The one error with which `writ/verify` refuses. A mistake of the calling program is a `TypeError` instead. */

export type VerificationErrorCode =
  | 'TOKEN_INVALID'
  | 'TOKEN_EXPIRED'
  | 'MERKLE_PROOF_INVALID'
  | 'STEP_MISMATCH'
  | 'POLICY_DENIED'
  | 'IP_NOT_ALLOWED'
  | 'OUTSIDE_ALLOWED_HOURS'
  | 'RATE_LIMIT'
  /** The key set could not be fetched: try again later. Every other code is final for this request. */
  | 'KEYS_UNAVAILABLE';

/** `code` is stable; the message is for people and repeats nothing of the token. */
export class VerificationError extends Error {
  readonly code: VerificationErrorCode;

  constructor(code: VerificationErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'VerificationError';
    this.code = code;
  }
}
