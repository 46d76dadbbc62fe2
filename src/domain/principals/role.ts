/** What a principal is: every API key speaks for exactly one role. */

export const ROLES = ['admin', 'approver', 'agent'] as const;
export type Role = (typeof ROLES)[number];
