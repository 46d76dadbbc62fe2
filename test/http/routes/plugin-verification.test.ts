/**
 * `POST /iap/verify-step` and `POST /verify/action` (contract section 4.6): what a step is allowed by, every way of not
 * being allowed, and that no answer can be taken for a permission that it is not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, type TestApp, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { claimsOf, forger, type Issued, issueWith, STEPS } from './verification-calls.ts';

interface Verdict {
  readonly allowed: boolean;
  readonly code: string;
  readonly reason: string;
  readonly step?: { readonly step_index: number; readonly action: string | null };
  readonly policy_validation?: Readonly<Record<string, unknown>>;
  readonly expiresAt?: number | null;
}

const pathOf = (index: number) => `/steps/[${index}]/action`;

function setUp(server: TestApp) {
  const verifyStep = (json: object, request: Partial<TestRequest> = { key: server.adminKey }) =>
    server.call<Verdict>({ method: 'POST', url: '/iap/verify-step', json, ...request });
  const verifyAction = (json: object, request: Partial<TestRequest> = {}) =>
    server.call<Verdict>({ method: 'POST', url: '/verify/action', json, ...request });
  const expect = (code: string, answer: { status: number; body: Verdict; text: string }, about = '') => {
    assert.equal(answer.status, 200, `${about} ${answer.text}`);
    assert.equal(answer.body.code, code, `${about} ${answer.text}`);
    assert.equal(answer.body.allowed, code === 'VALID');
    assert.ok(answer.body.reason.length > 0);
    return answer.body;
  };
  return { verifyStep, verifyAction, expect };
}

/** As the plug-in puts it: the list in a step proof, its path and its digest. */
const stepQuestion = (issued: Issued, index: number, more: object = {}) => ({
  token: issued.token,
  path: pathOf(index),
  step_index: index,
  tool_name: STEPS[index]?.action,
  proof: issued.step_proofs[index]?.proof,
  context: { csrg_value_digest: issued.step_proofs[index]?.['value_digest'], proof_source: 'client' },
  ...more,
});

test('POST /iap/verify-step', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { verifyStep, expect } = setUp(server);
  const agent = await server.createAgent();
  const issued = await issueWith(server, agent.key);

  await t.test('allows each step, by its name, its digest or both, and says which it is', async () => {
    for (const [index, { action }] of STEPS.entries()) {
      const whole = stepQuestion(issued, index);
      const { context: _context, path: _path, ...byName } = whole;
      const { tool_name: _name, step_index: _index, ...byDigest } = whole;
      for (const json of [whole, byName, byDigest, { ...whole, proof: issued.step_proofs[index] }]) {
        const verdict = expect('VALID', await verifyStep(json, { key: agent.key }), JSON.stringify(json));
        assert.deepEqual(verdict.step, { step_index: index, action });
        assert.equal(verdict.expiresAt, claimsOf(issued.token)['exp']);
        assert.deepEqual(verdict.policy_validation, {
          allowed_tools: [action],
          denied_tools: [],
          denied_reasons: [],
          default_enforcement_action: 'block',
        });
      }
    }
  });

  await t.test('takes the token object of an SDK, and any key that is live', async () => {
    const json = stepQuestion(issued, 0, { token: { jwt_token: issued.token, token_id: issued.token_id } });
    expect('VALID', await verifyStep(json));
    expect(
      'TOKEN_INVALID',
      await verifyStep(stepQuestion(issued, 0, { token: { jwt_token: issued.token, token_id: 'x' } })),
    );
  });

  await t.test('does not allow another name, digest, place or proof', async () => {
    const good = stepQuestion(issued, 1);
    const digest = (index: number) => ({
      context: { csrg_value_digest: issued.step_proofs[index]?.['value_digest'] },
    });
    const { tool_name: _, ...unnamed } = good;
    expect('STEP_MISMATCH', await verifyStep({ ...good, tool_name: 'read' }));
    expect('STEP_MISMATCH', await verifyStep({ ...good, ...digest(0) }));
    expect('MERKLE_PROOF_INVALID', await verifyStep({ ...unnamed, ...digest(0) }));
    expect('MERKLE_PROOF_INVALID', await verifyStep({ ...good, ...digest(0), tool_name: 'read' }));
    expect('MERKLE_PROOF_INVALID', await verifyStep({ ...good, path: pathOf(2), step_index: 2 }));
    expect('MERKLE_PROOF_INVALID', await verifyStep({ ...good, path: pathOf(99), step_index: 99 }));
    expect('MERKLE_PROOF_INVALID', await verifyStep({ ...good, proof: [] }));
    const refused = expect(
      'MERKLE_PROOF_INVALID',
      await verifyStep({ ...good, proof: issued.step_proofs[0].proof }),
    );
    assert.deepEqual(refused.step, { step_index: 1, action: 'send' });
  });

  await t.test('enforces what a delegation may do and what the operator says now', async () => {
    const forge = await forger(server);
    const token = await forge(issued, { allowed_actions: ['read'] });
    expect('VALID', await verifyStep(stepQuestion(issued, 0, { token })));
    const { tool_name: _, ...unnamed } = stepQuestion(issued, 1, { token });
    expect('POLICY_DENIED', await verifyStep(unnamed), 'by its digest alone');
    const denied = expect('POLICY_DENIED', await verifyStep(stepQuestion(issued, 1, { token })));
    assert.deepEqual(denied.policy_validation, {
      allowed_tools: [],
      denied_tools: ['send'],
      denied_reasons: [denied.reason],
      default_enforcement_action: 'block',
    });
    const policy = { deny: ['files/read'] };
    await server.call({
      method: 'PATCH',
      url: `/v1/agents/${agent.id}`,
      key: server.adminKey,
      json: { policy },
    });
    expect('POLICY_DENIED', await verifyStep(stepQuestion(issued, 0)));
    expect('VALID', await verifyStep(stepQuestion(issued, 1)));
    await server.call({
      method: 'PATCH',
      url: `/v1/agents/${agent.id}`,
      key: server.adminKey,
      json: { policy: null },
    });
  });

  await t.test('enforces the signed policy on the caller’s address and counts what it allows', async () => {
    const policy = { allow: ['*'], ip_whitelist: ['192.0.2.0/24'], rate_limit: 1 };
    const limited = await issueWith(server, agent.key, { policy });
    const from = (remoteAddress: string) => ({ key: agent.key, remoteAddress });
    expect('IP_NOT_ALLOWED', await verifyStep(stepQuestion(limited, 0), from('198.51.100.1')));
    expect('VALID', await verifyStep(stepQuestion(limited, 0), from('192.0.2.1')));
    expect('RATE_LIMIT', await verifyStep(stepQuestion(limited, 0), from('192.0.2.1')));
  });

  await t.test('says of a token that is not good that nothing is allowed, and no time', async () => {
    const other = await issueWith(server, agent.key);
    await server.sql('update intent_tokens set revoked_at = now() where jti = $1', [other.token_id]);
    const revoked = expect('TOKEN_REVOKED', await verifyStep(stepQuestion(other, 0)));
    assert.equal(revoked.expiresAt, null);
    expect('TOKEN_INVALID', await verifyStep(stepQuestion(other, 0, { token: '{"jwtToken":"x"}' })));
  });

  await t.test('refuses what is not well-formed, and says allowed: false and where', async () => {
    const good = stepQuestion(issued, 1);
    const { path: _path, step_index: _index, ...nowhere } = good;
    const { tool_name: _name, context: _context, ...nothing } = good;
    const { proof: _proof, ...unproven } = good;
    for (const [json, pointer] of [
      [{}, '/token'],
      [nowhere, '/step_index'],
      [{ ...good, step_index: 2 }, '/step_index'],
      [{ ...good, step_index: -1 }, '/step_index'],
      [nothing, '/tool_name'],
      [{ ...nothing, context: {} }, '/tool_name'],
      [{ ...good, tool_name: 'x'.repeat(129) }, '/tool_name'],
      [unproven, '/proof'],
      [{ ...good, proof: [null] }, '/proof/0'],
      [{ ...good, context: { csrg_value_digest: 'AB'.repeat(32) } }, '/context/csrg_value_digest'],
      [{ ...good, context: { csrg_value_digest: 1 } }, '/context/csrg_value_digest'],
      [{ ...good, context: { more: 'x'.repeat(8192) } }, '/context'],
      [{ ...good, token: 1 }, '/token'],
      [{ ...good, surprise: 1 }, '/surprise'],
      ...[
        '',
        '/steps/[1]',
        '/steps/1/action',
        '/steps/[01]/action',
        '/steps/[-1]/action',
        'x/steps/[1]/action',
      ].map((path) => [{ ...good, path }, '/path'] as const),
    ] as const) {
      const answer = await verifyStep(json);
      assertRefused(
        answer,
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
      assert.equal(answer.body.allowed, false);
    }
  });

  await t.test('is on record as a verification', async () => {
    const fresh = await issueWith(server, agent.key);
    await verifyStep(stepQuestion(fresh, 0), { key: agent.key });
    await verifyStep(stepQuestion(fresh, 0, { tool_name: 'x' }), { key: agent.key });
    const events = await server.sql<{ actor_id: string; metadata: Record<string, unknown> }>(
      "select actor_id, metadata from audit_events where resource_id = $1 and event_type = 'intent.verified' order by created_at",
      [fresh.token_id],
    );
    assert.deepEqual(
      events.map(({ actor_id: actor, metadata }) => [actor, metadata['code'], metadata['step_index']]),
      [
        [agent.id, 'VALID', 0],
        [agent.id, 'STEP_MISMATCH', 0],
      ],
    );
  });
});

test('POST /verify/action', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { verifyAction, expect } = setUp(server);
  const issued = await issueWith(server, server.adminKey);
  const question = (index: number, more: object = {}) => ({
    token: issued.token,
    path: pathOf(index),
    value: STEPS[index]?.action,
    proof: issued.step_proofs[index]?.proof,
    ...more,
  });

  await t.test('allows each action at its place for anybody, and leaves no trace', async () => {
    for (const index of STEPS.keys()) {
      const { allowed, code, reason } = expect(
        'VALID',
        await verifyAction(question(index, { context: { a: 1 } })),
      );
      assert.deepEqual(Object.keys({ allowed, code, reason }).length, 3);
    }
    const events = await server.sql("select 1 from audit_events where event_type = 'intent.verified'");
    assert.deepEqual(events, []);
  });

  await t.test('does not allow another action, place, proof or token, nor what must be counted', async () => {
    expect('MERKLE_PROOF_INVALID', await verifyAction(question(1, { value: 'read' })));
    expect('MERKLE_PROOF_INVALID', await verifyAction(question(1, { path: pathOf(0) })));
    expect('MERKLE_PROOF_INVALID', await verifyAction(question(1, { proof: [] })));
    expect('TOKEN_INVALID', await verifyAction(question(1, { token: 'x' })));
    const forge = await forger(server);
    const token = await forge(issued, { allowed_actions: ['read'] });
    expect('POLICY_DENIED', await verifyAction(question(1, { token })));
    const limited = await issueWith(server, server.adminKey, { policy: { allow: ['*'], rate_limit: 9 } });
    expect('RATE_LIMIT', await verifyAction(question(1, { token: limited.token })));
  });

  await t.test('refuses what is not well-formed, and says allowed: false and where', async () => {
    for (const [json, pointer] of [
      [{}, '/token'],
      [question(1, { path: '/steps/[1]' }), '/path'],
      [question(1, { path: undefined }), '/path'],
      [question(1, { value: { action: 'send' } }), '/value'],
      [question(1, { value: undefined }), '/value'],
      [question(1, { proof: 'none' }), '/proof'],
      [question(1, { context: [] }), '/context'],
      [question(1, { context: { more: 'x'.repeat(8192) } }), '/context'],
      [question(1, { surprise: 1 }), '/surprise'],
    ] as const) {
      const answer = await verifyAction(json);
      assertRefused(
        answer,
        { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
        JSON.stringify(json),
      );
      assert.equal(answer.body.allowed, false);
    }
  });
});
