/**
 * The life of a signing key: published before it signs, then the one that signs, then kept for what it has signed. At its
 * end it has no private half any more: its time was over, or somebody said that it had leaked.
 */

export const LIVE_SIGNING_KEY_STATES = ['next', 'active', 'retiring'] as const;
export type LiveSigningKeyState = (typeof LIVE_SIGNING_KEY_STATES)[number];

export const SIGNING_KEY_STATES = [...LIVE_SIGNING_KEY_STATES, 'retired', 'compromised'] as const;
export type SigningKeyState = (typeof SIGNING_KEY_STATES)[number];
