/** `GET /v1/audit`: whoever may read the trail finds every event, in order, and nothing twice (contract section 8). */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { createAuditReader } from '../../../src/storage/audit/audit-reader.ts';
import type { Database, Statement } from '../../../src/storage/engine/database.ts';
import type { AuditFilter } from '../../../src/use-cases/audit/ports.ts';
import {
  assertRefused,
  buildTestApp,
  openTestApp,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { auditFilter } from '../../support/audit-filter.ts';
import { adminQuery, createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { microseconds, plant, type TrailRow } from './planted-events.ts';

interface PageView {
  readonly events: readonly TrailRow[];
  readonly total: number;
  readonly total_exact: boolean;
  readonly page: number;
  readonly limit: number;
  readonly next_cursor: string | null;
}

const base64url = (text: string): string => Buffer.from(text).toString('base64url');
const AN_ID = '0190a000-0000-7000-8000-000000000000';

test('the audit trail', { skip: postgresSkip }, async (t) => {
  const app = await buildTestApp(t);
  const { adminKey, call, createAgent, sql } = app;
  const approver = await createAgent({ role: 'approver' });
  const agent = await createAgent({ allowed_scopes: ['secrets:read:a/*'] });

  const ask = (query: Record<string, string | number> | string, key = adminKey) => {
    const text = typeof query === 'string' ? query : String(new URLSearchParams(entriesOf(query)));
    return call<PageView>({ method: 'GET', url: `/v1/audit?${text}`, key });
  };
  const read = async (query: Record<string, string | number>, key?: string): Promise<PageView> => {
    const answer = await ask(query, key);
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  };
  const namesOf = ({ events }: PageView) => events.map((event) => event.resource_id);

  await t.test('is for administrators and approvers only', async () => {
    for (const key of [adminKey, approver.key]) assert.equal((await ask({}, key)).status, 200);
    for (const url of ['/v1/audit', '/v1/audit/export?format=jsonl']) {
      assertRefused(await call({ method: 'GET', url, key: agent.key }), { status: 403, code: 'FORBIDDEN' });
      assertRefused(await call({ method: 'GET', url }), { status: 401, code: 'UNAUTHORIZED' });
      const scoped = { authorization: `Bearer ast_tok_${'A'.repeat(43)}` };
      const refused = await call({ method: 'GET', url, headers: scoped });
      assertRefused(refused, { status: 401, code: 'UNAUTHORIZED' });
    }
    const revoked = await createAgent({ role: 'approver' });
    assert.equal((await ask({}, revoked.key)).status, 200);
    await call({ method: 'DELETE', url: `/v1/agents/${revoked.id}`, key: adminKey });
    assertRefused(await ask({}, revoked.key), { status: 401, code: 'UNAUTHORIZED' });
  });

  await t.test('tells what an answer’s request did, by its id', async () => {
    const made = await call({
      method: 'PUT',
      url: '/v1/secrets/shape/K',
      key: adminKey,
      json: { value: 'PLANTED-VALUE' },
      remoteAddress: '192.0.2.7',
    });
    const [admin] = await sql<{ id: string }>("select id from agents where role = 'admin'");
    const found = await ask({ resource_id: 'shape/K' });
    const { events, ...rest } = found.body;
    const [{ id, metadata, created_at, ...event } = assert.fail('no event'), ...others] = events;
    assert.deepEqual(others, []);
    assert.deepEqual(rest, { total: 1, total_exact: true, page: 1, limit: 50, next_cursor: null });
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.equal(metadata['version'], 1);
    assert.deepEqual(event, {
      event_type: 'secret.created',
      actor_id: admin?.id,
      actor_type: 'admin',
      resource_type: 'secret',
      resource_id: 'shape/K',
      ip_address: '192.0.2.7',
      request_id: made.headers['x-request-id'],
    });
    assert.doesNotMatch(found.text, /PLANTED-VALUE/);
  });

  await t.test('has each reading of it: who, what was asked for, and after what was answered', async () => {
    const before = (await read({})).total;
    const filtered = { actor_id: approver.id, since: '2026-01-01T01:00:00+01:00' };
    const asked = await ask({ ...filtered, limit: 7 }, approver.key);
    const after = await read({ limit: 2 });
    assert.equal(after.total, before + 2, 'itself is not in it');
    const [{ id, created_at, ...event } = assert.fail('no event'), own] = after.events;
    assert.equal(own?.event_type, 'audit.read');
    assert.deepEqual(event, {
      event_type: 'audit.read',
      actor_id: approver.id,
      actor_type: 'approver',
      resource_type: 'audit_trail',
      resource_id: '*',
      metadata: {
        key_id: approver.keyId,
        filter: { actor_id: approver.id, since: '2026-01-01T00:00:00.000000Z' },
        limit: 7,
        page: 1,
        count: asked.body.events.length,
      },
      ip_address: '127.0.0.1',
      request_id: asked.headers['x-request-id'],
    });
    const next = await read({ limit: 1, cursor: after.next_cursor ?? '' });
    const [last] = (await read({ limit: 1 })).events;
    assert.deepEqual(
      [last?.metadata['before'], last?.metadata['page'], last?.metadata['count']],
      [own?.created_at, undefined, next.events.length],
    );
  });

  await t.test('is answered to nobody where the event of the reading cannot be written', async () => {
    const ended = await createAgent({ role: 'approver' });
    assert.equal((await ask({}, ended.key)).status, 200);
    const readings = () =>
      sql("select 1 from audit_events where actor_id = $1 and event_type ~ '^audit[.]'", [ended.id]);
    await sql('alter table audit_events add constraint shut check (event_type !~ $$^audit[.]$$) not valid');
    try {
      for (const url of ['/v1/audit', '/v1/audit/export?format=jsonl']) {
        const { status, text } = await call({ method: 'GET', url, key: ended.key });
        assert.ok(status >= 500, text);
        assert.doesNotMatch(text, /created_at/);
      }
    } finally {
      await sql('alter table audit_events drop constraint shut');
    }
    assert.equal((await readings()).length, 1);
  });

  await t.test('is newest first, to the microsecond, and by id where the moment is the same', async () => {
    const second = '2026-03-01T12:00:00';
    const ids = ['a', 'b', 'c'].map((letter) => `${AN_ID.slice(0, -1)}${letter}`);
    await plant(app, [
      { actor_id: 'order', resource_id: 'third', created_at: microseconds(second, 1002) },
      { actor_id: 'order', resource_id: 'first', created_at: microseconds(second, 1000) },
      { actor_id: 'order', resource_id: 'second', created_at: microseconds(second, 1001) },
      ...[1, 0, 2].map((n) => ({
        actor_id: 'order',
        id: ids[n] ?? '',
        resource_id: `same ${n}`,
        created_at: microseconds(second, 1003),
      })),
    ]);
    const wanted = ['same 2', 'same 1', 'same 0', 'third', 'second', 'first'];
    const all = await read({ actor_id: 'order' });
    assert.deepEqual(namesOf(all), wanted);
    assert.equal(all.events.at(-2)?.created_at, microseconds(second, 1001));
    const one: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: PageView = await read({
        actor_id: 'order',
        limit: 1,
        ...(cursor === '' ? {} : { cursor }),
      });
      one.push(...namesOf(page));
      cursor = page.next_cursor;
    }
    assert.deepEqual(one, wanted);
  });

  await t.test('is narrowed by each filter alone and by all of them together', async () => {
    const facts = {
      event_type: ['token.issued', 'token.revoked'],
      actor_id: ['filter one', 'filter two'],
      resource_type: ['filtered a', 'filtered b'],
      resource_id: ['filtered/1', 'filtered/2'],
    } as const;
    const combinations = Array.from({ length: 16 }, (_, n) => ({
      event_type: facts.event_type[n & 1] ?? '',
      actor_id: facts.actor_id[(n >> 1) & 1] ?? '',
      resource_type: facts.resource_type[(n >> 2) & 1] ?? '',
      resource_id: facts.resource_id[(n >> 3) & 1] ?? '',
      created_at: microseconds('2026-04-01T00:00:00', n),
      request_id: `filters ${n}`,
    }));
    await plant(app, combinations);
    const time = { since: '2026-04-01T00:00:00Z', until: '2026-04-01T00:00:01Z' };
    for (let asked = 0; asked < 16; asked += 1) {
      const names = (Object.keys(facts) as (keyof typeof facts)[]).filter((_, bit) => (asked >> bit) & 1);
      const query = Object.fromEntries(names.map((name) => [name, facts[name][1]]));
      const wanted = combinations.filter((row) => names.every((name) => row[name] === facts[name][1]));
      const { events, total } = await read({ ...query, ...time });
      assert.deepEqual(
        events.map((event) => event.request_id),
        wanted.map((row) => row.request_id).reverse(),
        JSON.stringify(query),
      );
      assert.equal(total, wanted.length);
    }
    for (const query of [
      { event_type: 'token.issue' },
      { event_type: 'token.%' },
      { actor_id: 'Filter one' },
      { resource_id: 'filtered/' },
      { resource_id: "filtered/1' or true --" },
    ]) {
      assert.deepEqual(namesOf(await read({ ...query, ...time })), [], JSON.stringify(query));
    }
  });

  await t.test('holds the moment of `since` and not that of `until`', async () => {
    const second = '2026-05-01T08:00:00';
    await plant(
      app,
      [0, 1000, 1001, 2000].map((offset) => ({
        actor_id: 'times',
        resource_id: String(offset),
        created_at: microseconds(second, offset),
      })),
    );
    for (const [query, wanted] of [
      [{ since: microseconds(second, 1000) }, ['2000', '1001', '1000']],
      [{ until: microseconds(second, 1000) }, ['0']],
      [{ since: microseconds(second, 1000), until: microseconds(second, 2000) }, ['1001', '1000']],
      [{ since: microseconds(second, 2000), until: microseconds(second, 2000) }, []],
      [{ since: '2026-05-01T10:00:00.001+02:00', until: '2026-05-01T09:00:00+01:00' }, []],
      [{ since: '2026-05-01T10:00:00.002+02:00' }, ['2000']],
      [{ since: microseconds(second, 1001) }, ['2000', '1001']],
      [{ until: microseconds(second, 1001) }, ['1000', '0']],
    ] as const) {
      assert.deepEqual(namesOf(await read({ actor_id: 'times', ...query })), wanted, JSON.stringify(query));
    }
  });

  await t.test(
    'reads what is finer than a microsecond as the next one, which no event is before',
    async () => {
      const second = '2026-05-02T08:07:35';
      const moments = [
        `${second}.607999Z`,
        `${second}.608000Z`,
        `${second}.608001Z`,
        '2026-05-02T08:07:59.999999Z',
        '2026-05-02T08:08:00.000000Z',
      ];
      await plant(
        app,
        moments.map((created_at) => ({ actor_id: 'fine', resource_id: created_at, created_at })),
      );
      for (const [fine, before] of [
        [`${second}.607999001Z`, 1],
        [`${second}.608Z`, 1],
        [`${second}.608000000Z`, 1],
        [`${second}.608000001Z`, 2],
        [`${second}.608000999Z`, 2],
        [`2026-05-02T10:07:35.608000999+02:00`, 2],
        [`${second}.6080010Z`, 2],
        [`${second}.6080011Z`, 3],
        ['2026-05-02T08:07:59.999999Z', 3],
        ['2026-05-02T08:07:59.9999999Z', 4],
        ['2026-05-02T09:07:59.999999001+01:00', 4],
      ] as const) {
        const newestFirst = moments.toReversed();
        const since = await read({ actor_id: 'fine', since: fine });
        assert.deepEqual(namesOf(since), newestFirst.slice(0, moments.length - before), `since ${fine}`);
        const until = await read({ actor_id: 'fine', until: fine });
        assert.deepEqual(namesOf(until), newestFirst.slice(moments.length - before), `until ${fine}`);
      }
    },
  );

  await t.test('refuses a moment beyond the year 9999, in the list and in the export', async () => {
    for (const url of ['/v1/audit?', '/v1/audit/export?format=jsonl&', '/v1/audit/export?format=csv&']) {
      for (const name of ['since', 'until']) {
        for (const moment of [
          '9999-12-31T23:59:59-23:59',
          '9999-12-31T23:59:59.5-00:01',
          '9999-12-31T23:59:59.9999999Z',
        ]) {
          const about = `${url}${name}=${moment}`;
          const refused = await call({
            method: 'GET',
            url: `${url}${name}=${encodeURIComponent(moment)}`,
            key: adminKey,
          });
          assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR' }, about);
        }
        const last = await call({
          method: 'GET',
          url: `${url}${name}=9999-12-31T23:59:59.999999Z`,
          key: adminKey,
        });
        assert.equal(last.status, 200, last.text);
      }
    }
  });

  await t.test(
    'is whole page by page and cursor by cursor, without repeats, while events arrive',
    async () => {
      const wanted = Array.from({ length: 45 }, (_, n) => `paged ${n}`);
      await plant(
        app,
        wanted.map((resource_id, n) => ({
          actor_id: 'paged',
          resource_id,
          created_at: microseconds('2026-06-01T00:00:00', n),
        })),
      );
      const pages = await Promise.all([1, 2, 3].map((page) => read({ actor_id: 'paged', page, limit: 20 })));
      assert.deepEqual(pages.flatMap(namesOf).reverse(), wanted);
      assert.deepEqual(
        pages.map(({ page, limit, total }) => [page, limit, total]),
        [
          [1, 20, 45],
          [2, 20, 45],
          [3, 20, 45],
        ],
      );
      assert.deepEqual(
        pages.map((page) => page.next_cursor === null),
        [false, false, true],
      );
      assert.deepEqual((await read({ actor_id: 'paged', page: 4, limit: 20 })).events, []);

      const seen: string[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: PageView = await read({
          actor_id: 'paged',
          limit: 15,
          ...(cursor === '' ? {} : { cursor }),
        });
        seen.push(...namesOf(page));
        cursor = page.next_cursor;
        await plant(app, [{ actor_id: 'paged', resource_id: 'late' }]);
      }
      assert.deepEqual(seen.reverse(), wanted);
    },
  );

  await t.test('ends with the last full page', async () => {
    await plant(
      app,
      Array.from({ length: 4 }, () => ({ actor_id: 'full' })),
    );
    const { next_cursor: cursor } = await read({ actor_id: 'full', limit: 2 });
    assert.equal((await read({ actor_id: 'full', limit: 2, cursor: cursor ?? '' })).next_cursor, null);
  });

  await t.test('comes 50 at a time unless up to 200 are asked for', async () => {
    await plant(
      app,
      Array.from({ length: 205 }, () => ({ actor_id: 'many' })),
    );
    assert.equal((await read({ actor_id: 'many' })).events.length, 50);
    for (const limit of [1, 9, 10, 99, 100, 199, 200]) {
      assert.equal((await read({ actor_id: 'many', limit })).events.length, limit);
    }
    for (const limit of ['0', '201', '1000', '-1', '1.5', '05', '1e2', ' 5', '', 'all']) {
      assertRefused(await ask({ limit }), { status: 400, code: 'VALIDATION_ERROR' }, limit);
    }
  });

  await t.test('refuses what it does not understand instead of ignoring it', async () => {
    for (const query of [
      'page=0',
      'page=-1',
      'page=1.0',
      'page=1000000',
      'page=',
      'since=2026-01-01',
      'since=yesterday',
      'since=2026-13-45T00:00:00Z',
      'since=2026-02-30T00:00:00Z',
      'since=2026-01-01T00:00:00',
      'since=1969-12-31T23:59:59Z',
      'until=2026-01-01T24:30:00Z',
      'until=1767225600',
      'until=',
      'event_type=',
      'event_type=a%00b',
      `event_type=${'a'.repeat(65)}`,
      `actor_id=${'a'.repeat(257)}`,
      `resource_id=${'a'.repeat(601)}`,
      'actor_id=a&actor_id=b',
      'limit=5&limit=6',
      'actor=me',
      'offset=3',
      'format=csv',
      'total=0',
    ]) {
      assertRefused(await ask(query), { status: 400, code: 'VALIDATION_ERROR' }, query);
    }
  });

  await t.test('refuses a page together with a cursor', async () => {
    const { next_cursor: cursor } = await read({ actor_id: 'many', limit: 1 });
    for (const page of [1, 2]) {
      const refused = await ask({ actor_id: 'many', limit: 1, page, cursor: cursor ?? '' });
      assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/cursor' } });
    }
  });

  await t.test('refuses cursors that it did not give', async () => {
    const exported = await call({ method: 'GET', url: '/v1/audit/export?format=jsonl', key: adminKey });
    const moment = '2026-01-01T00:00:00.000000Z';
    for (const cursor of [
      '!!!!',
      '%',
      'a',
      AN_ID,
      base64url(''),
      base64url(AN_ID),
      base64url(moment),
      base64url(`${moment} ${AN_ID} `),
      base64url(`${moment}  ${AN_ID}`),
      base64url(`${moment} ${AN_ID.toUpperCase()}`),
      base64url(`2026-01-01T00:00:00.000Z ${AN_ID}`),
      base64url(`2026-13-45T00:00:00.000000Z ${AN_ID}`),
      base64url(`2026-02-30T00:00:00.000000Z ${AN_ID}`),
      base64url(`2026-04-31T00:00:00.000000Z ${AN_ID}`),
      base64url(`2026-01-01T24:00:01.000000Z ${AN_ID}`),
      base64url(`2026-01-01T00:61:00.000000Z ${AN_ID}`),
      base64url(`0000-01-01T00:00:00.000000Z ${AN_ID}`),
      base64url(`${moment} ' or true`),
      `${base64url(`${moment} ${AN_ID}`)}=`,
      Buffer.from(`${moment} ${AN_ID}`).toString('base64').replace(/=*$/, '+'),
      exported.headers['x-next-cursor'] ?? '',
      'a'.repeat(513),
    ]) {
      const refused = await ask({ cursor });
      const shown = `${cursor} ${Buffer.from(cursor, 'base64url').toString()}`;
      assertRefused(refused, { status: 400, code: 'VALIDATION_ERROR' }, shown);
    }
    assertRefused(await ask('cursor='), { status: 400, code: 'VALIDATION_ERROR' });
    assert.equal((await ask({ cursor: base64url(`${moment} ${AN_ID}`) })).status, 200);
  });

  await t.test('counts exactly to 10,000 and says when there are more', async () => {
    await sql(
      `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
       select gen_random_uuid(), 'secret.read', 'counted', 'agent', 'secret', 'counted/' || n, '{}'
       from generate_series(1, 10000) as n`,
    );
    const count = async () => {
      const { total, total_exact, events } = await read({ actor_id: 'counted', limit: 1 });
      return { total, total_exact, events: events.length };
    };
    assert.deepEqual(await count(), { total: 10_000, total_exact: true, events: 1 });
    await plant(app, [{ actor_id: 'counted' }]);
    assert.deepEqual(await count(), { total: 10_000, total_exact: false, events: 1 });
    const last = await read({ actor_id: 'counted', page: 51, limit: 200 });
    assert.deepEqual([last.events.length, last.next_cursor], [1, null]);
  });

  await t.test('is read through an index by whatever filter, and never sorted', async () => {
    const client = new pg.Client({ connectionString: app.databaseUrl });
    await client.connect();
    try {
      await client.query('set enable_seqscan = off; set enable_sort = off; set enable_bitmapscan = off');
      for (const [filter, column] of [
        [{}, undefined],
        [{ eventType: 'secret.read' }, 'event_type'],
        [{ actorId: 'counted' }, 'actor_id'],
        [{ resourceId: 'counted/1' }, 'resource_id'],
        [{ resourceType: 'secret' }, 'resource_type'],
        [{ since: '2026-01-01T00:00:00Z' }, 'created_at'],
        [{ until: '2026-01-01T00:00:00Z' }, 'created_at'],
      ] as const) {
        for (const { text, values } of await statementsOf(auditFilter(filter))) {
          const plan = await explained(client, text, values);
          assert.deepEqual(
            plan.filter(({ type }) => type === 'Sort' || type === 'Seq Scan'),
            [],
            text,
          );
          if (column === undefined) continue;
          const scans = plan.filter(({ condition }) => condition !== undefined);
          assert.ok(
            scans.some(({ condition }) => condition?.includes(column)),
            `${column} is in no index: ${text}`,
          );
        }
      }
    } finally {
      await client.end();
    }
  });

  await t.test('answers an error and not an empty page when it cannot be read', async () => {
    await sql('alter table audit_events rename to audit_events_away');
    let answer: TestAnswer;
    try {
      answer = await ask({});
    } finally {
      await sql('alter table audit_events_away rename to audit_events');
    }
    assert.ok(answer.status >= 500, answer.text);
    assert.doesNotMatch(answer.text, /audit_events|relation/);
  });
});

type ValidationIssue = 'a trigger that raises' | 'a revoked grant';

for (const fault of ['a trigger that raises', 'a revoked grant'] satisfies ValidationIssue[]) {
  test(`with ${fault}, nothing about an approval has an effect`, { skip: postgresSkip }, async (t) => {
    const { app, refuseEvents, acceptEvents } = await buildFaulty(t, fault);
    const { adminKey, call, createAgent } = app;
    const agent = await createAgent({ allowed_scopes: ['secrets:read:a/*'] });
    const approver = await createAgent({ role: 'approver' });
    const asked = { scopes: ['secrets:read:a/K'], require_approval: true };
    const request = () =>
      call<{ approval_id: string }>({ method: 'POST', url: '/v1/tokens', key: agent.key, json: asked });
    const opened = async (): Promise<string> => {
      const answer = await request();
      assert.equal(answer.status, 202, answer.text);
      return answer.body.approval_id;
    };
    const decide = (id: string, how: string) =>
      call({ method: 'POST', url: `/v1/approvals/${id}/${how}`, key: approver.key });
    const poll = (id: string) =>
      call<{ status: string; token?: string }>({
        method: 'GET',
        url: `/v1/approvals/agent/${id}`,
        key: agent.key,
      });
    const everything = () =>
      app.sql(`
        select (select json_agg(a order by id) from approvals a) as approvals,
          (select json_agg(v order by approval_id) from approval_votes v) as votes,
          (select json_agg(o.payload order by id) from webhook_outbox o) as notices,
          (select json_agg(s order by id) from scoped_tokens s) as tokens,
          (select count(*) from audit_events) as events`);

    const pending = await opened();
    const approved = await opened();
    assert.equal((await decide(approved, 'approve')).status, 200);
    const before = await everything();
    await refuseEvents();
    for (const [what, attempt] of [
      ['request', request],
      ['vote', () => decide(pending, 'approve')],
      ['denial', () => decide(pending, 'deny')],
      ['denial of what was approved', () => decide(approved, 'deny')],
      ['claim', () => poll(approved)],
    ] as const) {
      const refused = await attempt();
      assertRefused(refused, { status: 503, code: 'AUDIT_UNAVAILABLE' }, what);
      assert.doesNotMatch(refused.text, /ast_tok_|apr_|audit_events|planted fault/, what);
    }
    assert.deepEqual(await everything(), before);
    await acceptEvents();

    const claimed = await poll(approved);
    assert.match(claimed.body.token ?? '', /^ast_tok_/, 'what was refused can be done afterwards');
    assert.equal((await decide(pending, 'deny')).status, 200);
    assert.equal((await call({ method: 'GET', url: '/v1/me', key: adminKey })).status, 200);
  });
}

/** An app whose events the database refuses between the two calls; with a webhook, so that notices are owed. */
async function buildFaulty(
  t: Pick<TestContext, 'after'>,
  fault: ValidationIssue,
): Promise<{ app: TestApp; refuseEvents(): Promise<void>; acceptEvents(): Promise<void> }> {
  const webhook = {
    // Nobody listens there.
    APPROVAL_WEBHOOK_URL: 'http://127.0.0.1:9/',
    APPROVAL_WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  };
  const { url } = await createTestDatabase(t);
  const owner = new pg.Client({ connectionString: url });
  owner.on('error', () => undefined);
  await owner.connect();
  const run = async (statement: string) => void (await owner.query(statement));
  if (fault === 'a trigger that raises') {
    t.after(() => owner.end());
    await run(`create function planted_fault() returns trigger language plpgsql as
      $$ begin raise exception 'planted fault'; end $$`);
    return {
      app: await openTestApp(t, url, webhook),
      refuseEvents: () =>
        run(
          'create trigger planted before insert on audit_events for each row execute function planted_fault()',
        ),
      acceptEvents: () => run('drop trigger planted on audit_events'),
    };
  }
  const role = `writ_test_${randomUUID().replaceAll('-', '')}`;
  await adminQuery(`create role ${role} login password 'serving'`);
  t.after(async () => {
    await run(`drop owned by ${role}`);
    await owner.end();
    await adminQuery(`drop role ${role}`);
  });
  await run(`grant usage on schema public to ${role}`);
  await run(`grant select, insert, update, delete on all tables in schema public to ${role}`);
  const serving = new URL(url);
  serving.username = role;
  serving.password = 'serving';
  return {
    app: await openTestApp(t, serving.href, webhook),
    refuseEvents: () => run(`revoke insert on audit_events from ${role}`),
    acceptEvents: () => run(`grant insert on audit_events to ${role}`),
  };
}

function entriesOf(query: Record<string, string | number>): [string, string][] {
  return Object.entries(query).map(([name, value]) => [name, String(value)]);
}

const POSITION = { createdAt: '2026-01-01T00:00:00.000000Z', id: AN_ID };

/** What the reader would run: a first page, a later one, the count, and a batch of an export. */
async function statementsOf(filter: AuditFilter): Promise<{ text: string; values: readonly unknown[] }[]> {
  const ran: { text: string; values: readonly unknown[] }[] = [];
  const recording = {
    query: async ({ name, text }: Statement, values: readonly unknown[]) => {
      if (name === 'audit_same_server') return [{ same: true }];
      ran.push({ text, values });
      return [];
    },
  } as unknown as Database;
  const reader = createAuditReader(recording);
  await reader.list({ filter, limit: 51, offset: 0, before: undefined });
  await reader.list({ filter, limit: 51, offset: 0, before: POSITION });
  await reader.count(filter, 10_001);
  const to = { snapshot: '999999999:999999999:', epoch: POSITION.createdAt };
  await reader.settled({ filter, had: undefined, to, after: POSITION, limit: 1000 });
  assert.equal(ran.length, 4);
  return ran;
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Index Cond'?: string;
  readonly Plans?: readonly PlanNode[];
}

async function explained(
  client: pg.Client,
  text: string,
  values: readonly unknown[],
): Promise<{ type: string; condition: string | undefined }[]> {
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
    `explain (format json) ${text}`,
    [...values],
  );
  const nodes: { type: string; condition: string | undefined }[] = [];
  const walk = (node: PlanNode): void => {
    nodes.push({ type: node['Node Type'], condition: node['Index Cond'] });
    for (const child of node.Plans ?? []) walk(child);
  };
  walk(rows[0]?.['QUERY PLAN'][0]?.Plan ?? assert.fail('no plan'));
  return nodes;
}
