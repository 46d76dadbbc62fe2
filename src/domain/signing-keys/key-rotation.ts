/**
 * When a signing key goes on to its next state. Nobody meets a token before its key could be fetched, and no key goes
 * while somebody may still need it.
 */

import type { LiveSigningKeyState } from './signing-key-state.ts';

/** Of the answer of the JWKS. */
export const JWKS_MAX_AGE_SECONDS = 300;
/** In which every process that serves has read the keys again; they do so every 2 s. */
const PUBLISHING_SECONDS = 60;

/** A key is published for so long before it signs. */
export const NEXT_SECONDS = JWKS_MAX_AGE_SECONDS + PUBLISHING_SECONDS;
/** What a key that has just left has signed is still taken, for processes that do not know yet. */
export const LEAVING_SECONDS = 10;
/** A key stays for at least so long after it left: 10 minutes after it last signed. */
export const RETIRING_SECONDS = LEAVING_SECONDS + 600;

const DAY_SECONDS = 86_400;

export interface KeyInRotation {
  readonly kid: string;
  readonly state: LiveSigningKeyState;
  /** When it took this state, in milliseconds of the epoch. */
  readonly sinceMs: number;
  /** A token that it signed has not expired. Known of a key that is retiring. */
  readonly hasLiveTokens: boolean;
}

export type KeyStep =
  /** A next key is to be made. */
  | { readonly step: 'create' }
  /** That next key is to sign from now on; the one that signs is to retire. */
  | { readonly step: 'activate'; readonly kid: string }
  /** That retiring key is to lose its private half. */
  | { readonly step: 'retire'; readonly kid: string };

export interface RotationQuestion {
  readonly keys: readonly KeyInRotation[];
  readonly nowMs: number;
  /** A key signs for so long; 0: until somebody asks. */
  readonly rotationDays: number;
  /** Somebody asks for another key now. */
  readonly isAsked: boolean;
}

/** All that is due, in the order in which it is to be done. A key that is next is activated before another one is made. */
export function decideKeySteps({ keys, nowMs, rotationDays, isAsked }: RotationQuestion): readonly KeyStep[] {
  const isFor = (seconds: number, { sinceMs }: KeyInRotation): boolean => nowMs - sinceMs >= seconds * 1000;
  const next = keys.find(({ state }) => state === 'next');
  const active = keys.find(({ state }) => state === 'active');
  const isTooOld = active !== undefined && rotationDays > 0 && isFor(rotationDays * DAY_SECONDS, active);
  const steps: KeyStep[] = [];
  if (next === undefined) {
    if (isAsked || isTooOld) steps.push({ step: 'create' });
  } else if (isFor(NEXT_SECONDS, next)) steps.push({ step: 'activate', kid: next.kid });
  for (const key of keys) {
    const isOver = key.state === 'retiring' && isFor(RETIRING_SECONDS, key) && !key.hasLiveTokens;
    if (isOver) steps.push({ step: 'retire', kid: key.kid });
  }
  return steps;
}
