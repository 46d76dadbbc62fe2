/** Builds the event of one effect or one denial: who did what to which resource, and where the request came from. */

import type { ActorType, AuditEvent, EventType } from './ports.ts';

/** A principal, or one of the two below. */
export interface AuditActor {
  readonly id: string;
  readonly role: ActorType;
}

/** Whoever presents a credential that is not proven. */
export const ANONYMOUS: AuditActor = { id: 'anonymous', role: 'anonymous' };
/** The server itself and the operator at its command line. */
export const SYSTEM: AuditActor = { id: 'system', role: 'system' };

export interface AuditResource {
  readonly type: string;
  readonly id: string;
}

/** Nulls where no request asked for it. */
export interface EventOrigin {
  readonly requestId: string | null;
  readonly ipAddress: string | null;
}

/** Of what the server does by itself. */
export const NO_REQUEST: EventOrigin = { requestId: null, ipAddress: null };

export function auditEvent(
  actor: AuditActor,
  origin: EventOrigin,
  what: {
    /** Of the event. */
    readonly id: string;
    readonly type: EventType;
    readonly resource: AuditResource;
    readonly metadata: Readonly<Record<string, unknown>>;
  },
): AuditEvent {
  return {
    id: what.id,
    eventType: what.type,
    actorId: actor.id,
    actorType: actor.role,
    resourceType: what.resource.type,
    resourceId: what.resource.id,
    metadata: what.metadata,
    ipAddress: origin.ipAddress,
    requestId: origin.requestId,
  };
}
