/** A notice that Writ did not write is never signed and sent, and holds none up that it did write. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { OUTBOX, type Owed, SECRET, startReceiver, verified } from '../../platform/webhook-receiver.ts';
import { buildTestApp } from '../../support/app.ts';
import { until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';

const FORGED = 'approval.forged';
const PAYLOAD = JSON.stringify({ type: FORGED, timestamp: '2026-01-01T00:00:00Z', data: {} });
const PLANT = `
  insert into webhook_outbox (id, payload, seal)
  select gen_random_uuid(), $2, SEAL from webhook_outbox where id = $1 returning id`;
const EDIT = 'update webhook_outbox set payload = $2 where id = $1 and attempts = 0 returning id';

test('a forged notice is given up unsent and on record; what is owed beside it is sent', {
  skip: postgresSkip,
}, async (t) => {
  const receiver = await startReceiver(t, 500);
  const { sql, call, createAgent } = await buildTestApp(t, {
    APPROVAL_WEBHOOK_URL: receiver.url,
    APPROVAL_WEBHOOK_SECRET: SECRET,
  });
  const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
  const owe = async (): Promise<string> => {
    const json = { scopes: ['secrets:read:prod/*'], require_approval: true, description: randomUUID() };
    const asked = { method: 'POST', url: '/v1/tokens', key: agent.key, json } as const;
    const opened = await call<{ approval_id: string }>(asked);
    assert.equal(opened.status, 202, opened.text);
    const [notice] = await sql<{ id: string }>(
      `select id from webhook_outbox where payload::json #>> '{data,id}' = $1`,
      [opened.body.approval_id],
    );
    return notice?.id ?? assert.fail('nothing is owed');
  };
  const good = [await owe()];
  const forged: string[] = [];
  const forge = async (text: string, id: string | undefined): Promise<void> => {
    const [row] = await sql<{ id: string }>(text, [id, PAYLOAD]);
    if (row !== undefined) forged.push(row.id);
  };
  for (const seal of ['null', 'seal']) await forge(PLANT.replace('SEAL', seal), good[0]);
  // One that is edited after a try has begun is sent as it was.
  while (forged.length < 3) {
    const id = await owe();
    await forge(EDIT, id);
    if (!forged.includes(id)) good.push(id);
  }
  good.push(await owe());
  await until('a first failure', () => receiver.arrived.length > 0);
  receiver.answer = 204;
  const due = 'update webhook_outbox set next_attempt_at = clock_timestamp() where last_failure is not null';
  const owed = async () => {
    await sql(due);
    return sql<Owed>(OUTBOX);
  };
  await until('that nothing is owed', async () =>
    (await owed()).every((row) => row.delivered || row.given_up),
  );
  const idsOf = (rows: readonly Owed[]) => rows.map(({ id }) => id).sort();
  const rows = await owed();
  assert.deepEqual(idsOf(rows.filter((row) => row.given_up && !row.delivered)), forged.toSorted());
  assert.deepEqual(idsOf(rows.filter((row) => row.delivered)), good.toSorted());
  assert.deepEqual(
    receiver.arrived.filter((arrived) => verified(arrived).type === FORGED),
    [],
  );
  const events = await sql<{ id: string }>(
    `select distinct resource_id as id from audit_events
     where event_type = 'integrity.failed' and resource_type = 'webhook_outbox'`,
  );
  assert.deepEqual(events.map(({ id }) => id).sort(), forged.toSorted());
});
