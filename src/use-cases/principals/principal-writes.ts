/** What every change of a principal or of its keys has: who acts, its event, a new key, and a refusal of who is dead. */

import { LAST_INSTANT_MS } from '../../domain/formats/rfc3339.ts';
import { WritError } from '../../errors.ts';
import { auditEvent, SYSTEM } from '../audit/build-audit-event.ts';
import type { RequestContext } from '../audit/ports.ts';
import type { DenyCaller } from '../authentication/deny-caller.ts';
import type { Caller } from '../authentication/ports.ts';
import type { ActorWrite, NewApiKey } from './ports.ts';

export interface PrincipalWriteDeps {
  readonly newId: () => string;
  readonly now: () => Date;
  /** A fresh key and its hash. */
  readonly makeKey: () => Promise<{ text: string; keyId: string; prefix: string; hash: string }>;
  readonly denyCaller: DenyCaller;
}

/** Who acts: an administrator's key, or the operator at the command line. */
export type Actor = Caller | 'system';

type EventFacts = Omit<Parameters<typeof auditEvent>[2], 'id'>;

/** What whoever acts writes of an act, and what they are told when their key is dead. */
export interface ActorWrites {
  write(actor: Actor, context: RequestContext, event: EventFacts): ActorWrite;
  /** The statement found its actor dead, and so had no effect. */
  refuseDeadActor(actor: Actor, context: RequestContext): Promise<never>;
}

export interface PrincipalWrites extends ActorWrites {
  /** `pointer`: where the request says until when. Throws `VALIDATION_ERROR` for a time that is not to come. */
  newKey(
    name: string | null,
    expiresAt: Date | null,
    pointer: string,
  ): Promise<NewApiKey & { readonly text: string }>;
}

export function createActorWrites(deps: {
  readonly newId: () => string;
  readonly denyCaller: Pick<DenyCaller, 'deadKey'>;
}): ActorWrites {
  return {
    write: (actor, context, event) => ({
      actorKeyId: actor === 'system' ? null : actor.keyId,
      event: auditEvent(actor === 'system' ? SYSTEM : actor.principal, context, {
        ...event,
        id: deps.newId(),
      }),
    }),
    refuseDeadActor: (actor, context) => {
      if (actor === 'system') throw new Error('the system has no key that could be dead');
      return deps.denyCaller.deadKey(actor, context);
    },
  };
}

export function createPrincipalWrites(deps: PrincipalWriteDeps): PrincipalWrites {
  const newKey = async (
    name: string | null,
    expiresAt: Date | null,
    pointer: string,
  ): Promise<NewApiKey & { text: string }> => {
    const inTheFuture =
      expiresAt === null || (expiresAt > deps.now() && expiresAt.getTime() <= LAST_INSTANT_MS);
    if (!inTheFuture) {
      throw new WritError('VALIDATION_ERROR', 'A key must expire in the future, before the year 10000.', {
        details: { pointer },
      });
    }
    return { ...(await deps.makeKey()), name, expiresAt };
  };

  return { ...createActorWrites(deps), newKey };
}
