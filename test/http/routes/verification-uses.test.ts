/**
 * `POST /token/verify` with what binds when a step is carried out (contract section 4.6): consumption, `rate_limit`,
 * `ip_whitelist`, `time_restrictions`; what a refusal leaves behind, and what is not looked at before the token.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { assertRefused, buildTestApp, type TestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import {
  asking,
  forger,
  type Issued,
  issueWith,
  rowLike,
  STEPS,
  type Verified,
} from './verification-calls.ts';

function setUp(server: TestApp) {
  const { ask } = asking(server);
  const question = (issued: Issued, index: number, more: object = {}) => ({
    token: issued.token,
    step_index: index,
    step: STEPS[index],
    proof: issued.step_proofs[index],
    ...more,
  });
  /** Asked with the administrator's key, unless another is named. */
  const codeOf = async (
    json: object,
    request: { readonly key?: string; readonly remoteAddress?: string } = { key: server.adminKey },
  ): Promise<string> => {
    const { status, body, text } = await ask(json, request);
    assert.equal(status, 200, text);
    assert.equal(body.valid, body.code === 'VALID');
    assert.equal(body.reason === undefined, body.valid);
    return body.code;
  };
  const events = (jti: string) =>
    server.sql<{ event_type: string; metadata: Record<string, unknown> }>(
      'select event_type, metadata from audit_events where resource_id = $1 and event_type <> $2 order by created_at',
      [jti, 'intent.issued'],
    );
  const used = async ({ token_id: jti }: Issued) =>
    (
      await server.sql<{ steps: string; count: number }>(
        'select consumed_steps::text as steps, window_count as count from intent_token_uses where root_jti = $1',
        [jti],
      )
    )[0];
  return { ask, question, codeOf, events, used };
}

test('consuming a step', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { ask, question, codeOf, events, used } = setUp(server);
  const consume = { consume: true };

  await t.test(
    'is granted once for each step, with one event; asking without it changes nothing',
    async () => {
      const issued = await issueWith(server, server.adminKey);
      assert.equal(await codeOf(question(issued, 1)), 'VALID');
      assert.equal(await used(issued), undefined, 'nothing is counted that need not be');
      assert.equal(await codeOf(question(issued, 1, consume)), 'VALID');
      assert.equal(await codeOf(question(issued, 1, consume)), 'STEP_CONSUMED');
      assert.equal(await codeOf(question(issued, 1)), 'VALID', 'the question is whether it is of the plan');
      assert.equal(await codeOf(question(issued, 4, consume)), 'VALID');
      assert.deepEqual(await used(issued), { steps: '01001', count: 0 });
      const codes = (await events(issued.token_id)).map(({ metadata }) => [
        metadata['code'],
        metadata['consumed'],
      ]);
      assert.deepEqual(codes, [
        ['VALID', undefined],
        ['VALID', true],
        ['STEP_CONSUMED', undefined],
        ['VALID', undefined],
        ['VALID', true],
      ]);
    },
  );

  await t.test('by its action consumes the same step', async () => {
    const issued = await issueWith(server, server.adminKey);
    const { step: _, ...byAction } = question(issued, 0, { action: 'read', ...consume });
    assert.equal(await codeOf(byAction), 'VALID');
    assert.equal(await codeOf(question(issued, 0, consume)), 'STEP_CONSUMED');
  });

  await t.test('is for whoever has a key: nobody’s question consumes nothing', async () => {
    const issued = await issueWith(server, server.adminKey);
    for (const json of [question(issued, 0, consume), question(issued, 0, { client_ip: '192.0.2.1' })]) {
      assertRefused(await ask(json), { status: 401, code: 'AUTH_INVALID_KEY' });
    }
    assert.equal((await ask(question(issued, 0, { consume: false }))).body.code, 'VALID');
    assert.equal(await used(issued), undefined);
  });

  await t.test('consumes nothing where anything else is refused', async () => {
    const agent = await server.createAgent();
    const issued = await issueWith(server, agent.key);
    const wrong = { ...question(issued, 0, consume), step: STEPS[1] };
    assert.equal(await codeOf(wrong), 'MERKLE_PROOF_INVALID');
    assert.equal(await codeOf(question(issued, 0, { mcp: 'other', ...consume })), 'STEP_MISMATCH');
    const policy = { deny: ['files/read'] };
    await server.call({
      method: 'PATCH',
      url: `/v1/agents/${agent.id}`,
      key: server.adminKey,
      json: { policy },
    });
    assert.equal(await codeOf(question(issued, 0, consume)), 'POLICY_DENIED');
    assert.equal(await used(issued), undefined);
    await server.sql('update intent_tokens set revoked_at = now() where jti = $1', [issued.token_id]);
    assert.equal(await codeOf(question(issued, 1, consume)), 'TOKEN_REVOKED');
    assert.equal(await used(issued), undefined);
  });

  await t.test('is shared with what was delegated: delegating to oneself multiplies nothing', async () => {
    const issued = await issueWith(server, server.adminKey);
    const forge = await forger(server);
    const [child, grandchild] = [uuidv7(), uuidv7()];
    await rowLike(server, issued, { jti: child, ancestors: [issued.token_id] });
    await rowLike(server, issued, { jti: grandchild, ancestors: [issued.token_id, child] });
    const held = async (jti: string) => ({ token: await forge(issued, { jti, root_jti: issued.token_id }) });
    assert.equal(await codeOf(question(issued, 0, { ...(await held(grandchild)), ...consume })), 'VALID');
    assert.equal(await codeOf(question(issued, 0, consume)), 'STEP_CONSUMED');
    assert.equal(await codeOf(question(issued, 0, { ...(await held(child)), ...consume })), 'STEP_CONSUMED');
    assert.equal(await codeOf(question(issued, 1, { ...(await held(child)), ...consume })), 'VALID');
    assert.deepEqual(await used(issued), { steps: '11000', count: 0 });
  });

  await t.test('is told to a caller whose key is dead by 401, and consumes nothing', async () => {
    const issued = await issueWith(server, server.adminKey);
    const agent = await server.createAgent();
    assert.equal(await codeOf(question(issued, 0), { key: agent.key }), 'VALID');
    await server.sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
    const answer = await ask(question(issued, 0, consume), { key: agent.key });
    assertRefused(answer, { status: 401, code: 'AUTH_INVALID_KEY' });
    assert.equal(await used(issued), undefined);
  });
});

test('rate_limit', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { ask, question, codeOf, used } = setUp(server);
  const issued = await issueWith(server, server.adminKey, { policy: { allow: ['*'], rate_limit: 2 } });

  await t.test('counts verifications of steps with a key, and refusals do not count', async () => {
    assert.equal(await codeOf({ token: issued.token }), 'VALID', 'the token alone');
    assert.equal(await codeOf({ ...question(issued, 0), step: STEPS[1] }), 'MERKLE_PROOF_INVALID');
    assert.equal(await used(issued), undefined);
    assert.equal(await codeOf(question(issued, 0)), 'VALID');
    assert.equal(await codeOf(question(issued, 0, { consume: true })), 'VALID');
    assert.equal(await codeOf(question(issued, 0, { consume: true })), 'STEP_CONSUMED');
    const { body } = await ask(question(issued, 1), { key: server.adminKey });
    assert.equal(body.code, 'RATE_LIMIT');
    assert.match(body.reason ?? '', /ends in \d+ s\./);
    assert.deepEqual(await used(issued), { steps: '10000', count: 2 });
  });

  await t.test('consumes no step where it refuses', async () => {
    assert.equal(await codeOf(question(issued, 1, { consume: true })), 'RATE_LIMIT');
    assert.deepEqual(await used(issued), { steps: '10000', count: 2 });
  });

  await t.test('is refused to a caller without a key, for whom nothing would count', async () => {
    const fresh = await issueWith(server, server.adminKey, { policy: { allow: ['*'], rate_limit: 2 } });
    assert.equal(await codeOf(question(fresh, 0), {}), 'RATE_LIMIT');
    assert.equal(await codeOf({ token: fresh.token }, {}), 'VALID', 'the token alone');
    assert.equal(await used(fresh), undefined);
  });

  await t.test('begins again an hour after the first that counted', async () => {
    const shift = (interval: string) =>
      server.sql(
        'update intent_token_uses set window_start = window_start - $2::interval where root_jti = $1',
        [issued.token_id, interval],
      );
    await shift('30 minutes');
    assert.equal(await codeOf(question(issued, 1)), 'RATE_LIMIT');
    await shift('30 minutes');
    assert.equal(await codeOf(question(issued, 1)), 'VALID');
    assert.deepEqual(await used(issued), { steps: '10000', count: 1 });
  });
});

test('ip_whitelist', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { question, codeOf } = setUp(server);
  const policy = { allow: ['*'], ip_whitelist: ['192.0.2.0/24', '2001:db8::/32'] };
  const issued = await issueWith(server, server.adminKey, { policy });
  const key = server.adminKey;

  await t.test('is decided on the caller’s address where none is given', async () => {
    for (const [remoteAddress, code] of [
      ['192.0.2.7', 'VALID'],
      ['::ffff:192.0.2.7', 'VALID'],
      ['198.51.100.1', 'IP_NOT_ALLOWED'],
    ] as const) {
      assert.equal(await codeOf(question(issued, 0), { key, remoteAddress }), code, remoteAddress);
      assert.equal(await codeOf(question(issued, 0), { remoteAddress }), code, `${remoteAddress}, nobody’s`);
    }
    assert.equal(await codeOf({ token: issued.token }, { remoteAddress: '198.51.100.1' }), 'VALID');
  });

  await t.test('is decided on client_ip where the caller gives it, and on nothing else', async () => {
    for (const [clientIp, code] of [
      ['192.0.2.255', 'VALID'],
      ['2001:db8::1', 'VALID'],
      ['192.0.3.0', 'IP_NOT_ALLOWED'],
      ['2001:db9::1', 'IP_NOT_ALLOWED'],
    ] as const) {
      const json = question(issued, 0, { client_ip: clientIp });
      for (const remoteAddress of ['192.0.2.7', '198.51.100.1'])
        assert.equal(await codeOf(json, { key, remoteAddress }), code, clientIp);
    }
  });

  await t.test('refuses before it counts or consumes', async () => {
    const counted = await issueWith(server, key, { policy: { ...policy, rate_limit: 5 } });
    const json = question(counted, 0, { consume: true, client_ip: '192.0.3.1' });
    assert.equal(await codeOf(json, { key }), 'IP_NOT_ALLOWED');
    const rows = await server.sql('select 1 from intent_token_uses where root_jti = $1', [counted.token_id]);
    assert.deepEqual(rows, []);
  });
});

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

test('time_restrictions are decided in UTC', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { question, codeOf } = setUp(server);
  /** Every hour but the present one and those around it, so that the test may run over the end of an hour or a day. */
  const now = new Date();
  const around = (value: number, size: number) =>
    [value + size - 1, value, value + 1].map((each) => each % size);
  const hours = around(now.getUTCHours(), 24);
  const days = around(now.getUTCDay(), 7).map((day) => DAYS[day] ?? '');
  const not = <Value>(all: readonly Value[], some: readonly Value[]) =>
    all.filter((value) => !some.includes(value));
  const allHours = Array.from({ length: 24 }, (_, hour) => hour);
  for (const [restrictions, code] of [
    [{ allowed_hours: hours }, 'VALID'],
    [{ allowed_days: days }, 'VALID'],
    [{ allowed_hours: hours, allowed_days: days }, 'VALID'],
    [{ allowed_hours: not(allHours, hours) }, 'OUTSIDE_ALLOWED_HOURS'],
    [{ allowed_days: not(DAYS, days) }, 'OUTSIDE_ALLOWED_HOURS'],
    [{ allowed_hours: hours, allowed_days: not(DAYS, days) }, 'OUTSIDE_ALLOWED_HOURS'],
    [{ allowed_hours: [] }, 'OUTSIDE_ALLOWED_HOURS'],
  ] as const) {
    const policy = { allow: ['*'], time_restrictions: restrictions };
    const issued = await issueWith(server, server.adminKey, { policy });
    assert.equal(await codeOf(question(issued, 0, { consume: true })), code, JSON.stringify(restrictions));
    assert.equal(await codeOf({ token: issued.token }), 'VALID');
  }
});

test('the record of refusals', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { question, codeOf, events } = setUp(server);

  await t.test('has one row at once, however often the same is refused', async () => {
    const issued = await issueWith(server, server.adminKey);
    await codeOf(question(issued, 0, { consume: true }));
    for (let tries = 0; tries < 5; tries += 1) {
      assert.equal(await codeOf(question(issued, 0, { consume: true })), 'STEP_CONSUMED');
    }
    const codes = (await events(issued.token_id)).map(({ metadata }) => metadata['code']);
    assert.deepEqual(codes, ['VALID', 'STEP_CONSUMED']);
  });

  await t.test('a refusal of one caller is not counted to another', async () => {
    const issued = await issueWith(server, server.adminKey);
    const agent = await server.createAgent();
    await codeOf(question(issued, 0, { consume: true }));
    for (const key of [server.adminKey, agent.key])
      assert.equal(await codeOf(question(issued, 0, { consume: true }), { key }), 'STEP_CONSUMED');
    assert.equal((await events(issued.token_id)).length, 3);
  });
});

test('a step is not looked at before its token is known to be good', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { ask, question } = setUp(server);
  const issued = await issueWith(server, server.adminKey);
  const unwritable = `{"action":"read","n":1e400}`;
  const raw = (token: string, proof: string) =>
    `{"token":${JSON.stringify(token)},"step_index":0,"step":${unwritable},"proof":${proof}}`;
  const asked = (text: string) => server.call<Verified>({ method: 'POST', url: '/token/verify', raw: text });
  const proof = JSON.stringify(issued.step_proofs[0]);
  assertRefused(await asked(raw(issued.token, proof)), { status: 400, code: 'PLAN_NOT_CANONICALIZABLE' });
  assertRefused(await asked(raw(issued.token, '[null]')), { status: 400, code: 'VALIDATION_ERROR' });
  for (const token of ['x', issued.token.slice(0, -1), `${issued.token}x`]) {
    assert.equal((await asked(raw(token, '[null]'))).body.code, 'TOKEN_INVALID');
  }
  await server.sql('update intent_tokens set revoked_at = now() where jti = $1', [issued.token_id]);
  assert.equal((await asked(raw(issued.token, '[null]'))).body.code, 'TOKEN_REVOKED');
  assert.equal((await ask(question(issued, 0))).body.code, 'TOKEN_REVOKED');
});
