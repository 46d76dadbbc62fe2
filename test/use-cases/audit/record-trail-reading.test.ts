/** Who looks at the trail is on record before it is answered, and after what is answered (contract section 8). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditEvent } from '../../../src/use-cases/audit/ports.ts';
import { recordTrailReading, type TrailReader } from '../../../src/use-cases/audit/record-trail-reading.ts';
import { auditFilter } from '../../support/audit-filter.ts';

const PAGE = { filter: auditFilter({ actorId: 'a' }), limit: 5, page: 2, before: undefined };
const HORIZON = { epochId: 'e', snapshot: '3:3:', at: '2026-01-01T00:00:00.000000Z' };
const EXPORT = { filter: auditFilter(), from: HORIZON, format: 'csv' };

/** A reader whose key is live or not, and what was done, in order. */
function aBench(isLive: boolean) {
  const did: string[] = [];
  const written: AuditEvent[] = [];
  const reading = recordTrailReading({
    reading: {
      page: async () => {
        did.push('read');
        return { events: [], total: 0, totalIsExact: true, next: undefined };
      },
      export: async () => {
        did.push('horizon');
        const batches = (async function* () {
          did.push('batch');
          yield [];
        })();
        return { horizon: HORIZON, batches };
      },
    },
    events: {
      append: async (events, { keyId, revision }) => {
        did.push(`event by ${keyId} of ${revision}`);
        if (isLive) written.push(...events);
        return isLive;
      },
    },
    newId: () => 'id',
  });
  const by: TrailReader = {
    actor: { id: 'approver-1', role: 'approver' },
    keyId: 'key-1',
    context: { requestId: 'r', ipAddress: '192.0.2.1' },
    deadKey: async () => {
      throw new Error('dead');
    },
  };
  return { reading, by, did, written };
}

test('a page is read first, and is answered once its event is written', async () => {
  const { reading, by, did, written } = aBench(true);
  assert.deepEqual((await reading.page(PAGE, by)).events, []);
  assert.deepEqual(did, ['read', 'event by key-1 of null']);
  const [{ eventType, metadata } = assert.fail(), ...others] = written;
  assert.deepEqual([eventType, others], ['audit.read', []]);
  assert.equal(
    JSON.stringify(metadata),
    '{"key_id":"key-1","filter":{"actor_id":"a"},"limit":5,"page":2,"count":0}',
  );
});

test('of an export the horizon is read first, and nothing of it before its one event is written', async () => {
  const { reading, by, did, written } = aBench(true);
  const { batches } = await reading.export(EXPORT, by);
  assert.deepEqual(did, ['horizon', 'event by key-1 of null']);
  for await (const _ of batches) assert.equal(did.at(-1), 'batch');
  assert.equal(written.length, 1);
  assert.equal(written[0]?.eventType, 'audit.exported');
  assert.equal(
    JSON.stringify(written[0]?.metadata),
    `{"key_id":"key-1","filter":{},"format":"csv","continues":"${HORIZON.at}"}`,
  );
});

test('a key that ended meanwhile is told so, and gets nothing', async () => {
  const { reading, by, did, written } = aBench(false);
  await assert.rejects(reading.page(PAGE, by), /dead/);
  await assert.rejects(reading.export(EXPORT, by), /dead/);
  assert.ok(!did.includes('batch'));
  assert.deepEqual(written, []);
});
