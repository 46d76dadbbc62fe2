/**
 * Who looks at the audit trail leaves an event there (contract section 8): one for each page and one for each export,
 * committed before any of it is answered. It comes after what is answered, so it takes nothing from it: a page is read
 * first, and of an export the horizon is.
 */

import { type AuditActor, auditEvent } from './build-audit-event.ts';
import type { AuditFilter, CallerEvents, EventType, RequestContext } from './ports.ts';
import type { AuditTrailReading } from './read-audit-trail.ts';

export interface TrailReader {
  readonly actor: AuditActor;
  readonly keyId: string;
  readonly context: RequestContext;
  /** Rejects with why the reader's key is no longer live. */
  readonly deadKey: () => Promise<never>;
}

export interface RecordedTrailReading {
  page(
    query: Parameters<AuditTrailReading['page']>[0],
    by: TrailReader,
  ): ReturnType<AuditTrailReading['page']>;
  export(
    query: {
      readonly filter: AuditFilter;
      readonly from: Parameters<AuditTrailReading['export']>[1];
      readonly format: string;
    },
    by: TrailReader,
  ): ReturnType<AuditTrailReading['export']>;
}

/** Rejects with what reading rejects with, with the codes of storage, and with why the reader's key is dead. */
export function recordTrailReading(deps: {
  readonly reading: AuditTrailReading;
  readonly events: CallerEvents;
  readonly newId: () => string;
}): RecordedTrailReading {
  const record = async (
    type: EventType,
    { actor, keyId, context, deadKey }: TrailReader,
    metadata: Readonly<Record<string, unknown>>,
  ): Promise<void> => {
    const event = auditEvent(actor, context, {
      id: deps.newId(),
      type,
      resource: { type: 'audit_trail', id: '*' },
      metadata: { key_id: keyId, ...metadata },
    });
    if (!(await deps.events.append([event], { keyId, revision: null }))) await deadKey();
  };
  return {
    page: async (query, by) => {
      const found = await deps.reading.page(query);
      const { filter, limit, page, before } = query;
      await record('audit.read', by, {
        filter: named(filter),
        limit,
        ...(before === undefined ? { page } : { before: before.createdAt }),
        count: found.events.length,
      });
      return found;
    },
    export: async ({ filter, from, format }, by) => {
      const begun = await deps.reading.export(filter, from);
      const since = from === undefined ? {} : { continues: from.at };
      await record('audit.exported', by, { filter: named(filter), format, ...since });
      return begun;
    },
  };
}

/** As on the wire; what is not asked for is left out when it is written. */
function named({ eventType, actorId, resourceType, resourceId, since, until }: AuditFilter) {
  return {
    event_type: eventType,
    actor_id: actorId,
    resource_type: resourceType,
    resource_id: resourceId,
    since,
    until,
  };
}
