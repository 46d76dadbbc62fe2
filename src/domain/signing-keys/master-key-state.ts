/**
 * The life of a master key: known to every process before anything is under it, then the one that is written under, then
 * read until what is under it is re-wrapped.
 */

export const MASTER_KEY_STATES = ['next', 'active', 'retiring', 'retired'] as const;
export type MasterKeyState = (typeof MASTER_KEY_STATES)[number];
