/**
 * `POST /token/verify` against the attack tables that `writ/verify` is held to, signed with the server's own key over a
 * token that it issued itself; and what only a server can refuse: a token that it has no row of.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { claimsIn, STEPS, signClaims } from '../../verify/signed-tokens.ts';
import { STEP_ATTACKS } from '../../verify/step-attacks.ts';
import { TOKEN_ATTACKS } from '../../verify/token-attacks.ts';
import { serverSigner } from './verification-calls.ts';

interface Issued {
  readonly token: string;
  readonly step_proofs: readonly { readonly proof: unknown }[];
}

test('POST /token/verify', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const signer = await serverSigner(t, server);
  const { body: issued } = await server.call<Issued>({
    method: 'POST',
    url: '/token/issue',
    key: server.adminKey,
    json: { plan: { goal: 'verify', steps: STEPS }, expires_in: 3600 },
  });
  const ask = (json: object) =>
    server.call<{ valid: boolean; code: string; claims?: unknown; step?: unknown }>({
      method: 'POST',
      url: '/token/verify',
      json,
    });
  const expectCode = async (code: string, json: object): Promise<void> => {
    const { status, body, text } = await ask(json);
    assert.equal(status, 200, text);
    assert.equal(body.code, code, text);
    assert.equal(body.valid, code === 'VALID');
  };

  await t.test('takes the token that the tables spoil, and each of its steps', async () => {
    await expectCode('VALID', { token: issued.token });
    await expectCode('VALID', { token: signClaims(signer, claimsIn(issued.token)) });
    for (const [index, step] of STEPS.entries())
      await expectCode('VALID', {
        token: issued.token,
        step_index: index,
        step,
        proof: issued.step_proofs[index],
      });
  });

  for (const { name, code, forge } of TOKEN_ATTACKS) {
    await t.test(`refuses a token: ${name}`, async () => {
      const forged = forge({ good: issued.token, signer, nowSeconds: Math.floor(Date.now() / 1000) });
      const { status, body, text } = await ask({ token: forged });
      assert.equal(status, 200, text);
      assert.equal(body.code, code, text);
      assert.equal(body.valid, false);
      assert.equal(body.claims, undefined, 'nothing of a token that is not good is told');
    });
  }

  await t.test('refuses a token of which there is no row', async () => {
    const token = signClaims(signer, { ...claimsIn(issued.token), jti: uuidv7() });
    await expectCode('TOKEN_INVALID', { token });
  });

  await t.test('refuses a token whose row is another principal’s', async () => {
    const token = signClaims(signer, { ...claimsIn(issued.token), client_id: uuidv7() });
    await expectCode('TOKEN_INVALID', { token });
  });

  for (const { name, code, httpStatus, request } of STEP_ATTACKS) {
    await t.test(`refuses a step: ${name}`, async () => {
      const answer = await ask({ token: issued.token, ...request });
      if (httpStatus === 400) assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' });
      else {
        assert.equal(answer.body.code, code, answer.text);
        assert.equal(answer.body.valid, false);
        assert.equal(answer.body.step, undefined);
      }
    });
  }
});
