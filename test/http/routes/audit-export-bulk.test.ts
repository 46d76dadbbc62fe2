/**
 * An export that does not fit into the memory its server may take: it is streamed, readers who stall hold no
 * connection, and one that breaks off says so.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { EXPORTED } from '../../support/effort.ts';
import { until } from '../../support/issuing.ts';
import { createTestDatabase, postgresSkip as skip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

const ROWS = EXPORTED.events;
const CONNECTIONS = 3;
/** More than sockets hold, and for all who stall together more than the process may grow by. */
const STALLED_ROWS = Math.ceil(ROWS / 3);
/** Beside its heap, a process keeps what is on its way to readers. */
const MAX_GROWTH_BYTES = (EXPORTED.heapMebibytes + 50) * 1024 * 1024;

interface Opened {
  readonly request: ClientRequest;
  readonly answer: IncomingMessage;
}

/** A line of the log. */
const BROKEN_OFF_BY_TIME = /"code":"(?:UNAVAILABLE|BUSY)".*an export of the audit trail broke off/g;

test(`an export of ${ROWS} events`, { skip }, async (t) => {
  const { url: databaseUrl } = await createTestDatabase(t);
  const direct = new pg.Client({ connectionString: databaseUrl });
  direct.on('error', () => undefined);
  await direct.connect();
  t.after(() => direct.end());
  const { text: key } = generateApiKey();
  const server = await startServer(t, {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: key,
    DATABASE_POOL_MAX: String(CONNECTIONS),
    ACCEPT_UNSAFE_DURABILITY: '1',
    PORT: '0',
    LOG_LEVEL: 'error',
    RATE_LIMIT_MAX: '0',
    // Else the garbage collector lets a heap grow by as much as the machine has before it works, and its young part by as
    // much as this Node.js does by default.
    NODE_OPTIONS: `--max-old-space-size=${EXPORTED.heapMebibytes} --max-semi-space-size=8`,
  });
  await direct.query(
    `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata)
     select gen_random_uuid(), case when n <= ${STALLED_ROWS} then 'secret.read' else 'secret.updated' end, 'bulk', 'agent', 'secret', 'bulk/' || n,
       jsonb_build_object('key_id', '0123456789abcdef', 'secret_id', gen_random_uuid(), 'version', n,
         'padding', repeat('x', ${EXPORTED.padding}))
     from generate_series(1, ${ROWS}) as n`,
  );
  await direct.query('analyze audit_events');
  const openOnce = (query: string): Promise<Opened> =>
    new Promise((resolve, reject) => {
      const headers = { 'x-api-key': key };
      const request = get(`${server.url}/v1/audit/export?${query}`, { headers }, (answer) =>
        resolve({ request, answer }),
      );
      request.on('error', reject);
    });
  /** Asks again where no connection was free in time. */
  const open = async (query: string): Promise<Opened> => {
    for (;;) {
      const opened = await openOnce(query);
      if (opened.answer.statusCode !== 503) return opened;
      giveUp(opened);
    }
  };
  const isReady = async () => (await fetch(`${server.url}/ready`)).status === 200;
  const pid = server.child.pid ?? assert.fail('no process');

  const grownOver = async (before: number): Promise<void> => {
    const grown = (await residentBytes(pid)) - before;
    assert.ok(grown < MAX_GROWTH_BYTES, `${Math.round(grown / 1024 / 1024)} MiB more`);
  };

  const brokenOff = () => server.stdout().match(BROKEN_OFF_BY_TIME)?.length ?? 0;
  /** An export that the database took too long for, as it does on a busy machine, is asked for again. */
  const inTime = async (work: () => Promise<void>): Promise<void> => {
    for (;;) {
      const before = brokenOff();
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ECONNRESET')) throw error;
        await until('the log tells that the time ran out', () => brokenOff() > before);
      }
    }
  };

  const isStreamed = async (): Promise<void> => {
    await until('it is ready', isReady);
    const before = await residentBytes(pid);
    const { answer } = await open('format=jsonl&actor_id=bulk');
    assert.equal(answer.statusCode, 200);
    let lines = 0;
    let bytes = 0;
    let measuredAt = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      lines += newlinesIn(chunk as Buffer);
      if (lines - measuredAt < ROWS / 20) continue;
      measuredAt = lines;
      await grownOver(before);
    }
    assert.ok(answer.complete, 'the export was cut off');
    assert.equal(lines, ROWS);
    assert.ok(bytes > 1.5 * MAX_GROWTH_BYTES, `${bytes} bytes would fit, so nothing is proven`);
    t.diagnostic(`${Math.round(bytes / 1024 / 1024)} MiB exported`);
  };
  await t.test('is streamed: the process grows by far less than what it sends', () => inTime(isStreamed));

  await t.test('waits for readers who have stopped reading: without their rows, without a connection', () =>
    inTime(async () => {
      const before = await residentBytes(pid);
      const stalled = await Promise.all(
        Array.from({ length: CONNECTIONS + 1 }, () =>
          open('format=csv&actor_id=bulk&event_type=secret.read'),
        ),
      );
      try {
        await until('nobody reads the trail', async () => (await exportingNow(direct)) === 0);
        // More of them than connections.
        const beside = async () =>
          (await fetch(`${server.url}/v1/audit?limit=1`, { headers: { 'x-api-key': key } })).status === 200;
        await until('who asks beside them is answered', beside);
        await grownOver(before);
        const [first = assert.fail(), ...others] = stalled;
        for (const other of others) giveUp(other);
        let lines = 0;
        for await (const chunk of first.answer) lines += newlinesIn(chunk as Buffer);
        assert.equal(lines, STALLED_ROWS + 1);
      } finally {
        for (const each of stalled) giveUp(each);
      }
      await until('it is ready', isReady);
    }),
  );

  await t.test('that fails under way is cut off, and does not look complete', async () => {
    const { answer } = await open('format=jsonl&actor_id=bulk');
    await new Promise((resolve) => answer.once('readable', resolve));
    await direct.query('alter table audit_events rename to audit_events_away');
    try {
      let received = 0;
      await assert.rejects(async () => {
        for await (const chunk of answer) received += newlinesIn(chunk as Buffer);
      });
      assert.ok(received < ROWS, 'it had been sent before it could fail');
      assert.equal(answer.complete, false);
      await until('the log tells it', () => /an export of the audit trail broke off/.test(server.stdout()));
    } finally {
      await direct.query('alter table audit_events_away rename to audit_events');
    }
    await until('it is ready', isReady);
  });
});

function giveUp({ request, answer }: Opened): void {
  answer.on('error', () => undefined);
  request.destroy();
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? assert.fail('no VmRSS')) * 1024;
}

function newlinesIn(bytes: Buffer): number {
  let found = 0;
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) found += 1;
  return found;
}

async function exportingNow(direct: pg.Client): Promise<number> {
  const { rows } = await direct.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like '%audit_events%'`,
  );
  return rows[0]?.n ?? Number.NaN;
}
