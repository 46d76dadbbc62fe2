/** The life of a signing key: published before it signs, then the one that signs, then kept for what it has signed. */

export const SIGNING_KEY_STATES = ['next', 'active', 'retiring'] as const;
export type SigningKeyState = (typeof SIGNING_KEY_STATES)[number];
