/**
 * `POST /iap/enforce`: the operator's policy decides, on record, and nothing that a client sends or that goes wrong can
 * be read as permission (contract section 4.6).
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  buildTestApp,
  NO_HEADER,
  type TestAnswer,
  type TestRequest,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Verdict {
  readonly allowed: boolean;
  readonly action: string;
  readonly reason: string;
  readonly matched_policy?: { readonly name: string };
}

const URL = '/iap/enforce';

/** How its published client (armorGemini 0.3.2) reads an answer. */
function readsAsPermission({ status, body }: TestAnswer): boolean {
  if (status === 401 || status === 403) return false;
  if (status === 400) return true;
  if (status < 200 || status > 299) return false;
  const { allowed, action } = (body ?? {}) as Partial<Verdict>;
  return allowed !== false && action !== 'deny';
}

test('enforcing an operator’s policy', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { call, createAgent, adminKey, sql } = server;
  const enforce = (key: string, json: object) => call<Verdict>({ method: 'POST', url: URL, key, json });
  const eventsOf = (agentId: string) =>
    sql<{ resource_id: string; metadata: Record<string, unknown> }>(
      `select resource_id, metadata from audit_events
       where event_type = 'intent.enforced' and actor_id = $1 order by created_at, id`,
      [agentId],
    );

  await t.test('allows what the policy allows, names the rule, and records the grant', async () => {
    const agent = await createAgent({ policy: { allow: ['mail-mcp/*'], deny: ['*/delete'] } });
    for (const [tool_name, allowed, rule] of [
      ['mail-mcp/send', true, 'allow mail-mcp/*'],
      ['mcp__mail-mcp__send', true, 'allow mail-mcp/*'],
      ['mail-mcp/delete', false, 'deny */delete'],
      ['chat/send', false, undefined],
      ['send', false, undefined],
    ] as const) {
      const { status, body } = await enforce(agent.key, { tool_name });
      assert.equal(status, 200);
      assert.deepEqual(
        [body.allowed, body.action, body.matched_policy?.name],
        [allowed, allowed ? 'allow' : 'block', rule],
        tool_name,
      );
    }
    const events = await eventsOf(agent.id);
    assert.deepEqual(
      events.map(({ resource_id, metadata }) => [resource_id, metadata['allowed'], metadata['credential']]),
      [
        ['mail-mcp/send', true, agent.keyId],
        ['mcp__mail-mcp__send', true, agent.keyId],
        ['mail-mcp/delete', false, agent.keyId],
        ['chat/send', false, agent.keyId],
        ['send', false, agent.keyId],
      ],
    );
  });

  await t.test('binds the principal of the key, and nobody without a policy', async () => {
    const free = await createAgent();
    for (const key of [free.key, adminKey]) {
      const { body } = await enforce(key, { tool_name: 'anything' });
      assert.deepEqual([body.allowed, body.matched_policy], [true, undefined]);
    }
    const approver = await createAgent({ role: 'approver' });
    const answer = await enforce(approver.key, { tool_name: 'anything' });
    assertRefused(answer, { status: 403, code: 'FORBIDDEN' });
    assert.ok(!readsAsPermission(answer));
  });

  await t.test('what a tool is given, and what is said about it, is stored nowhere', async () => {
    const agent = await createAgent({ policy: { deny: ['*/no'] } });
    const CANARY = 'canary-7d1f';
    for (const tool_name of ['yes', 'no']) {
      await enforce(agent.key, {
        tool_name,
        tool_input: { path: CANARY, nested: [{ [CANARY]: null }], nul: `\u0000${CANARY}` },
        description: `${CANARY}\u0000`,
        org_id: CANARY,
        source: 'armorgemini',
        session_id: 'session-1',
      });
    }
    const events = await eventsOf(agent.id);
    assert.equal(events.length, 2);
    for (const { metadata } of events) {
      assert.deepEqual(metadata['claimed'], { source: 'armorgemini', session_id: 'session-1' });
      assert.ok(!JSON.stringify(metadata).includes(CANARY));
    }
  });

  await t.test('the same refusal again is counted, and every grant is written', async () => {
    const agent = await createAgent({ policy: { allow: ['*'], deny: ['*/no'] } });
    for (let times = 0; times < 3; times += 1) {
      await enforce(agent.key, { tool_name: 'no' });
      await enforce(agent.key, { tool_name: 'yes' });
    }
    const names = (await eventsOf(agent.id)).map(({ resource_id }) => resource_id);
    assert.deepEqual(names.sort(), ['no', 'yes', 'yes', 'yes']);
  });

  await t.test('a policy that the operator changed decides at once', async () => {
    const agent = await createAgent({ policy: { allow: ['*'] } });
    const change = (policy: object) =>
      call({ method: 'PATCH', url: `/v1/agents/${agent.id}`, key: adminKey, json: { policy } });
    for (const [policy, allowed] of [
      [{ allow: ['*'] }, true],
      [{ allow: [] }, false],
      [{ allow: ['*'], deny: ['*/other'] }, true],
      [{ deny: ['*/tool'] }, false],
    ] as const) {
      await change(policy);
      assert.equal(
        (await enforce(agent.key, { tool_name: 'tool' })).body.allowed,
        allowed,
        JSON.stringify(policy),
      );
    }
  });

  await t.test('a grant that cannot be recorded is none', async (each) => {
    const agent = await createAgent();
    await sql(`create function refuse_event() returns trigger language plpgsql as
      $$ begin raise exception 'no' using errcode = '23514', table = 'audit_events'; end $$`);
    await sql(`create trigger refuse_event before insert on audit_events for each row
      when (new.event_type = 'intent.enforced') execute function refuse_event()`);
    each.after(() => sql('drop trigger refuse_event on audit_events'));
    const answer = await enforce(agent.key, { tool_name: 'tool' });
    assert.ok(answer.status >= 500, answer.text);
    assert.ok(!readsAsPermission(answer));
    assert.equal(answer.body.allowed, false);
  });

  await t.test('no answer to a malformed question, and no fault, reads as permission', async () => {
    const agent = await createAgent({ policy: { allow: [] } });
    const good = JSON.stringify({ tool_name: 'tool' });
    const asked: readonly (readonly [string, Partial<TestRequest>, number])[] = [
      ['a good question', { raw: good }, 200],
      ['no body', {}, 200],
      ['no body of a type', { headers: { 'content-type': 'application/json' } }, 200],
      ['an empty object', { json: {} }, 200],
      ['a list', { json: [] }, 200],
      ['null', { raw: 'null' }, 200],
      ['text', { raw: '"tool"' }, 200],
      ['a name that is none', { json: { tool_name: '' } }, 200],
      ['a name with a blank', { json: { tool_name: 'a tool' } }, 200],
      ['a name with a NUL', { json: { tool_name: 'a\u0000' } }, 200],
      ['a name that is too long', { json: { tool_name: 'a'.repeat(301) } }, 200],
      ['a number', { json: { tool_name: 7 } }, 200],
      ['null as name', { json: { tool_name: null } }, 200],
      ['another spelling of the name', { json: { toolName: 'tool' } }, 200],
      ['an unknown member', { json: { tool_name: 'tool', surprise: 1 } }, 200],
      ['an input that is a list', { json: { tool_name: 'tool', tool_input: [] } }, 200],
      ['a session that is a number', { json: { tool_name: 'tool', session_id: 1 } }, 200],
      ['a member twice', { raw: '{"tool_name":"tool","tool_name":"tool"}' }, 200],
      ['no JSON', { raw: '{"tool_name":' }, 200],
      ['no UTF-8', { raw: Buffer.from('{"tool_name":"\xff"}', 'latin1') }, 200],
      ['too deep', { raw: `{"tool_name":"tool","tool_input":${'['.repeat(70)}${']'.repeat(70)}}` }, 200],
      ['too large', { json: { tool_name: 'tool', description: 'x'.repeat(1024 * 1024) } }, 200],
      ['shorter than it says', { raw: good, headers: { 'content-length': '4000' } }, 200],
      ['longer than it says', { raw: good, headers: { 'content-length': '1' } }, 200],
      ['another type', { raw: good, headers: { 'content-type': 'text/plain' } }, 200],
      ['no type', { raw: good, headers: { 'content-type': NO_HEADER } }, 200],
      [
        'a form',
        { raw: 'tool_name=tool', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        200,
      ],
      ['an encoding', { raw: good, headers: { 'content-encoding': 'gzip' } }, 200],
      ['a query', { raw: good, url: `${URL}?tool_name=tool` }, 200],
      ['no key', { raw: good, headers: { 'x-api-key': NO_HEADER } }, 401],
      ['two keys', { raw: good, headers: { authorization: 'Bearer x' } }, 401],
      ['GET', { method: 'GET' }, 404],
      ['PUT', { method: 'PUT', raw: good }, 404],
      ['DELETE', { method: 'DELETE' }, 404],
      ['OPTIONS', { method: 'OPTIONS' }, 404],
      ['PATCH', { method: 'PATCH', raw: good }, 404],
      ['a slash at the end', { raw: good, url: `${URL}/` }, 404],
      ['two slashes', { raw: good, url: `/${URL}` }, 404],
    ];
    for (const [what, request, status] of asked) {
      const answer = await call<Verdict>({ method: 'POST', url: URL, key: agent.key, ...request });
      assert.equal(answer.status, status, `${what} ${answer.text}`);
      assert.ok(!readsAsPermission(answer), `${what} ${answer.text}`);
      if (request.url === undefined) assert.equal(answer.body.allowed, false, what);
    }
  });

  await t.test('a dead key is told that it is dead, however the question is', async () => {
    const agent = await createAgent();
    assert.equal((await enforce(agent.key, { tool_name: 'tool' })).body.allowed, true);
    await call({ method: 'DELETE', url: `/v1/agents/${agent.id}`, key: adminKey });
    for (const json of [{ tool_name: 'tool' }, { tool_name: '' }, { surprise: 1 }]) {
      const answer = await enforce(agent.key, json);
      assertRefused(answer, { status: 401, code: 'AUTH_INVALID_KEY' });
      assert.equal(answer.body.allowed, false);
    }
  });
});

test('a caller beyond its rate is not granted anything', { skip: postgresSkip }, async (t) => {
  const { call, createAgent } = await buildTestApp(t, { RATE_LIMIT_MAX: '3' });
  const { key } = await createAgent();
  for (const status of [200, 200, 200, 429]) {
    const answer = await call<Verdict>({ method: 'POST', url: URL, key, json: { tool_name: 'tool' } });
    assert.equal(answer.status, status, answer.text);
    assert.equal(readsAsPermission(answer), status === 200);
  }
});
