/** The life of a master key: writes are under the active one; what is under a retiring one is re-wrapped and still read. */

export const MASTER_KEY_STATES = ['active', 'retiring', 'retired'] as const;
export type MasterKeyState = (typeof MASTER_KEY_STATES)[number];
