/**
 * Signing keys change: by their time, because somebody asks, or because one has leaked. What is due is decided purely;
 * each step is one guarded write, so that it does not matter how many processes decide the same.
 */

import {
  decideKeySteps,
  type KeyStep,
  NEXT_SECONDS,
  RETIRING_SECONDS,
} from '../../domain/signing-keys/key-rotation.ts';
import { WritError } from '../../errors.ts';
import { auditEvent, type EventOrigin, SYSTEM } from '../audit/build-audit-event.ts';
import type { BuildNotice, NOTICES, NoticeType } from '../notices/build-notice.ts';
import type { Clock } from '../ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import type { CompromisedKeys, KeyChange, NewSigningKey, SigningKeyStore } from './ports.ts';

export interface RotateSigningKeysDeps {
  readonly store: SigningKeyStore;
  readonly makeKey: () => NewSigningKey;
  readonly newId: () => string;
  readonly clock: Clock;
  readonly buildNotice: BuildNotice;
  /** 0: only when somebody asks. */
  readonly rotationDays: number;
  /** Of the events. */
  readonly origin: EventOrigin;
}

/** What was done, for the log. */
export type DoneStep =
  | { readonly done: 'created'; readonly kid: string; readonly signsFrom: Date }
  | {
      readonly done: 'activated';
      readonly kid: string;
      readonly retiringKid: string | null;
      readonly staysUntil: Date;
    }
  | { readonly done: 'retired'; readonly kid: string };

export type AskedRotation =
  | Extract<DoneStep, { readonly done: 'created' | 'activated' }>
  /** The next key was made before, and its time has not come. */
  | { readonly done: 'waiting'; readonly kid: string; readonly signsFrom: Date };

export interface RotateSigningKeys {
  /** What is due by itself. A step that another process has done is none of these. */
  rotateWhatIsDue(): Promise<readonly DoneStep[]>;
  /** The next step towards another key. Rejects with `INTEGRITY_ERROR` where a row is not what Writ wrote, and `BUSY`. */
  rotate(): Promise<AskedRotation>;
  /** `kid` undefined: the active and the next one. Rejects with `NOT_FOUND` for a kid that no live key has. */
  endCompromised(kid: string | undefined): Promise<CompromisedKeys & { readonly freshKid: string | null }>;
}

/** From when a next key that was made at this moment signs, at the earliest. */
export const signsFrom = (madeAt: Date): Date => later(madeAt, NEXT_SECONDS);
/** Until when a key that left at this moment is published, at least. */
export const staysUntil = (leftAt: Date): Date => later(leftAt, RETIRING_SECONDS);

const later = (time: Date, seconds: number): Date => new Date(time.getTime() + seconds * 1000);

export function createRotateSigningKeys(deps: RotateSigningKeysDeps): RotateSigningKeys {
  const { store, rotationDays } = deps;
  return {
    rotateWhatIsDue: async () => {
      const rotation = await store.readRotation();
      const done: DoneStep[] = [];
      for (const step of decideKeySteps({ ...rotation, rotationDays, isAsked: false })) {
        const outcome = await carryOut(deps, step, { activeForDays: rotationDays, ...rotation });
        if (typeof outcome === 'object') done.push(outcome);
      }
      return done;
    },
    rotate: () =>
      retryGuardedWrite(async () => {
        const rotation = await store.readRotation();
        const next = rotation.keys.find(({ state }) => state === 'next');
        const [step] = decideKeySteps({ ...rotation, rotationDays: 0, isAsked: true });
        if (step === undefined || step.step === 'retire') {
          return next === undefined
            ? RETRY
            : { done: 'waiting', kid: next.kid, signsFrom: signsFrom(new Date(next.sinceMs)) };
        }
        const outcome = await carryOut(deps, step, { activeForDays: undefined, ...rotation });
        if (outcome === 'unfit') throw unfit();
        return typeof outcome === 'object' && outcome.done !== 'retired' ? outcome : RETRY;
      }),
    endCompromised: async (kid) => {
      const fresh = deps.makeKey();
      const { keys } = await store.readRotation();
      // Of two who end it at once, the second does not end the fresh one.
      const activeSeen = keys.find(({ state }) => state === 'active')?.kid;
      const which = kid === undefined ? { activeSeen } : { kid };
      const ended = await store.compromise(which, fresh, (compromised) =>
        changesOfCompromise(deps, compromised, fresh.kid),
      );
      if (ended === undefined) {
        throw new WritError('NOT_FOUND', 'No signing key of that kid is next, active or retiring.');
      }
      return { ...ended, freshKid: ended.isReplaced ? fresh.kid : null };
    },
  };
}

async function carryOut(
  deps: RotateSigningKeysDeps,
  step: KeyStep,
  {
    activeForDays,
    foreignNext,
  }: { readonly activeForDays: number | undefined; readonly foreignNext: string | undefined },
): Promise<DoneStep | 'unchanged' | 'unfit'> {
  const { store } = deps;
  if (step.step === 'create') {
    const key = deps.makeKey();
    // There is one next key at most: a row that is nobody's is ended as a leaked one is, which makes nothing good.
    if (foreignNext !== undefined) {
      await store.compromise({ kid: foreignNext }, key, (ended) => changesOfCompromise(deps, ended, key.kid));
    }
    const change = changeOf(deps, 'signing_key.created', { kid: key.kid, state: 'next' });
    const made = await store.addNext(key, { activeForDays, ...change });
    if (made === undefined) return 'unchanged';
    return { done: 'created', kid: key.kid, signsFrom: signsFrom(made.createdAt) };
  }
  const { kid } = step;
  if (step.step === 'retire') {
    const isDone = await store.retire(kid, changeOf(deps, 'signing_key.retired', { kid }));
    return isDone ? { done: 'retired', kid } : 'unchanged';
  }
  const activated = await store.activate(kid, (retiring) =>
    changeOf(deps, 'signing_key.activated', { kid, retiring }),
  );
  if (typeof activated === 'string') return activated;
  const { at, retiringKid } = activated;
  return { done: 'activated', kid, retiringKid, staysUntil: staysUntil(at) };
}

function changesOfCompromise(
  deps: RotateSigningKeysDeps,
  { ended, isReplaced }: CompromisedKeys,
  freshKid: string,
): readonly KeyChange[] {
  return [
    ...ended.map(({ kid, was }) => changeOf(deps, 'signing_key.compromised', { kid, was })),
    ...(isReplaced
      ? [
          changeOf(deps, 'signing_key.created', { kid: freshKid, state: 'active' }),
          changeOf(deps, 'signing_key.activated', { kid: freshKid, retiring: null }),
        ]
      : []),
  ];
}

type KeyEventType = Extract<NoticeType, `signing_key.${string}`>;

/** Event and notice say the same. */
function changeOf<Type extends KeyEventType>(
  { newId, origin, clock, buildNotice }: RotateSigningKeysDeps,
  type: Type,
  data: Readonly<Record<(typeof NOTICES)[Type][number], unknown>> & { readonly kid: string },
): KeyChange {
  const { kid, ...metadata } = data;
  const resource = { type: 'signing_key', id: kid };
  return {
    event: auditEvent(SYSTEM, origin, { id: newId(), type, resource, metadata }),
    notice: buildNotice(type, clock.now(), data),
  };
}

const unfit = (): WritError =>
  new WritError(
    'INTEGRITY_ERROR',
    'A row of signing_keys is not what Writ wrote, so no other key follows it. Look with: writ doctor. To end the key that signs and begin with a fresh one: writ signing-key rotate --compromised',
  );
