/** What the audit trail holds: one event for each effect and each refusal. */

import type { Role } from '../../domain/principals/role.ts';

/** Where a request came from; part of every audit event. */
export interface RequestContext {
  readonly requestId: string;
  readonly ipAddress: string | null;
}

export type EventType =
  | 'intent.issued'
  | 'intent.denied'
  | 'intent.verified'
  | 'agent.created'
  | 'agent.updated'
  | 'agent.revoked'
  | 'key.created'
  | 'key.revoked'
  | 'auth.denied'
  | 'token.issued'
  | 'token.denied'
  | 'token.revoked'
  | 'secret.created'
  | 'secret.read'
  | 'secret.updated'
  | 'secret.rotated'
  | 'secret.imported'
  | 'secret.deleted'
  | 'secret.listed'
  | 'secret.denied'
  | 'namespace.listed'
  | 'approval.requested'
  | 'approval.granted'
  | 'approval.denied'
  | 'approval.claimed';

export type ActorType = Role | 'anonymous' | 'system';

/** One row of the audit trail. Never holds a key, a token or a value. */
export interface AuditEvent {
  readonly id: string;
  readonly eventType: EventType;
  readonly actorId: string;
  readonly actorType: ActorType;
  readonly resourceType: string;
  readonly resourceId: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly ipAddress: string | null;
  readonly requestId: string | null;
}

/** Audit rows without another effect: denialLog. Resolves after the commit. */
export interface AuditTrail {
  append(event: AuditEvent): Promise<void>;
}
