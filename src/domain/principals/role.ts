/** What a principal is: every API key speaks for exactly one role. */

export type Role = 'admin' | 'approver' | 'agent';
