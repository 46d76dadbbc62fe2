/** What a known credential asked for and is not there is on record like any refusal (contract section 8). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildApprovalCalls } from '../routes/approval-calls.ts';
import type { AuditRow } from '../routes/secret-calls.ts';

const UNKNOWN = '00000000-0000-4000-8000-000000000000';

test('what is absent', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { ask, eventsOf, adminKey, anAgent, aToken, aSecret, sql } = calls;
  const agent = await anAgent('secrets:*:*');
  const { id: tokenId, token } = await aToken({ by: agent.key });
  const other = await aToken();
  await aSecret('there/K');
  const [admin] = await sql<{ id: string; key_id: string }>(
    "select agents.id, key_id from agents join api_keys on agent_id = agents.id where role = 'admin'",
  );
  assert.ok(admin !== undefined);
  const told = ({ event_type, actor_id, resource_type, resource_id, metadata }: AuditRow) => [
    event_type,
    actor_id,
    `${resource_type} ${resource_id}`,
    metadata,
  ];

  await t.test('is on record with who asked, by which credential, and for what', async () => {
    for (const [as, line, json, event_type, resource] of [
      [agent.key, 'GET /v1/secrets/none/K', undefined, 'secret.denied', 'secret none/K'],
      [agent.key, 'GET /v1/secrets/there/K?version=9', undefined, 'secret.denied', 'secret there/K'],
      [agent.key, 'POST /v1/secrets/none/R/rotate', undefined, 'secret.denied', 'secret none/R'],
      [agent.key, 'DELETE /v1/secrets/none/D', undefined, 'secret.denied', 'secret none/D'],
      [token, 'GET /v1/secrets/none/K', undefined, 'token.denied', 'secret none/K'],
      [token, 'DELETE /v1/secrets/none/D', undefined, 'token.denied', 'secret none/D'],
      [agent.key, `GET /v1/tokens/${UNKNOWN}`, undefined, 'auth.denied', `scoped_token ${UNKNOWN}`],
      [agent.key, `DELETE /v1/tokens/${other.id}`, undefined, 'auth.denied', `scoped_token ${other.id}`],
      [agent.key, 'GET /v1/approvals/agent/apr_aaaaaaaa', undefined, 'auth.denied', 'approval apr_aaaaaaaa'],
      [adminKey, 'GET /v1/approvals/apr_aaaaaaaa', undefined, 'auth.denied', 'approval apr_aaaaaaaa'],
      [adminKey, 'POST /v1/approvals/apr_aaaaaaab/deny', {}, 'auth.denied', 'approval apr_aaaaaaab'],
      [adminKey, 'GET /v1/agents/nobody', undefined, 'auth.denied', 'agent nobody'],
      [adminKey, `DELETE /v1/agents/${UNKNOWN}`, undefined, 'auth.denied', `agent ${UNKNOWN}`],
      [
        adminKey,
        `DELETE /v1/agents/${agent.id}/keys/0123456789abcdef`,
        undefined,
        'auth.denied',
        'api_key 0123456789abcdef',
      ],
      [agent.key, 'POST /api-keys/0123456789abcdef/revoke', {}, 'auth.denied', 'api_key 0123456789abcdef'],
      [agent.key, 'POST /token/revoke', { token_id: UNKNOWN }, 'auth.denied', `intent_token ${UNKNOWN}`],
      [agent.key, `POST /iap/plans/${UNKNOWN}/status`, { status: 'done' }, 'auth.denied', `plan ${UNKNOWN}`],
    ] as const) {
      const code = line.includes('/v1/secrets/') ? 'SECRET_NOT_FOUND' : 'NOT_FOUND';
      const [actor, credential] = {
        [agent.key]: [agent.id, agent.keyId],
        [token]: [agent.id, tokenId],
        [adminKey]: [admin.id, admin.key_id],
      }[as] as [string, string];
      let requestId: string | undefined;
      const events = await eventsOf(async () => {
        const answer = await ask(as, line, json === undefined ? {} : { json });
        assertRefused(answer, { status: 404, code }, line);
        requestId = answer.headers['x-request-id'];
      });
      assert.deepEqual(events.map(told), [[event_type, actor, resource, { code, credential }]], line);
      assert.equal(events[0]?.request_id, requestId);
    }
  });

  await t.test('is on record once in a minute, and never with what may be a credential', async () => {
    const events = await eventsOf(async () => {
      for (const id of [agent.key, token, 'x'.repeat(37), 'a%20b', agent.key]) {
        for (let time = 0; time < 3; time += 1) {
          assert.equal((await ask(adminKey, `GET /v1/agents/${id}`)).status, 404);
        }
      }
    });
    assert.deepEqual(
      events.map(({ resource_id }) => resource_id),
      ['unknown'],
    );
  });

  await t.test('is nobody’s without a credential, and where there is no endpoint', async () => {
    const events = await eventsOf(async () => {
      for (const [as, line] of [
        [adminKey, 'GET /v1/nothing'],
        [agent.key, 'POST /v1/agents/nobody/nothing'],
        [agent.key, 'POST /v1/secrets/none/K'],
        [undefined, 'GET /v1/nothing'],
      ] as const) {
        assert.equal((await ask(as, line)).status, 404, line);
      }
      assert.equal((await ask(undefined, 'GET /v1/secrets/none/K')).status, 401);
    });
    assert.deepEqual(events, []);
  });

  await t.test('is not told where it cannot be put on record', async () => {
    await sql("alter table audit_events add constraint refuses check (event_type !~ 'denied$') not valid");
    try {
      for (const [as, line] of [
        [agent.key, 'GET /v1/secrets/unwritten/K'],
        [token, 'GET /v1/secrets/unwritten/K'],
        [adminKey, 'GET /v1/agents/unwritten'],
      ] as const) {
        assertRefused(await ask(as, line), { status: 503, code: 'AUDIT_UNAVAILABLE' }, line);
      }
    } finally {
      await sql('alter table audit_events drop constraint refuses');
    }
  });

  await t.test('is not what a revoked key is told of', async () => {
    const ended = await anAgent();
    assert.equal((await ask(ended.key, 'GET /v1/me')).status, 200);
    await sql('update api_keys set revoked_at = now(), seal = null where key_id = $1', [ended.keyId]);
    const events = await eventsOf(async () => {
      assert.equal((await ask(ended.key, `GET /v1/tokens/${UNKNOWN}`)).status, 401);
    });
    assert.deepEqual(
      events.map(({ metadata }) => metadata['code']),
      ['AUTH_INVALID_KEY'],
    );
  });
});

test('an approval that was changed is on record with who asks for its token', {
  skip: postgresSkip,
}, async (t) => {
  const { sql, eventsOf, anAgent, aSecret, opened, approve, approvers, poll } = await buildApprovalCalls(t);
  await aSecret('plain/K');
  const agent = await anAgent('secrets:*:*');
  const id = await opened(agent.key);
  assert.equal((await approve(approvers[0].key, id)).status, 200);
  await sql('update approvals set ttl_seconds = ttl_seconds + 1 where id = $1', [id]);
  const events = await eventsOf(async () => {
    for (let time = 0; time < 3; time += 1)
      assertRefused(await poll(agent.key, id), { status: 500, code: 'INTEGRITY_ERROR' });
  });
  // That a row does not fit is on record beside it, by nobody.
  const asked = events.filter(({ event_type }) => event_type !== 'integrity.failed');
  assert.deepEqual(
    asked.map(({ event_type, actor_id, resource_type, resource_id, metadata }) => [
      event_type,
      actor_id,
      `${resource_type} ${resource_id}`,
      metadata,
    ]),
    [['auth.denied', agent.id, `approval ${id}`, { code: 'INTEGRITY_ERROR', credential: agent.keyId }]],
  );
});
