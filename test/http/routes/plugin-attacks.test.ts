/**
 * The attack tables of tokens and of steps against the endpoints that plug-ins ask (contract section 4.6), signed with the
 * server's own key over a token that it issued itself: none of them is allowed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildTestApp, type TestAnswer } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { STEPS } from '../../verify/signed-tokens.ts';
import { STEP_ATTACKS } from '../../verify/step-attacks.ts';
import { TOKEN_ATTACKS } from '../../verify/token-attacks.ts';
import { type Issued, serverSigner } from './verification-calls.ts';

interface Verdict {
  readonly allowed: boolean;
  readonly code: string;
}

const [FIRST] = STEPS;

test('no attack of the tables is allowed', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const signer = await serverSigner(t, server);
  const key = server.adminKey;
  const plan = { goal: 'verify', steps: STEPS };
  const { body: issued } = await server.call<Issued>({
    method: 'POST',
    url: '/token/issue',
    key,
    json: { plan, expires_in: 3600 },
  });
  const proof = issued.step_proofs[0].proof;
  const ENDPOINTS: Readonly<Record<string, (token: string) => object>> = {
    '/iap/verify-step': (token) => ({ token, step_index: 0, tool_name: FIRST?.action, proof }),
    '/verify/action': (token) => ({ token, path: '/steps/[0]/action', value: FIRST?.action, proof }),
    '/iap/sdk/enforce': (token) => ({
      mcp: FIRST?.mcp,
      tool: FIRST?.action,
      intent_token: { jwt_token: token },
    }),
  };
  const ask = (url: string, json: object): Promise<TestAnswer<Verdict>> =>
    server.call({ method: 'POST', url, json, ...(url === '/verify/action' ? {} : { key }) });

  for (const [url, question] of Object.entries(ENDPOINTS)) {
    await t.test(`${url} allows the token that the table spoils`, async () => {
      assert.deepEqual((await ask(url, question(issued.token))).body.code, 'VALID');
    });
    await t.test(`${url} allows no token of the table, and says which code it has`, async () => {
      for (const { name, code, forge } of TOKEN_ATTACKS) {
        const forged = forge({ good: issued.token, signer, nowSeconds: Math.floor(Date.now() / 1000) });
        const { status, body, text } = await ask(url, question(forged));
        assert.equal(status, 200, `${name}: ${text}`);
        assert.deepEqual([body.allowed, body.code], [false, code], name);
      }
    });
  }

  await t.test('no step of the table is allowed by its name', async () => {
    let asked = 0;
    for (const { name, request } of STEP_ATTACKS) {
      const action = request.action ?? (request.step as { action?: unknown } | undefined)?.action;
      const { step_index: index, proof: sent } = request;
      // What only the whole step can show to be wrong is right for its action alone.
      const isOnlyOfStep =
        request.action === undefined &&
        JSON.stringify(sent) === JSON.stringify(issued.step_proofs[Number(index)]?.proof) &&
        action === STEPS[Number(index)]?.action;
      if (isOnlyOfStep) continue;
      asked += 1;
      const path = `/steps/[${index}]/action`;
      const { token } = issued;
      for (const [url, json] of [
        ['/iap/verify-step', { token, step_index: index, tool_name: action, proof: sent }],
        ['/iap/verify-step', { token, path, tool_name: action, proof: sent }],
        ['/verify/action', { token, path, value: action, proof: sent }],
      ] as const) {
        const { status, body, text } = await ask(url, json);
        assert.ok(status === 200 || status === 400, `${name}: ${text}`);
        assert.equal(body.allowed, false, `${name}: ${text}`);
      }
    }
    assert.ok(asked > 20);
  });
});
