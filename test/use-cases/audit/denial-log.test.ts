/**
 * Refusals in the audit trail (contract section 8): the first of a kind is on record before it is answered, equal
 * ones of its minute are counted, and only a crash may lose that number.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDenialLog, type Denial } from '../../../src/use-cases/audit/denial-log.ts';
import type { AuditEvent } from '../../../src/use-cases/audit/ports.ts';
import { type Deferred, deferred, settled } from '../../support/deferred.ts';

const refusal = (changes: Partial<Denial> = {}): Denial => ({
  type: 'auth.denied',
  code: 'FORBIDDEN',
  actor: { id: 'agent-1', role: 'agent' },
  credentialId: 'key-1',
  resource: { type: 'endpoint', id: 'GET /v1/agents' },
  context: { requestId: 'r', ipAddress: '192.0.2.1' },
  ...changes,
});

function aBench(append?: (event: AuditEvent) => Promise<void>) {
  const clock = { ms: 0 };
  const rows: AuditEvent[] = [];
  let made = 0;
  const recorder = createDenialLog({
    trail: {
      append: async (event) => {
        await append?.(event);
        rows.push(event);
      },
      raise: async () => undefined,
    },
    alarmsOf: async () => [],
    newId: () => `id-${++made}`,
    monotonicMs: () => clock.ms,
  });
  return { recorder, rows, clock };
}

test('the first of a kind is on record when it is answered', async () => {
  const { recorder, rows } = aBench();
  await recorder.record(refusal({ metadata: { denied_tools: ['a'] } }));
  assert.deepEqual(rows, [
    {
      id: 'id-1',
      eventType: 'auth.denied',
      actorId: 'agent-1',
      actorType: 'agent',
      resourceType: 'endpoint',
      resourceId: 'GET /v1/agents',
      metadata: { code: 'FORBIDDEN', denied_tools: ['a'], credential: 'key-1' },
      ipAddress: '192.0.2.1',
      requestId: 'r',
    },
  ]);
});

test('equal ones of its minute are counted, and one further row tells how many', async () => {
  const { recorder, rows, clock } = aBench();
  for (let times = 0; times < 10; times += 1) await recorder.record(refusal());
  assert.equal(rows.length, 1);
  clock.ms = 59_999;
  await recorder.flush();
  assert.equal(rows.length, 1, 'the minute is not over');
  clock.ms = 60_000;
  await recorder.flush();
  assert.deepEqual(
    rows.map(({ metadata }) => metadata['repeated']),
    [undefined, 9],
  );
  await recorder.flush();
  assert.equal(rows.length, 2);
});

test('one that came alone gets no further row', async () => {
  const { recorder, rows, clock } = aBench();
  await recorder.record(refusal());
  clock.ms = 60_000;
  await recorder.flush();
  assert.equal(rows.length, 1);
});

test('after its minute the next one is a first one again, after the count of those before', async () => {
  const { recorder, rows, clock } = aBench();
  for (const ms of [0, 10, 20, 60_000, 60_001]) {
    clock.ms = ms;
    await recorder.record(refusal());
  }
  assert.deepEqual(
    rows.map(({ metadata }) => metadata['repeated']),
    [undefined, 2, undefined],
  );
});

test('another credential, code, resource, event or address is another kind', async () => {
  const { recorder, rows } = aBench();
  const kinds: Partial<Denial>[] = [
    {},
    { credentialId: 'key-2' },
    { code: 'POLICY_DENIED' },
    { type: 'intent.denied' },
    { resource: { type: 'endpoint', id: 'POST /v1/agents' } },
    { resource: { type: 'plan', id: 'GET /v1/agents' } },
    { context: { requestId: 'r', ipAddress: '198.51.100.7' } },
    { context: { requestId: 'r', ipAddress: null } },
  ];
  for (const kind of [...kinds, ...kinds]) await recorder.record(refusal(kind));
  assert.equal(rows.length, kinds.length);
});

test('who is refused from where is not hidden by equal refusals from elsewhere', async () => {
  const { recorder, rows } = aBench();
  const [owner, thief] = ['192.0.2.1', '198.51.100.7'];
  for (const ipAddress of [owner, ...Array(5).fill(thief), owner]) {
    await recorder.record(refusal({ context: { requestId: 'r', ipAddress } }));
  }
  await recorder.flush(true);
  assert.deepEqual(
    rows.map(({ ipAddress, metadata }) => [ipAddress, metadata['repeated']]),
    [
      [owner, undefined],
      [thief, undefined],
      [owner, 1],
      [thief, 4],
    ],
  );
});

test('kinds are not confused by what their parts contain', async () => {
  const { recorder, rows } = aBench();
  await recorder.record(refusal({ credentialId: 'a","b', resource: { type: 'x', id: 'y' } }));
  await recorder.record(refusal({ credentialId: 'a', resource: { type: 'b","x', id: 'y' } }));
  assert.equal(rows.length, 2);
});

test('one that cannot be written rejects, and does not count as written', async () => {
  let broken = true;
  const { recorder, rows } = aBench(async () => {
    if (broken) throw new Error('no database');
  });
  await assert.rejects(recorder.record(refusal()), /no database/);
  await assert.rejects(recorder.record(refusal()), /no database/, 'not counted in place of a row');
  broken = false;
  await recorder.record(refusal());
  assert.deepEqual(
    rows.map(({ metadata }) => metadata['repeated']),
    [undefined],
  );
});

test('at the end, everything that was counted is written', async () => {
  const { recorder, rows } = aBench();
  for (const credentialId of ['key-1', 'key-2', 'key-2', 'key-2']) {
    await recorder.record(refusal({ credentialId }));
  }
  await recorder.flush(true);
  assert.deepEqual(
    rows.map(({ metadata }) => [metadata['credential'], metadata['repeated']]),
    [
      ['key-1', undefined],
      ['key-2', undefined],
      ['key-2', 2],
    ],
  );
});

test('equal ones that come at once are one row and a count', async () => {
  const { recorder, rows, clock } = aBench();
  await Promise.all(Array.from({ length: 10 }, () => recorder.record(refusal())));
  clock.ms = 60_000;
  await recorder.flush();
  assert.deepEqual(
    rows.map(({ metadata }) => metadata['repeated']),
    [undefined, 9],
  );
});

test('one that comes while the first is being written is not answered before a row stands for it', async () => {
  const writes: Deferred<void>[] = [];
  const { recorder, rows } = aBench(() => {
    const write = deferred();
    writes.push(write);
    return write.promise;
  });
  const answered: number[] = [];
  const both = [1, 2].map(async (request) => {
    await recorder.record(refusal());
    answered.push(request);
  });
  await settled();
  assert.deepEqual([answered, rows], [[], []]);
  for (const write of writes) write.resolve();
  await settled();
  for (const write of writes) write.resolve();
  await Promise.all(both);
  assert.ok(rows.length >= 1);
});

test('of two that came at once, what is counted after the first is not lost', async () => {
  const held: Deferred<void>[] = [];
  let isHeld = true;
  const { recorder, rows, clock } = aBench(async () => {
    if (!isHeld) return;
    const write = deferred();
    held.push(write);
    await write.promise;
  });
  const both = [recorder.record(refusal()), recorder.record(refusal())];
  await settled();
  held[0]?.resolve();
  await settled();
  const third = recorder.record(refusal());
  await settled();
  isHeld = false;
  for (const write of held) write.resolve();
  await Promise.all([...both, third]);
  clock.ms = 60_000;
  await recorder.flush();
  const told = rows.reduce((sum, { metadata }) => sum + Number(metadata['repeated'] ?? 1), 0);
  assert.equal(told, 3);
});

test('a count that cannot be written is kept and written later', async () => {
  let broken = false;
  const { recorder, rows, clock } = aBench(async () => {
    if (broken) throw new Error('no database');
  });
  for (let times = 0; times < 5; times += 1) await recorder.record(refusal());
  clock.ms = 60_000;
  broken = true;
  await assert.rejects(recorder.flush(), /no database/);
  broken = false;
  await recorder.flush();
  assert.deepEqual(
    rows.map(({ metadata }) => metadata['repeated']),
    [undefined, 4],
  );
});

test('beyond so many kinds of one credential every refusal of it is written, and others are counted still', async () => {
  const { recorder, rows, clock } = aBench();
  const from = (n: number) => ({ context: { requestId: 'r', ipAddress: `2001:db8::${n.toString(16)}` } });
  const many = async (): Promise<number> => {
    const before = rows.length;
    for (let n = 0; n < 1_100; n += 1) await recorder.record(refusal(from(n)));
    return rows.length - before;
  };
  assert.equal(await many(), 1_100);
  assert.equal(await many(), 100, 'of those that there was no room for');
  for (let times = 0; times < 3; times += 1) await recorder.record(refusal({ credentialId: 'key-2' }));
  assert.equal(rows.length, 1_201);
  // Room that became free is counted as free, however it became so.
  for (const minute of [1, 2, 3]) {
    clock.ms = minute * 60_000;
    if (minute === 2) await recorder.flush();
    await many();
    assert.equal(await many(), 100, `minute ${minute}`);
  }
});

test('beyond so many kinds at once, every refusal is written', async () => {
  const { recorder, rows } = aBench();
  for (let kind = 0; kind < 10_000; kind += 1)
    await recorder.record(refusal({ credentialId: `key-${kind}` }));
  for (let times = 0; times < 3; times += 1) await recorder.record(refusal({ credentialId: 'one more' }));
  assert.equal(rows.length, 10_003);
});
