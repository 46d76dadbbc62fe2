/** What an online verification of an intent token or of one of its steps can come to (contract section 4.6). */

export const VERIFICATION_CODES = [
  'VALID',
  'TOKEN_INVALID',
  'TOKEN_EXPIRED',
  'TOKEN_REVOKED',
  'EMERGENCY_STOP',
  'MERKLE_PROOF_INVALID',
  'STEP_MISMATCH',
  'POLICY_DENIED',
  'IP_NOT_ALLOWED',
  'OUTSIDE_ALLOWED_HOURS',
  'STEP_CONSUMED',
  'RATE_LIMIT',
] as const;

export type VerificationCode = (typeof VERIFICATION_CODES)[number];

export interface VerificationRefusal {
  readonly code: Exclude<VerificationCode, 'VALID'>;
  /** A sentence that repeats nothing of the token. */
  readonly reason: string;
}
