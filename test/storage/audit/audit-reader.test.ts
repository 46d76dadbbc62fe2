/** The reader of the trail agrees with a naive one, whatever the filter and however it is cut into pages and batches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAuditReader } from '../../../src/storage/audit/audit-reader.ts';
import type { AuditFilter, AuditPosition, RecordedAuditEvent } from '../../../src/use-cases/audit/ports.ts';
import { createAuditTrailReading } from '../../../src/use-cases/audit/read-audit-trail.ts';
import { auditFilter } from '../../support/audit-filter.ts';
import { COSTLY_RUNS } from '../../support/effort.ts';
import { BACKENDS, rows } from '../opened.ts';

const TYPES = ['secret.read', 'token.issued'];
const ACTORS = ['one', 'two', 'three'];
const RESOURCES = ['secret', 'approval'];
const IDS = ['a/K', 'a/L', "'; drop table audit_events --"];
const HOUR = Date.parse('2026-02-28T23:30:00Z');
const ROWS = 240;

/** Over the end of a month, so over two partitions, with many of one moment. */
const PLANT = `
  insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, created_at)
  select gen_random_uuid(), ($1::text[])[1 + n % 2], ($2::text[])[1 + n % 3], 'agent', ($3::text[])[1 + (n / 3) % 2],
    ($4::text[])[1 + (n / 7) % 3], jsonb_build_object('n', n),
    $5::timestamptz + make_interval(mins => n / 4) + (n % 2) * interval '1 microsecond'
  from generate_series(0, $6::int - 1) as n`;

const optional = <T>(values: readonly T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
const moment = fc.option(
  fc.integer({ min: -5, max: 70 }).map((minutes) => new Date(HOUR + minutes * 60_000).toISOString()),
  { nil: undefined },
);
const aFilter = fc.record({
  eventType: optional([...TYPES, 'secret.%']),
  actorId: optional(ACTORS),
  resourceType: optional(RESOURCES),
  resourceId: optional(IDS),
  since: moment,
  until: moment,
  ofCanaries: fc.boolean(),
});

function accepts(filter: AuditFilter, event: RecordedAuditEvent): boolean {
  const at = Date.parse(event.created_at);
  return (
    (filter.ofCanaries || !/^secret\.canary_/.test(event.event_type)) &&
    (filter.eventType === undefined || filter.eventType === event.event_type) &&
    (filter.actorId === undefined || filter.actorId === event.actor_id) &&
    (filter.resourceType === undefined || filter.resourceType === event.resource_type) &&
    (filter.resourceId === undefined || filter.resourceId === event.resource_id) &&
    (filter.since === undefined || at >= Date.parse(filter.since)) &&
    (filter.until === undefined || at < Date.parse(filter.until))
  );
}

const positionOf = ({ created_at: createdAt, id }: RecordedAuditEvent): AuditPosition => ({ createdAt, id });
const keyOf = (event: RecordedAuditEvent): string => `${event.created_at} ${event.id}`;
const numbersOf = (events: readonly RecordedAuditEvent[]) => events.map((event) => event.metadata['n']);

for (const backend of BACKENDS) {
  test(`${backend.name}: pages, counts and batches are those of a naive reader`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    await rows(
      database,
      `create table audit_events_2026_02 partition of audit_events
       for values from ('2026-02-01 00:00:00+00') to ('2026-03-01 00:00:00+00')`,
    );
    await rows(database, PLANT, [TYPES, ACTORS, RESOURCES, IDS, new Date(HOUR), ROWS]);
    const reader = createAuditReader(database);
    const everything = auditFilter();
    const all = await reader.list({ filter: everything, limit: ROWS + 1, offset: 0, before: undefined });
    assert.equal(all.length, ROWS);
    // uuids compare as their lower-case text does.
    const naive = [...all].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    assert.deepEqual([...all].reverse(), naive);
    const to = await reader.horizon();

    await fc.assert(
      fc.asyncProperty(
        aFilter,
        fc.integer({ min: 1, max: 60 }),
        fc.nat(300),
        async (filter, limit, bound) => {
          const wanted = numbersOf(naive.filter((event) => accepts(filter, event)));
          const newestFirst = [...wanted].reverse();
          assert.equal(await reader.count(filter, bound), Math.min(bound, wanted.length));

          const listed: RecordedAuditEvent[] = [];
          for (
            let page: readonly RecordedAuditEvent[] | undefined;
            page === undefined || page.length === limit;
          ) {
            const last = listed.at(-1);
            const before = last && positionOf(last);
            page = await reader.list({ filter, limit, offset: 0, before });
            listed.push(...page);
          }
          assert.deepEqual(numbersOf(listed), newestFirst);
          const offset = bound % 20;
          const skipped = await reader.list({ filter, limit, offset, before: undefined });
          assert.deepEqual(numbersOf(skipped), newestFirst.slice(offset, offset + limit));

          const settled: RecordedAuditEvent[] = [];
          for (
            let batch: readonly RecordedAuditEvent[] | undefined;
            batch === undefined || batch.length === limit;
          ) {
            const last = settled.at(-1);
            batch = await reader.settled({
              filter,
              had: undefined,
              to,
              after: last && positionOf(last),
              limit,
            });
            settled.push(...batch);
          }
          assert.deepEqual(numbersOf(settled), wanted);
        },
      ),
      { numRuns: COSTLY_RUNS },
    );
  });

  test(`${backend.name}: from one horizon to the next, each event comes once`, {
    skip: backend.skip,
  }, async (t) => {
    const database = await backend.openMigrated(t);
    const { export: exportFrom } = createAuditTrailReading(createAuditReader(database));
    const taken: unknown[] = [];
    let from: Awaited<ReturnType<typeof exportFrom>>['horizon'] | undefined;
    for (let round = 0; round < 6; round += 1) {
      await rows(
        database,
        `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
         select gen_random_uuid(), 'secret.read', 'a', 'agent', 'secret', 'a/K', jsonb_build_object('n', $1 * 500 + n)
         from generate_series(0, $2::int - 1) as n`,
        [round, round === 3 ? 0 : 500],
      );
      const { horizon, batches } = await exportFrom(auditFilter(), from);
      from = horizon;
      // What comes after the horizon is for the next, although this one is not read yet.
      await rows(
        database,
        `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
         values (gen_random_uuid(), 'secret.read', 'a', 'agent', 'secret', 'a/K', jsonb_build_object('n', -1 - $1::int))`,
        [round],
      );
      const inThis: unknown[] = [];
      for await (const events of batches) inThis.push(...numbersOf(events));
      assert.ok(!inThis.includes(-1 - round), `round ${round} read past its horizon`);
      taken.push(...inThis);
    }
    const wanted = [0, 1, 2, 4, 5].flatMap((round) => Array.from({ length: 500 }, (_, n) => round * 500 + n));
    assert.deepEqual(
      taken.map(Number).sort((a, b) => a - b),
      [-5, -4, -3, -2, -1, ...wanted],
    );
  });
}
