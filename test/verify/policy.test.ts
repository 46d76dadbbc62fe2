/** Restrictions that bind when a step is carried out are decided, or the step is refused: none is ever passed over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier, type StepRequest, VerificationError } from '../../src/verify.ts';
import { AUDIENCE, aSigner, aToken, ISSUER, NOW_SECONDS, STEPS } from './signed-tokens.ts';

const signer = aSigner();

/** `NOW_SECONDS` is Friday, 15 January 2027, 08:00 UTC. */
function verify(policy: object, request: object = {}, claims: object = {}) {
  const { jwt, proofs } = aToken(signer, { policy, ...claims });
  const verifier = createVerifier({
    jwks: { keys: [signer.jwk] },
    issuer: ISSUER,
    audience: AUDIENCE,
    clock: () => new Date(NOW_SECONDS * 1000),
  });
  return verifier.verifyStep(jwt, {
    stepIndex: 0,
    step: STEPS[0],
    proof: proofs[0],
    ...request,
  } as StepRequest);
}

const refusedWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof VerificationError, String(error));
  assert.equal(error.code, code, error.message);
  return true;
};

test('what was decided when the token was signed is not decided again', async () => {
  for (const policy of [
    {},
    { allow: ['*'] },
    { allow: ['*'], deny: [], allowed_tools: ['read'], name: 'n', priority: 1 },
  ])
    await verify(policy);
});

test('ip_whitelist asks for the address, and admits only what it lists', async () => {
  const policy = { ip_whitelist: ['192.0.2.0/24', '2001:db8::/32'] };
  for (const clientIp of ['192.0.2.7', '::ffff:192.0.2.7', '2001:db8::1', '2001:db8::1%eth0']) {
    await verify(policy, { clientIp });
  }
  for (const clientIp of [
    undefined,
    '',
    '192.0.3.7',
    '192.0.2.7 ',
    '192.0.2.7:80',
    '::192.0.2.7',
    'localhost',
    '2001:db9::1',
  ])
    await assert.rejects(verify(policy, { clientIp }), refusedWith('IP_NOT_ALLOWED'), clientIp);
});

test('time_restrictions are decided in UTC by the verifier’s clock', async () => {
  for (const [restrictions, isTaken] of [
    [{ allowed_hours: [8] }, true],
    [{ allowed_days: ['Friday'] }, true],
    [{ allowed_hours: [8, 9], allowed_days: ['Friday', 'Monday'] }, true],
    [{ allowed_hours: [7, 9] }, false],
    [{ allowed_days: ['Thursday', 'Saturday'] }, false],
    [{ allowed_hours: [8], allowed_days: ['Monday'] }, false],
    [{ allowed_hours: [] }, false],
    [{ allowed_days: [] }, false],
  ] as const) {
    const verdict = verify({ time_restrictions: restrictions });
    if (isTaken) await verdict;
    else await assert.rejects(verdict, refusedWith('OUTSIDE_ALLOWED_HOURS'), JSON.stringify(restrictions));
  }
});

test('rate_limit is refused unless the caller takes it upon itself to count', async () => {
  const policy = { rate_limit: 10 };
  await assert.rejects(verify(policy), refusedWith('RATE_LIMIT'));
  await assert.rejects(verify(policy, { acceptUncounted: false }), refusedWith('RATE_LIMIT'));
  const { token } = await verify(policy, { acceptUncounted: true });
  assert.equal(token.rootJti, token.jti);
});

test('acceptUncounted lifts no other restriction', async () => {
  const request = { acceptUncounted: true, clientIp: '192.0.2.7' };
  await assert.rejects(
    verify({ rate_limit: 1, ip_whitelist: ['10.0.0.0/8'] }, request),
    refusedWith('IP_NOT_ALLOWED'),
  );
  const policy = { rate_limit: 1, time_restrictions: { allowed_hours: [] } };
  await assert.rejects(verify(policy, request), refusedWith('OUTSIDE_ALLOWED_HOURS'));
});

test('a restriction that this version does not know, or cannot read, refuses', async () => {
  for (const policy of [
    { max_amount: 5 },
    { allow: ['*'], geo: ['DE'] },
    { ip_whitelist: [] },
    { ip_whitelist: ['192.0.2.1/24'] },
    { ip_whitelist: null },
    { time_restrictions: { allowed_minutes: [1] } },
    { time_restrictions: null },
    { rate_limit: '10' },
    { rate_limit: null },
    { allow: '*' },
  ]) {
    const asked = { clientIp: '192.0.2.7', acceptUncounted: true };
    await assert.rejects(verify(policy, asked), refusedWith('POLICY_DENIED'), JSON.stringify(policy));
  }
});

test('the step is proven before the policy is decided', async () => {
  const wrong = { step: STEPS[1], clientIp: '192.0.2.7' };
  await assert.rejects(verify({ ip_whitelist: ['10.0.0.0/8'] }, wrong), refusedWith('MERKLE_PROOF_INVALID'));
  const claims = { allowed_actions: ['send'] };
  await assert.rejects(verify({ rate_limit: 1 }, {}, claims), refusedWith('POLICY_DENIED'));
});
