/** Every effect on secrets is on record exactly once, every refusal too, and what cannot be recorded does not happen (contract section 8). */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { type AuditRow, buildSecretCalls, type SecretView } from './secret-calls.ts';

test('events about secrets', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, aToken, eventsOf, adminKey, sql } = calls;
  const agent = await anAgent('secrets:*:*');
  const { id: tokenId, token } = await aToken({ by: agent.key, scopes: ['secrets:*:*', 'namespaces:read'] });
  const [admin] = await sql<{ id: string; key_id: string }>(
    "select agents.id, key_id from agents join api_keys on agent_id = agents.id where role = 'admin'",
  );
  const ADMIN = { actor_id: admin?.id, actor_type: 'admin' };
  const AGENT = { actor_id: agent.id, actor_type: 'agent' };

  /** The one event of a request, whose id is that of its answer. */
  const eventOf = async (as: string, line: string, json?: unknown): Promise<Omit<AuditRow, 'request_id'>> => {
    let requestId: string | undefined;
    const events = await eventsOf(async () => {
      const answer = await ask(as, line, { json });
      assert.ok(answer.status < 300, `${line} ${answer.text}`);
      requestId = answer.headers['x-request-id'];
    });
    assert.equal(events.length, 1, `${line}: ${JSON.stringify(events)}`);
    const { request_id, ...event } = events[0] ?? assert.fail();
    assert.equal(request_id, requestId);
    return event;
  };

  await t.test('tell who did what to which secret and version, by which credential', async () => {
    for (const [name, as, actor, by] of [
      ['admin-key', adminKey, ADMIN, { key_id: admin?.key_id }],
      ['agent-key', agent.key, AGENT, { key_id: agent.keyId }],
      ['agent-token', token, AGENT, { token_id: tokenId }],
    ] as const) {
      const path = `effects/${name}/K`;
      const target = `/v1/secrets/${path}`;
      const idOf = async () =>
        (await sql<{ id: string }>('select id from secrets where path = $1', [path]))[0]?.id;
      const onSecret = (event_type: string, secret_id: string | undefined, version: number) => ({
        event_type,
        ...actor,
        resource_type: 'secret',
        resource_id: path,
        metadata: { ...by, secret_id, version },
      });
      const onNamespace = (event_type: string, namespace: string, count: number) => ({
        event_type,
        ...actor,
        resource_type: 'namespace',
        resource_id: namespace,
        metadata: { ...by, count },
      });
      const made = await eventOf(as, `PUT ${target}`, { value: 'v' });
      const id = await idOf();
      assert.deepEqual(made, onSecret('secret.created', id, 1));
      assert.deepEqual(await eventOf(as, `PUT ${target}`, { value: 'v' }), onSecret('secret.updated', id, 2));
      assert.deepEqual(await eventOf(as, `POST ${target}/rotate`), onSecret('secret.rotated', id, 3));
      assert.deepEqual(await eventOf(as, `GET ${target}`), onSecret('secret.read', id, 3));
      assert.deepEqual(await eventOf(as, `GET ${target}?version=1`), onSecret('secret.read', id, 1));
      const namespace = `effects/${name}`;
      for (const line of [`GET /v1/secrets/${namespace}`, `GET /v1/secrets?namespace=${namespace}`]) {
        assert.deepEqual(await eventOf(as, line), onNamespace('secret.listed', namespace, 1));
      }
      assert.deepEqual(
        await eventOf(as, 'GET /v1/secrets/nobody'),
        onNamespace('secret.listed', 'nobody', 0),
      );
      assert.deepEqual(
        await eventOf(as, 'GET /v1/namespaces?limit=1'),
        onNamespace('namespace.listed', '*', 1),
      );
      assert.deepEqual(await eventOf(as, `DELETE ${target}`), onSecret('secret.deleted', id, 3));
      const again = await eventOf(as, 'POST /v1/secrets', { path, value: 'v' });
      assert.deepEqual(again, onSecret('secret.created', await idOf(), 1));
      assert.notEqual(await idOf(), id);
    }
  });

  await t.test('of a write over an expired secret tell an update', async () => {
    const { id } = await aSecret('expired/K');
    await calls.expire('expired/K');
    const { event_type, metadata } = await eventOf(agent.key, 'PUT /v1/secrets/expired/K', { value: 'v' });
    assert.deepEqual([event_type, metadata['secret_id'], metadata['version']], ['secret.updated', id, 2]);
  });

  await t.test('are not written for what had no effect and was no refusal', async () => {
    await aSecret('still/K');
    const events = await eventsOf(async () => {
      for (const as of [adminKey, agent.key, token]) {
        for (const [line, json, status] of [
          ['GET /v1/secrets/still/K?limit=1', undefined, 400],
          ['GET /v1/secrets/still/%zz', undefined, 400],
          ['PUT /v1/secrets/still/K', {}, 400],
          ['PUT /v1/secrets/still/K', { value: 'x'.repeat(65_537) }, 413],
          ['POST /v1/secrets', { path: 'still/K', value: 'v' }, 409],
          ['POST /v1/secrets/import', { namespace: 'still', content: 'A' }, 400],
        ] as const) {
          assert.equal((await ask(as, line, { json })).status, status, line);
        }
      }
    });
    assert.deepEqual(events, []);
  });

  await t.test(
    'of refusals tell the credential and the code, and never what was asked to be stored',
    async () => {
      const narrow = await anAgent('secrets:*:narrow/*');
      const limited = await aToken({ by: narrow.key, scopes: ['secrets:*:narrow/*'] });
      for (const [as, event_type, credential] of [
        [narrow.key, 'secret.denied', narrow.keyId],
        [limited.token, 'token.denied', limited.id],
      ] as const) {
        for (const [line, json, resource_id] of [
          ['GET /v1/secrets/refused/GET', undefined, 'refused/GET'],
          ['PUT /v1/secrets/refused/PUT', { value: 'PLANTED' }, 'refused/PUT'],
          ['POST /v1/secrets', { path: 'refused/POST', value: 'PLANTED' }, 'refused/POST'],
          ['POST /v1/secrets/refused/ROTATE/rotate', { new_value: 'PLANTED' }, 'refused/ROTATE'],
          ['POST /v1/secrets/import', { namespace: 'refused', content: 'IMPORT=PLANTED' }, 'refused/IMPORT'],
          ['DELETE /v1/secrets/refused/DELETE', undefined, 'refused/DELETE'],
        ] as const) {
          const events = await eventsOf(async () => {
            assertRefused(await ask(as, line, { json }), { status: 403, code: 'SCOPE_DENIED' }, line);
          });
          const [{ request_id: _, ...event } = assert.fail(line), ...others] = events;
          assert.deepEqual(others, []);
          assert.deepEqual(event, {
            event_type,
            actor_id: narrow.id,
            actor_type: 'agent',
            resource_type: 'secret',
            resource_id,
            metadata: { code: 'SCOPE_DENIED', credential },
          });
        }
        const [listed] = await eventsOf(() => ask(as, 'GET /v1/secrets/refused'));
        assert.deepEqual(
          [listed?.event_type, listed?.resource_type, listed?.resource_id],
          [event_type, 'namespace', 'refused'],
        );
      }
    },
  );

  await t.test('of an approver’s key tell that it was refused', async () => {
    const approver = await calls.createAgent({ role: 'approver' });
    const [event] = await eventsOf(() => ask(approver.key, 'GET /v1/secrets/effects/K'));
    assert.deepEqual(
      [event?.event_type, event?.actor_id, event?.actor_type, event?.resource_id, event?.metadata],
      [
        'secret.denied',
        approver.id,
        'approver',
        'effects/K',
        { code: 'FORBIDDEN', credential: approver.keyId },
      ],
    );
  });

  await t.test('of a token that is dead tell that it was refused', async () => {
    for (const [code, kill] of [
      ['TOKEN_REVOKED', 'revoked_at = now()'],
      ['TOKEN_EXPIRED', 'expires_at = now()'],
      ['TOKEN_EXHAUSTED', 'uses = max_uses'],
    ] as const) {
      const dead = await aToken({ by: agent.key, maxUses: 1 });
      await sql(`update scoped_tokens set ${kill} where id = $1`, [dead.id]);
      const events = await eventsOf(async () => {
        assertRefused(await ask(dead.token, 'GET /v1/secrets/dead/K'), { status: 401, code });
      });
      assert.deepEqual(
        events.map((event) => [event.event_type, event.actor_id, event.resource_id, event.metadata]),
        [['token.denied', agent.id, 'dead/K', { code, credential: dead.id }]],
      );
    }
  });

  await t.test('that cannot be written leave no effect, no value and no use', async () => {
    const made = await aSecret('audit/K', { value: 'PLANTED' });
    const limited = await aToken({ by: agent.key, maxUses: 9 });
    await sql("alter table audit_events add constraint refuses check (event_type !~ '^secret[.]') not valid");
    try {
      for (const as of [adminKey, agent.key, limited.token]) {
        for (const [line, json] of [
          ['GET /v1/secrets/audit/K'],
          ['GET /v1/secrets/audit'],
          ['PUT /v1/secrets/audit/K', { value: 'x' }],
          ['POST /v1/secrets', { path: 'audit/L', value: 'x' }],
          ['POST /v1/secrets/audit/K/rotate'],
          ['POST /v1/secrets/import', { namespace: 'audit', content: 'K=x\nL=x' }],
          ['DELETE /v1/secrets/audit/K'],
        ] as [string, unknown?][]) {
          const answer = await ask(as, line, { json });
          assertRefused(answer, { status: 503, code: 'AUDIT_UNAVAILABLE' }, line);
          assert.doesNotMatch(answer.text, /PLANTED/);
        }
      }
    } finally {
      await sql('alter table audit_events drop constraint refuses');
    }
    assert.equal(await calls.usesOf(limited), 0);
    const { body } = await ask<SecretView>(adminKey, 'GET /v1/secrets/audit/K');
    assert.deepEqual(body, { ...made, value: 'PLANTED' });
    assert.equal((await ask(adminKey, 'GET /v1/secrets/audit/L')).status, 404);
  });
});
