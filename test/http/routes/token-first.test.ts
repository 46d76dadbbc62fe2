/**
 * Every endpoint that verifies judges the token before anything else of the question (contract section 4.6): of a bad
 * token nothing else is said, and of a good one every fault is said as before.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { issueWith } from './verification-calls.ts';

test('the token is judged first', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { call, adminKey } = server;
  const good = await issueWith(server, adminKey);
  const revoked = await issueWith(server, adminKey);
  await call({ method: 'POST', url: '/token/revoke', key: adminKey, json: { token: revoked.token } });
  const { proof } = good.step_proofs[0];
  const anothers = await issueWith(server, (await server.createAgent()).key);
  const badTokens: readonly (readonly [string, string])[] = [
    ['x', 'TOKEN_INVALID'],
    [good.token.replace(/.{5}$/, 'AAAAA'), 'TOKEN_INVALID'],
    [revoked.token, 'TOKEN_REVOKED'],
  ];
  const STEP_FAULTS: readonly object[] = [
    { proof: 'x' },
    { proof: [{ position: 'up', sibling_hash: 'x' }] },
    { step_index: -1 },
    { step_index: '0' },
    { surprise: 1 },
  ];
  const endpoints: readonly {
    readonly url: string;
    readonly keyed: boolean;
    readonly body: Readonly<Record<string, unknown>>;
    readonly withToken: (jwt: string) => object;
    readonly faults: readonly object[];
    /** Who it was issued to is a fact of the token, where that decides. */
    readonly othersAreBad?: true;
  }[] = [
    {
      url: '/token/verify',
      keyed: true,
      body: { step_index: 0, action: 'read', proof },
      withToken: (token) => ({ token }),
      faults: [
        ...STEP_FAULTS,
        { action: 7 },
        { mcp: 'files' },
        { client_ip: 'nowhere' },
        { consume: 'yes' },
        { proof: undefined },
        { step_index: undefined },
      ],
    },
    {
      url: '/iap/verify-step',
      keyed: true,
      body: { step_index: 0, tool_name: 'read', proof },
      withToken: (token) => ({ token }),
      faults: [
        ...STEP_FAULTS,
        { path: '/steps/x' },
        { path: '/steps/[1]/action' },
        { tool_name: [] },
        { tool_name: undefined },
        { context: { csrg_value_digest: 'x' } },
        { context: { more: 'x'.repeat(9000) } },
      ],
    },
    {
      url: '/verify/action',
      keyed: false,
      body: { path: '/steps/[0]/action', value: 'read', proof },
      withToken: (token) => ({ token }),
      faults: [{ proof: 'x' }, { path: 'x' }, { value: 7 }, { path: undefined }, { surprise: 1 }],
    },
    {
      url: '/iap/sdk/enforce',
      keyed: true,
      body: { mcp: 'files', tool: 'read' },
      withToken: (jwt) => ({ intent_token: { jwt_token: jwt } }),
      faults: [{ tool: 7 }, { tool: undefined }, { mcp: [] }, { mcpServer: 1 }, { surprise: 1 }],
      othersAreBad: true,
    },
  ];

  for (const { url, keyed, body, withToken, faults, othersAreBad } of endpoints) {
    const ask = (json: object, query = '') =>
      call<{ code?: string; valid?: boolean; allowed?: boolean }>({
        method: 'POST',
        url: `${url}${query}`,
        json,
        ...(keyed ? { key: adminKey } : {}),
      });
    const bad = othersAreBad ? [...badTokens, [anothers.token, 'TOKEN_INVALID'] as const] : badTokens;

    await t.test(`${url} says of a bad token that it is bad, whatever else is wrong`, async () => {
      for (const [jwt, code] of bad)
        for (const fault of [{}, ...faults]) {
          const answer = await ask({ ...body, ...withToken(jwt), ...fault });
          const about = `${code} ${JSON.stringify(fault).slice(0, 80)} ${answer.text}`;
          assert.equal(answer.status, 200, about);
          assert.equal(answer.body.code, code, about);
          assert.equal(answer.body.valid ?? answer.body.allowed, false, about);
        }
      const queried = await ask({ ...body, ...withToken('x') }, '?x=1');
      assert.equal(queried.body.code, 'TOKEN_INVALID');
    });

    await t.test(`${url} says of a good token what is wrong beside it`, async () => {
      const sound = await ask({ ...body, ...withToken(good.token) });
      assert.equal(sound.body.code, 'VALID', sound.text);
      for (const fault of faults) {
        const answer = await ask({ ...body, ...withToken(good.token), ...fault });
        assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' }, JSON.stringify(fault).slice(0, 80));
      }
      const queried = await ask({ ...body, ...withToken(good.token) }, '?x=1');
      assertRefused(queried, { status: 400, code: 'VALIDATION_ERROR' });
    });

    await t.test(`${url} refuses what is no token at all`, async () => {
      for (const json of [body, { ...body, token: 7, intent_token: 7 }, [], 'x', {}])
        assertRefused(await ask(json as object), { status: 400, code: 'VALIDATION_ERROR' });
    });
  }

  await t.test('who may not ask is told so before', async () => {
    for (const question of [{ consume: true }, { client_ip: 7 }])
      assertRefused(await call({ method: 'POST', url: '/token/verify', json: { token: 'x', ...question } }), {
        status: 401,
        code: 'AUTH_INVALID_KEY',
      });
  });

  await t.test('mcpServer must be the mcp, and wireName decides nothing', async () => {
    const code = async (json: object) => {
      const asked = { tool: 'read', intent_token: { jwt_token: good.token }, ...json };
      const answer = await call<{ code: string }>({
        method: 'POST',
        url: '/iap/sdk/enforce',
        key: adminKey,
        json: asked,
      });
      return answer.body.code;
    };
    assert.equal(await code({ mcp: 'files', mcpServer: 'files', wireName: 'mail__send' }), 'VALID');
    assert.equal(await code({ mcp: 'files', mcpServer: 'mail' }), 'STEP_MISMATCH');
    assert.equal(await code({ tool: 'note', mcpServer: 'mail' }), 'STEP_MISMATCH');
    assert.equal(await code({ tool: 'note', wireName: 'x__note' }), 'VALID');
  });
});
