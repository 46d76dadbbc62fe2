/** Guarantees a served database that has a row in every table that grants. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { buildTestApp, type TestApp } from '../support/app.ts';
import type { Overrides } from '../support/test-config.ts';
import { TEST_MASTER_KEY } from '../support/test-master-key.ts';
import { resealRows } from '../support/test-seals.ts';

export const PATH = 'secrets/team/K';

/** A database with a row in every table that grants. */
export async function aFilledApp(t: TestContext, settings: Overrides = {}) {
  const app = await buildTestApp(t, { CRITICAL_DELAY_SECONDS: '0', ...settings });
  const ask = async <Body = unknown>(method: string, url: string, by: object, json?: unknown) => {
    const answer = await app.call<Body>({ method, url, ...by, ...(json === undefined ? {} : { json }) });
    assert.ok(answer.status < 300, `${method} ${url}: ${answer.text}`);
    return answer.body;
  };
  const admin = { key: app.adminKey };
  await ask('PUT', `/v1/${PATH}`, admin, { value: 'v' });
  const agent = await app.createAgent({ allowed_scopes: ['secrets:*:*', 'namespaces:read'] });
  const approver = await app.createAgent({ role: 'approver' });
  const aToken = (json: object = {}) =>
    ask<{ token_id: string; token: string }>(
      'POST',
      '/v1/tokens',
      { key: agent.key },
      {
        scopes: ['secrets:*:*', 'namespaces:read'],
        ...json,
      },
    );
  const { approval_id: approval } = await ask<{ approval_id: string }>(
    'POST',
    '/v1/tokens',
    { key: agent.key },
    { scopes: ['secrets:read:team/*'], require_approval: true },
  );
  await ask('POST', `/v1/approvals/${approval}/approve`, { key: approver.key }, {});
  const notice = `insert into webhook_outbox (id, payload) values (gen_random_uuid(), '{}')`;
  await app.sql(notice);
  await resealRows(app.sql, 'webhook_outbox');
  // Of another principal: whoever has all these rows goes on.
  const { id: stopped } = await app.createAgent();
  await ask('POST', '/v1/emergency/stop', admin, { agent: stopped, reason: 'r' });
  return { app, ask, admin, agent, stopped, approver, approval, aToken, env: envOf(app) };
}

const envOf = ({ databaseUrl }: TestApp) => ({ DATABASE_URL: databaseUrl, MASTER_KEY: TEST_MASTER_KEY });

/** As if the 10 s in which processes follow had gone by. */
export async function afterTheGrace<T>(
  { sql }: { sql(text: string): Promise<unknown> },
  work: Promise<T>,
): Promise<T> {
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await sql(
      `update master_keys set since = since - interval '1 hour'
       where state = 'retiring' and since > clock_timestamp() - interval '1 minute'`,
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return over;
}
