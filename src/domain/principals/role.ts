export type Role = 'admin' | 'approver' | 'agent';
