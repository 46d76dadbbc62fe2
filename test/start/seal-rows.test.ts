/** A database from before rows had seals is sealed once; what loses its seal later is never sealed by a start. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKeyEncryption } from '../../src/keys/encryption/key-encryption.ts';
import { SEALED_TABLES } from '../../src/storage/engine/sealed-rows.ts';
import { assertRefused, buildTestApp, openTestApp, type TestApp } from '../support/app.ts';
import { postgresSkip as skip } from '../support/postgres.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';

const KEK = createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex'));
const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

/** As a version before seals left it. */
async function unseal({ sql }: TestApp): Promise<void> {
  for (const table of Object.keys(SEALED_TABLES)) await sql(`update ${table} set seal = null`);
  const before = KEK.wrap(Buffer.from('writ key-encryption key check'), 'check');
  await sql('update master_keys set check_value = $1', [before]);
}

async function aFilledApp(t: TestContext) {
  const app = await buildTestApp(t);
  const { adminKey, call } = app;
  const agent = await app.createAgent({ allowed_scopes: ['secrets:*:team/*'] });
  const ended = await app.createAgent();
  const stored = await call({
    method: 'PUT',
    url: '/v1/secrets/team/K',
    key: adminKey,
    json: { value: 'v' },
  });
  assert.equal(stored.status, 201);
  const made = await call<{ token: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key: agent.key,
    json: { scopes: ['secrets:read:team/*'] },
  });
  assert.equal(made.status, 201);
  await call({ method: 'DELETE', url: `/v1/agents/${ended.id}`, key: adminKey });
  const approver = await app.createAgent({ role: 'approver' });
  const asked = async (...verbs: string[]): Promise<string> => {
    const json = { scopes: ['secrets:read:team/*'], require_approval: true };
    const opened = await call<{ approval_id: string }>({
      method: 'POST',
      url: '/v1/tokens',
      key: agent.key,
      json,
    });
    const id = opened.body.approval_id;
    for (const verb of verbs) {
      const url = `/v1/approvals/${id}/${verb}`;
      const decided = await call({ method: 'POST', url, key: approver.key, json: {} });
      assert.equal(decided.status, 200, decided.text);
    }
    return id;
  };
  const approvals = { approved: await asked('approve'), denied: await asked('approve', 'deny') };
  const restart = () => openTestApp(t, app.databaseUrl, {}, {}, adminKey);
  return { app, agent, ended, approvals, token: made.body.token, restart };
}

const read = (on: TestApp, token: string) =>
  on.call({ method: 'GET', url: '/v1/secrets/team/K', headers: { authorization: `Bearer ${token}` } });

const poll = (on: TestApp, id: string, key: string) =>
  on.call<{ token?: string }>({ method: 'GET', url: `/v1/approvals/agent/${id}`, key });

test('rows from before are sealed at the first start, in batches, and serve; revoked ones stay shut', {
  skip,
}, async (t) => {
  const { app, agent, ended, approvals, token, restart } = await aFilledApp(t);
  await app.sql(
    `insert into agents (id, name, role) select gen_random_uuid(), 'filler ' || n, 'agent' from generate_series(1, 1200) n`,
  );
  await unseal(app);
  const restarted = await restart();
  assert.equal((await read(restarted, token)).status, 200);
  assert.equal((await restarted.call({ method: 'GET', url: '/v1/me', key: agent.key })).status, 200);
  await app.sql('update approvals set denied_at = null where id = $1', [approvals.denied]);
  assertRefused(await poll(restarted, approvals.denied, agent.key), BROKEN);
  assert.ok((await poll(restarted, approvals.approved, agent.key)).body.token !== undefined);
  const left = await app.sql('select name from agents where seal is null');
  assert.deepEqual(left, [{ name: ended.name }]);
  await app.sql('update agents set revoked_at = null where id = $1', [ended.id]);
  assertRefused(await restarted.call({ method: 'GET', url: '/v1/me', key: ended.key }), BROKEN);
  const events = await app.sql<{ metadata: { rows: Record<string, number> } }>(
    `select metadata from audit_events where event_type = 'integrity.sealed'`,
  );
  assert.equal(events.length, 1);
  assert.equal(events[0]?.metadata.rows['agents'], 1203);
});

test('a row without a seal, and a check value that is gone, get nothing sealed by a start', {
  skip,
}, async (t) => {
  for (const remove of ['', 'delete from master_keys', 'delete from settings']) {
    const { app, agent, token, restart } = await aFilledApp(t);
    await app.sql('update scoped_tokens set seal = null');
    await app.sql('update agents set seal = null, allowed_scopes = null where id = $1', [agent.id]);
    if (remove !== '') await app.sql(remove);
    await app.sql('update approval_votes set seal = null');
    const restarted = await restart();
    assertRefused(await read(restarted, token), BROKEN, remove);
    assert.equal((await app.sql('select 1 from approval_votes where seal is not null')).length, 0);
    assertRefused(await restarted.call({ method: 'GET', url: '/v1/me', key: agent.key }), BROKEN, remove);
    assert.deepEqual(await app.sql(`select 1 from audit_events where event_type = 'integrity.sealed'`), []);
  }
});
