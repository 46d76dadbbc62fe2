/** `verifyStep` takes the steps of the signed plan and nothing that the attack table makes of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier, type StepRequest, VerificationError } from '../../src/verify.ts';
import {
  AUDIENCE,
  aSigner,
  aToken,
  claimsIn,
  ISSUER,
  NOW_SECONDS,
  STEPS,
  signClaims,
} from './signed-tokens.ts';
import { STEP_ATTACKS } from './step-attacks.ts';

const signer = aSigner();
const { jwt: GOOD, proofs } = aToken(signer);
const verifier = createVerifier({
  jwks: { keys: [signer.jwk] },
  issuer: ISSUER,
  audience: AUDIENCE,
  clock: () => new Date(NOW_SECONDS * 1000),
});

const refusedWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof VerificationError, String(error));
  assert.equal(error.code, code, error.message);
  return true;
};

test('every step of the plan is proven: whole, by its action, with a list or a whole proof', async () => {
  for (const [stepIndex, step] of STEPS.entries()) {
    const mcp = 'mcp' in step ? step.mcp : undefined;
    for (const proof of [proofs[stepIndex], proofs[stepIndex]?.proof]) {
      const whole = { stepIndex, action: step.action, mcp: mcp ?? null };
      for (const request of [
        { stepIndex, proof, step },
        { stepIndex, proof, step, action: step.action },
        { stepIndex, proof, step, action: step.action, mcp },
        { stepIndex, proof, step: Object.fromEntries(Object.entries(step).toReversed()) },
      ]) {
        const { token, step: proven } = await verifier.verifyStep(GOOD, request);
        assert.deepEqual(proven, whole);
        assert.equal(token.jti, claimsIn(GOOD)['jti']);
      }
      const { step: alone } = await verifier.verifyStep(GOOD, { stepIndex, proof, action: step.action });
      assert.deepEqual(alone, { ...whole, mcp: null }, 'an action alone proves no mcp');
    }
  }
});

test('what a proof states beside its siblings decides nothing', async () => {
  const stated = {
    ...proofs[1],
    step_index: 4,
    leaf_index: 8,
    tree_size: 2,
    path: 'x',
    value_digest: '0'.repeat(64),
  };
  await verifier.verifyStep(GOOD, { stepIndex: 1, step: STEPS[1], proof: stated });
});

for (const { name, code, request } of STEP_ATTACKS) {
  test(`refused: ${name}`, async () => {
    const { step_index: stepIndex, ...others } = request;
    await assert.rejects(
      verifier.verifyStep(GOOD, { stepIndex, ...others } as StepRequest),
      refusedWith(code),
    );
  });
}

test('a table row cannot vanish: names are unique and every kind that the contract names is there', () => {
  const names = STEP_ATTACKS.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const kind of [
    /index of another/,
    /another tree/,
    /node passed as a leaf/,
    /cut/,
    /extended/,
    /swapped/,
    /size lied/,
  ])
    assert.ok(
      names.some((name) => kind.test(name)),
      String(kind),
    );
});

test('a token that is not good is refused as such, whatever is asked about the step', async () => {
  const forged = signClaims(signer, { ...claimsIn(GOOD), aud: 'other' });
  for (const { request } of STEP_ATTACKS) {
    const { step_index: stepIndex, ...others } = request;
    const asked = { stepIndex, ...others } as StepRequest;
    await assert.rejects(verifier.verifyStep(forged, asked), refusedWith('TOKEN_INVALID'));
  }
});

test('a step that no plan can hold is refused: too deep, or a circle', async () => {
  const circle: Record<string, unknown> = { action: 'read' };
  circle['self'] = circle;
  const deep = JSON.parse(`{"action":"read","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`) as object;
  for (const step of [circle, deep]) {
    const asked = { stepIndex: 0, step, proof: proofs[0] };
    await assert.rejects(verifier.verifyStep(GOOD, asked), refusedWith('MERKLE_PROOF_INVALID'));
  }
});

test('allowed_actions are enforced, on whole steps and on actions alone', async () => {
  for (const [allowed, isTaken] of [
    [['read'], true],
    [['note', 'read'], true],
    [['send'], false],
    [['READ'], false],
    [['read '], false],
    [['*'], false],
    [[], false],
  ] as const) {
    const { jwt } = aToken(signer, { allowed_actions: allowed });
    for (const subject of [{ step: STEPS[0] }, { action: 'read' }]) {
      const verdict = verifier.verifyStep(jwt, { stepIndex: 0, proof: proofs[0], ...subject });
      if (isTaken) await verdict;
      else await assert.rejects(verdict, refusedWith('POLICY_DENIED'), allowed.join());
    }
  }
});
