/**
 * The published SDK, unmodified, calls tools through a proxy that asks `POST /iap/verify-step` with what the SDK sends it:
 * a step of the plan runs, and another, a forged proof or a token that was revoked meanwhile does not. What it delegates
 * runs as far as it was passed on.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { after, suite, type TestContext, test } from 'node:test';
import { startNode } from '../support/processes.ts';
import { available, startVault } from './agentsecretstore-server.ts';

const require = createRequire(import.meta.url);
const SDK = require.resolve('@armoriq/sdk');

/** One plan, then the calls that it is given, one after the other; each says what came of it. */
const CLIENT = `
  const { ArmorIQClient } = require(${JSON.stringify(SDK)});
  const { url, proxyUrl, apiKey, plan, calls, delegateKey } = JSON.parse(process.argv[1]);
  (async () => {
    const client = new ArmorIQClient({
      apiKey, userId: 'user-1', agentId: 'agent-1', contextId: 'context-1',
      backendEndpoint: url, proxyEndpoint: proxyUrl, iapEndpoint: url,
    });
    const token = await client.getIntentToken(client.capturePlan('m', 'p', plan), undefined, 600);
    const passOn = async (from, actions) => {
      const { delegatedToken } = await client.delegate(from, delegateKey, 300, actions, 'helper', { goal: 'help' });
      // The delegate has to be told the plan, and its proofs, by whoever delegates.
      delegatedToken.rawToken.plan = plan;
      return delegatedToken;
    };
    const outcomes = [];
    for (const { mcp, action, params, proof, revokeFirst, passedOn } of calls) {
      if (revokeFirst) await fetch(url + '/token/revoke', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
        body: JSON.stringify({ token_id: token.tokenId }),
      });
      const index = plan.steps.findIndex((step) => step.action === action);
      const call = async () => {
        let used = token;
        for (const actions of passedOn ?? []) used = await passOn(used, actions);
        const { status, result } = await client.invoke(mcp, action, used, params, proof ?? token.stepProofs[index]);
        return { status, result, verified: await client.verifyToken(used) };
      };
      outcomes.push(await call().catch((error) => ({ thrown: error.constructor.name })));
    }
    console.log('RESULT ' + JSON.stringify(outcomes));
    client.close();
  })().catch((error) => { console.log('THROWN ' + error.stack); process.exit(3); });
`;

const PLAN = {
  goal: 'look at the weather',
  steps: [
    { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Zürich' } },
    { action: 'send_mail', mcp: 'mail-mcp', params: { to: 'a@example.org' } },
  ],
};

/** RFC 8032 section 7.1, test 2. */
const DELEGATE_KEY = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
const JSON_TYPE = { 'content-type': 'application/json' };

interface Outcome {
  readonly status?: string;
  readonly result?: unknown;
  readonly verified?: boolean;
  readonly thrown?: string;
}

suite('@armoriq/sdk behind a proxy that asks verify-step', () => {
  const server = startVault(available);
  const verdicts: { allowed?: unknown; code?: unknown }[] = [];
  const closers: (() => unknown)[] = [];
  after(() => closers.forEach((close) => void close()));

  /** A tool server's proxy in a few lines: only what it is told to be allowed is carried out. */
  const startProxy = async (apiKey: string): Promise<string> => {
    const proxy = createServer(async (request, response) => {
      // The SDK looks first whether it is there.
      if (request.method !== 'POST') return void response.writeHead(200, JSON_TYPE).end('{}');
      const { token, action } = (await json(request)) as { token: unknown; action: unknown };
      const sent = headersOf(request);
      const asked = await fetch(`${server.url}/iap/verify-step`, {
        method: 'POST',
        headers: { ...JSON_TYPE, 'x-api-key': apiKey },
        body: JSON.stringify({
          token,
          path: sent.path,
          tool_name: action,
          proof: JSON.parse(sent.proof),
          context: { csrg_value_digest: sent.digest },
        }),
      });
      const verdict = (await asked.json()) as { allowed?: unknown; code?: unknown };
      verdicts.push(verdict);
      response.writeHead(verdict.allowed === true ? 200 : 403, JSON_TYPE);
      response.end(
        JSON.stringify(verdict.allowed === true ? { result: `${action} was done` } : { reason: 'no' }),
      );
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    closers.push(() => proxy.close());
    return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  };

  const run = async (t: TestContext, calls: readonly object[]): Promise<Outcome[]> => {
    const agent = await server.createAgent({ allowed_scopes: ['secrets:read:a/*'] });
    const proxyUrl = await startProxy(agent.key);
    verdicts.length = 0;
    const input = JSON.stringify({
      url: server.url,
      proxyUrl,
      apiKey: agent.key,
      plan: PLAN,
      calls,
      delegateKey: DELEGATE_KEY,
    });
    const client = await startNode(t, ['-e', CLIENT, input], {});
    assert.equal(await client.ended, 0, client.stdout() + client.stderr());
    const line = client
      .stdout()
      .split('\n')
      .find((text) => text.startsWith('RESULT '));
    return JSON.parse((line ?? '').slice('RESULT '.length)) as Outcome[];
  };

  const WEATHER = { mcp: 'weather-mcp', action: 'get_weather', params: { city: 'Zürich' } };
  const MAIL = { mcp: 'mail-mcp', action: 'send_mail', params: {} };

  test('each step of the plan runs', async (t) => {
    const outcomes = await run(t, [WEATHER, MAIL]);
    assert.deepEqual(outcomes, [
      { status: 'success', result: 'get_weather was done', verified: true },
      { status: 'success', result: 'send_mail was done', verified: true },
    ]);
    assert.deepEqual(
      verdicts.map(({ code }) => code),
      ['VALID', 'VALID'],
    );
  });

  test('a forged proof does not run, and nor does anything after the token was revoked', async (t) => {
    const forged = { ...WEATHER, proof: [{ position: 'right', sibling_hash: '0'.repeat(64) }] };
    const outcomes = await run(t, [forged, WEATHER, { ...WEATHER, revokeFirst: true }, MAIL]);
    assert.deepEqual(
      outcomes.map(({ status, thrown }) => status ?? thrown),
      ['MCPInvocationException', 'success', 'MCPInvocationException', 'MCPInvocationException'],
    );
    assert.deepEqual(
      verdicts.map(({ code }) => code),
      ['MERKLE_PROOF_INVALID', 'VALID', 'TOKEN_REVOKED', 'TOKEN_REVOKED'],
    );
  });

  test('what is passed on runs as far as it was passed on, and never further', async (t) => {
    const outcomes = await run(t, [
      { ...WEATHER, passedOn: [['get_weather']] },
      { ...MAIL, passedOn: [['get_weather']] },
      { ...MAIL, passedOn: [undefined] },
      { ...WEATHER, passedOn: [['get_weather', 'send_mail'], ['get_weather']] },
      { ...MAIL, passedOn: [['get_weather'], ['send_mail']] },
      { ...MAIL, passedOn: [['send_mail', 'drop_table']] },
      { ...WEATHER, passedOn: [['get_weather']], revokeFirst: true },
    ]);
    assert.deepEqual(
      outcomes.map(({ status, thrown, verified }) => (status === undefined ? thrown : [status, verified])),
      [
        ['success', true],
        'MCPInvocationException',
        ['success', true],
        ['success', true],
        'DelegationException',
        'DelegationException',
        'DelegationException',
      ],
    );
    assert.deepEqual(
      verdicts.map(({ code }) => code),
      ['VALID', 'POLICY_DENIED', 'VALID', 'VALID'],
    );
  });
});

function headersOf({ headers }: IncomingMessage) {
  const one = (name: string) => String(headers[name]);
  return { path: one('x-csrg-path'), proof: one('x-csrg-proof'), digest: one('x-csrg-value-digest') };
}
