/** `POST /iap/sdk/enforce` (contract section 4.6): a tool of the caller's own plan, now, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { assertRefused, buildTestApp, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { forger, type Issued, issueWith, rowLike } from './verification-calls.ts';

interface Verdict {
  readonly allowed: boolean;
  readonly enforcementAction: string;
  readonly code: string;
  readonly reason: string;
}

test('POST /iap/sdk/enforce', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const agent = await server.createAgent();
  const issued = await issueWith(server, agent.key);
  const enforce = (json: object, request: Partial<TestRequest> = { key: agent.key }) =>
    server.call<Verdict>({ method: 'POST', url: '/iap/sdk/enforce', json, ...request });
  const expect = async (code: string, json: object, request?: Partial<TestRequest>): Promise<void> => {
    const { status, body, text } = await enforce(json, request);
    assert.equal(status, 200, text);
    assert.equal(body.code, code, text);
    assert.equal(body.allowed, code === 'VALID');
    assert.equal(body.enforcementAction, body.allowed ? 'allow' : 'block');
    assert.ok(body.reason.length > 0);
  };
  const call = (mcp: string | null, tool: string, { token } = issued, more: object = {}) => ({
    mcp,
    tool,
    intent_token: { jwt_token: token },
    ...more,
  });
  const narrow = (policy: object | null) =>
    server.call({ method: 'PATCH', url: `/v1/agents/${agent.id}`, key: server.adminKey, json: { policy } });

  await t.test('allows each pair of the plan, with all that the SDK sends', async () => {
    for (const [mcp, tool] of [
      ['files', 'read'],
      ['mail', 'send'],
      ['chat', 'send'],
      [null, 'note'],
    ] as const)
      await expect('VALID', call(mcp, tool));
    await expect('VALID', {
      ...call('mail', 'send'),
      intent_token: { jwt_token: issued.token, plan_id: (issued as Issued & { plan_id: string }).plan_id },
      wireName: 'mail__send',
      mcpServer: 'mail',
      toolsSnapshotHash: 'ab'.repeat(32),
      arguments: { to: ['x'], secret: 'of the caller' },
      policy_snapshot: [{ name: 'p' }],
      session_id: uuidv7(),
      user_email: 'u@example.org',
      agent_id: 'mine',
    });
    await expect('VALID', {
      ...call('mail', 'send'),
      policy_snapshot: null,
      user_email: null,
      agent_id: null,
    });
  });

  await t.test('blocks a pair that is not of the plan', async () => {
    for (const [mcp, tool] of [
      ['mail', 'read'],
      ['files', 'send'],
      [null, 'send'],
      ['mail', 'note'],
      ['mail', 'Send'],
      ['', 'send'],
      ['mail', ''],
    ] as const)
      await expect('STEP_MISMATCH', call(mcp, tool));
  });

  await t.test('blocks another principal’s token, another plan_id and a token that is not good', async () => {
    const other = await server.createAgent();
    await expect('TOKEN_INVALID', call('mail', 'send'), { key: other.key });
    await expect('TOKEN_INVALID', call('mail', 'send'), { key: server.adminKey });
    const intentToken = { jwt_token: issued.token, plan_id: uuidv7() };
    await expect('TOKEN_INVALID', { ...call('mail', 'send'), intent_token: intentToken });
    await expect('TOKEN_INVALID', call('mail', 'send', { ...issued, token: 'x' }));
    const gone = await issueWith(server, agent.key);
    await server.sql('update intent_tokens set revoked_at = now() where jti = $1', [gone.token_id]);
    await expect('TOKEN_REVOKED', call('mail', 'send', gone));
  });

  await t.test('blocks what a delegation may not do', async () => {
    const jti = uuidv7();
    await rowLike(server, issued, { jti, ancestors: [issued.token_id] });
    const forge = await forger(server);
    const token = await forge(issued, { jti, root_jti: issued.token_id, allowed_actions: ['read'] });
    await expect('VALID', call('files', 'read', { ...issued, token }));
    await expect('POLICY_DENIED', call('mail', 'send', { ...issued, token }));
  });

  await t.test('blocks what the operator denies now', async () => {
    await narrow({ deny: ['mail/*'] });
    await expect('POLICY_DENIED', call('mail', 'send'));
    await expect('VALID', call('chat', 'send'));
    await narrow({ allow: ['chat/send'] });
    await expect('POLICY_DENIED', call(null, 'note'));
    await narrow(null);
    await expect('VALID', call('mail', 'send'));
  });

  await t.test('decides the signed policy on the caller’s address, and a grant counts', async () => {
    const policy = { allow: ['*'], ip_whitelist: ['192.0.2.0/24'], rate_limit: 2 };
    const limited = await issueWith(server, agent.key, { policy });
    const from = (remoteAddress: string) => ({ key: agent.key, remoteAddress });
    await expect('IP_NOT_ALLOWED', call('mail', 'send', limited), from('198.51.100.1'));
    await expect('STEP_MISMATCH', call('mail', 'other', limited), from('192.0.2.1'));
    await expect('VALID', call('mail', 'send', limited), from('192.0.2.1'));
    await expect('VALID', call('chat', 'send', limited), from('192.0.2.1'));
    await expect('RATE_LIMIT', call('mail', 'send', limited), from('192.0.2.1'));
    const [used] = await server.sql<{ window_count: number }>(
      'select window_count from intent_token_uses where root_jti = $1',
      [limited.token_id],
    );
    assert.equal(used?.window_count, 2);
  });

  await t.test('is on record, without the arguments', async () => {
    const fresh = await issueWith(server, agent.key, { policy: { allow: ['*'], rate_limit: 9 } });
    await expect('VALID', call('mail', 'send', fresh, { arguments: { secret: 'planted argument' } }));
    await expect('STEP_MISMATCH', call('mail', 'x', fresh, { arguments: { secret: 'planted argument' } }));
    const events = await server.sql<{ metadata: Record<string, unknown> }>(
      "select metadata from audit_events where resource_id = $1 and event_type = 'intent.enforced' order by created_at",
      [fresh.token_id],
    );
    assert.deepEqual(
      events.map(({ metadata }) => [metadata['code'], metadata['mcp'], metadata['tool']]),
      [
        ['VALID', 'mail', 'send'],
        ['STEP_MISMATCH', 'mail', 'x'],
      ],
    );
    assert.deepEqual(
      await server.sql("select 1 from audit_events where metadata::text like '%planted%'"),
      [],
    );
  });

  await t.test('refuses what is not well-formed, and says allowed: false and where', async () => {
    const good = call('mail', 'send');
    for (const [json, pointer] of [
      [{}, '/tool'],
      [{ ...good, tool: undefined }, '/tool'],
      [{ ...good, tool: 1 }, '/tool'],
      [{ ...good, tool: 'x'.repeat(129) }, '/tool'],
      [{ ...good, mcp: 1 }, '/mcp'],
      [{ ...good, intent_token: issued.token }, '/intent_token'],
      [{ ...good, intent_token: {} }, '/intent_token/jwt_token'],
      [{ ...good, intent_token: { jwt_token: issued.token, more: 1 } }, '/intent_token/more'],
      [{ ...good, surprise: 1 }, '/surprise'],
    ] as const) {
      const answer = await enforce(json);
      assertRefused(
        answer,
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
      assert.equal(answer.body.allowed, false);
    }
  });
});
