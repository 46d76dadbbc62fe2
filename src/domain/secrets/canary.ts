/** A canary is a secret that nobody has a reason to touch. Who knows which ones they are knows what to leave alone. */

/** Events that only administrators read: they tell which secrets are canaries. */
export const CANARY_EVENTS = ['secret.canary_touched', 'secret.canary_changed'] as const;
