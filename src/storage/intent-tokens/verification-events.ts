/**
 * Events of verifications that use nothing up: many in one statement, each only while neither the token's principal nor
 * whoever asks is stopped. Closes the race between a verification and a stop: what was judged before one is not granted
 * after it.
 */

import type { VerificationEvents } from '../../use-cases/intent-tokens/ports.ts';
import { GROUPED_EVENT_TYPES, groupedEvent, insertGroupedEvents } from '../audit/audit-store.ts';
import { createBatcher, runGuardedBatch, selectApplied } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { isStopped } from '../engine/liveness-sql.ts';
import { columnTypes, members, recordset } from '../engine/table-columns.ts';
import { auditEvents } from '../schema.ts';

type Verification = Parameters<VerificationEvents['append']>[0];

/** The roles are those that were read with the rows that were judged: no row is read again. */
const APPEND: Statement = {
  name: 'append_verifications',
  effect: 'write',
  text: `
    with granted as (
      select asked.* from ${recordset('$1', 'asked', {
        position: 'int',
        agentId: 'uuid',
        agentRole: 'text',
        ...columnTypes(auditEvents, ['eventType', 'actorId', 'resourceId']),
        ...GROUPED_EVENT_TYPES,
      })}
      cross join lateral (select asked."agentId" as id, asked."agentRole" as role) as agent
      cross join lateral (select asked."actorId"::uuid as id, asked."actorType" as role) as caller
      where not ${isStopped('agent')} and not ${isStopped('caller')}
    ), event as (
      ${insertGroupedEvents({
        ...members('granted', ['eventType', 'actorId', 'resourceId']),
        resourceType: `'intent_token'`,
      })}
    )
    ${selectApplied('position')}`,
};

export function createVerificationEvents(database: Database): VerificationEvents {
  const queue = createBatcher<Verification, { granted: boolean }>({
    orderKey: ({ event }) => event.id,
    run: async (verifications) => {
      const isGranted = await runGuardedBatch<number>(database, APPEND, verifications.map(rowOf));
      return verifications.map((_, position) => ({ granted: isGranted(position) }));
    },
  });
  return { append: async (verification) => (await queue.submit(verification)).granted };
}

function rowOf({ event, agentId, agentRole }: Verification, position: number) {
  const { eventType, actorId, resourceId } = event;
  return Object.assign(groupedEvent(event), { position, agentId, agentRole, eventType, actorId, resourceId });
}
