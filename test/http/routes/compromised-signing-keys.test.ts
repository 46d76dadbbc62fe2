/**
 * From the commit that ends a leaked signing key every endpoint refuses what it signed, in processes that have not read
 * the keys again as well; and no key signs for another.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NEXT_SECONDS } from '../../../src/domain/signing-keys/key-rotation.ts';
import { buildTestApp, openTestApp, type TestApp, type TestRequest } from '../../support/app.ts';
import { runHere } from '../../support/command-line.ts';
import { until } from '../../support/issuing.ts';
import { postgresSkip as skip } from '../../support/postgres.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { aDelegateKey, delegationClient } from './delegation-calls.ts';
import { asking, claimsOf, forger, type Issued, issueWith, PLAN } from './verification-calls.ts';

const command = async ({ databaseUrl }: TestApp, ...args: string[]) => {
  const env = { DATABASE_URL: databaseUrl, MASTER_KEY: TEST_MASTER_KEY };
  const ended = await runHere(['signing-key', ...args, '--json'], env);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as Record<string, unknown>;
};

/** Every question that takes an intent token, and that its answer grants nothing. */
function questions(
  token: string,
  issued: Issued,
  agentKey: string,
  adminKey: string,
): [string, TestRequest, object][] {
  const [proof] = issued.step_proofs;
  const post = (url: string, json: object, key?: string): TestRequest => ({
    method: 'POST',
    url,
    json,
    ...(key === undefined ? {} : { key }),
  });
  const refused = { valid: false };
  const blocked = { allowed: false };
  return [
    ['verify', post('/token/verify', { token }), refused],
    ['verify with a key', post('/token/verify', { token }, agentKey), refused],
    [
      'consume',
      post('/token/verify', { token, step_index: 0, action: 'read', proof, consume: true }, agentKey),
      refused,
    ],
    [
      'verify-step',
      post('/iap/verify-step', { token, step_index: 0, tool_name: 'read', proof: proof.proof }, agentKey),
      blocked,
    ],
    [
      'verify action',
      post('/verify/action', { token, path: '/steps/[0]/action', value: 'read', proof: proof.proof }),
      blocked,
    ],
    [
      'enforce',
      post('/iap/sdk/enforce', { mcp: 'files', tool: 'read', intent_token: { jwt_token: token } }, agentKey),
      blocked,
    ],
    ['introspect', post('/v1/tokens/introspect', { token }, adminKey), { active: false }],
    [
      'delegate',
      post('/delegation/create', { token, delegate_public_key: aDelegateKey() }, agentKey),
      { success: false },
    ],
    [
      'delegate anew',
      post('/iap/trust/delegate', { token, delegate_public_key: aDelegateKey() }, agentKey),
      { success: false },
    ],
  ];
}

test('a leaked key is refused at every endpoint of every process from its commit on', { skip }, async (t) => {
  const server = await buildTestApp(t);
  const other = await openTestApp(t, server.databaseUrl, {}, {}, server.adminKey);
  const agent = await server.createAgent();
  const json = { plan: PLAN, expires_in: 600 };
  const repeatable = {
    method: 'POST',
    url: '/token/issue',
    key: agent.key,
    json,
    headers: { 'idempotency-key': 'k' },
  };
  const kept = await server.call<Issued>(repeatable);
  const issued = await issueWith(server, agent.key);
  const passedOn = await delegationClient(server).ask(agent.key, {
    token: issued.token,
    delegate_public_key: aDelegateKey(),
  });
  const child = passedOn.body.delegation.jwt_token;
  // What is refused below is granted before, so that nothing else is what refuses it.
  for (const [what, request, denied] of questions(issued.token, issued, agent.key, server.adminKey)) {
    const [[member, value] = ['', false]] = Object.entries(denied);
    const { status, body, text } = await other.call<Record<string, unknown>>(request);
    assert.ok(status < 300 && body[member] !== value, `${what} before: ${text}`);
  }

  const ended = await command(server, 'rotate', '--compromised');
  const asked = [server, other].flatMap((process) =>
    [issued.token, child].flatMap((token) =>
      questions(token, issued, agent.key, server.adminKey).map(async ([what, request, denied]) => {
        const { body, text } = await process.call<Record<string, unknown>>(request);
        for (const [member, value] of Object.entries(denied))
          assert.equal(body[member], value, `${what}: ${text}`);
      }),
    ),
  );
  await Promise.all(asked);
  for (const process of [server, other]) {
    const repeated = await process.call<{ error_code: string }>(repeatable);
    assert.equal(repeated.body.error_code, 'IDEMPOTENCY_KEY_SPENT', repeated.text);
    // What is issued now is signed by the fresh key, and taken by a process that has not read it.
    const fresh = await issueWith(process, agent.key);
    assert.equal(headerOf(fresh.token).kid, ended['active']);
    for (const asks of [server, other]) await asking(asks).expectCode('VALID', { token: fresh.token });
  }
  assert.notEqual(headerOf(kept.body.token).kid, ended['active']);
});

test('a key signs for no token of another key, while both are ours', { skip }, async (t) => {
  const server = await buildTestApp(t);
  const agent = await server.createAgent();
  const old = await issueWith(server, agent.key);
  await command(server, 'rotate');
  await server.sql(
    `update signing_keys set state_since = state_since - make_interval(secs => $1) where state = 'next'`,
    [NEXT_SECONDS],
  );
  await command(server, 'rotate');
  let issued = old;
  await until('it signs with the next key', async () => {
    issued = await issueWith(server, agent.key);
    return headerOf(issued.token).kid !== headerOf(old.token).kid;
  });
  const { expectCode } = asking(server);
  // The oldest: the one that is retiring, as whoever has it would use it.
  const forge = await forger(server);
  const forged = await forge(issued, {});
  assert.deepEqual(claimsOf(forged), claimsOf(issued.token));
  await expectCode('VALID', { token: old.token });
  await expectCode('VALID', { token: issued.token });
  await expectCode('TOKEN_INVALID', { token: forged });
});

const headerOf = (jwt: string) =>
  JSON.parse(Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString()) as { kid: string };
