/**
 * Guarantees a listening Writ, and tokens of which a gateway that reads nothing but their claims opens the named tools
 * of `weather-mcp`, and no other.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { buildTestApp } from '../support/app.ts';
import { freePort } from '../support/free-port.ts';
import type { Overrides } from '../support/test-config.ts';

export interface GatewayCase {
  readonly what: string;
  readonly token: string;
  /** Undefined: the token is not taken at all. */
  readonly tools: readonly string[] | undefined;
}

const PLANNED = { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Oslo' } };
const CLOSE = { action: 'close_station', mcp: 'weather-mcp' };
const ELSEWHERE = { action: 'close_station', mcp: 'power-mcp' };
const MANY = Array.from({ length: 200 }, () => PLANNED);

/** What is asked for, and which tools it opens. */
const ISSUED: readonly (readonly [what: string, tools: readonly string[], request: object])[] = [
  ['a plan with one tool', ['get_weather'], { plan: { steps: [PLANNED] } }],
  ['a plan with a tool of another server', ['get_weather'], { plan: { steps: [ELSEWHERE, PLANNED] } }],
  ['a step of no server', ['close_station'], { plan: { steps: [{ action: 'close_station' }] } }],
  ['a plan with both', ['close_station', 'get_weather'], { plan: { steps: [PLANNED, CLOSE] } }],
  ['a plan for others', [], { plan: { steps: [ELSEWHERE] } }],
  ['a claim that was left out', [], { plan: { steps: [PLANNED] }, authorization_details: false }],
  ['a claim that would be too long', [], { plan: { steps: MANY } }],
  [
    'a policy that binds later',
    [],
    { plan: { steps: [PLANNED] }, policy: { allow: ['*'], time_restrictions: { allowed_hours: [1] } } },
  ],
  ['a policy decided before', ['get_weather'], { plan: { steps: [PLANNED] }, policy: { deny: ['mail/*'] } }],
];

export async function listenForGateways(t: Pick<TestContext, 'after'>, overrides: Overrides = {}) {
  // The port is the issuer's, so it has to be known before the start.
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = await buildTestApp(t, { ISSUER_URL: url, ...overrides });
  await server.app.listen({ host: '127.0.0.1', port });
  const issue = async (request: object): Promise<string> => {
    const json = { expires_in: 3600, ...request };
    const { status, text, body } = await server.call<{ token: string }>({
      method: 'POST',
      url: '/token/issue',
      key: server.adminKey,
      json,
    });
    assert.equal(status, 200, text);
    return body.token;
  };
  const cases: GatewayCase[] = [];
  for (const [what, tools, request] of ISSUED) cases.push({ what, tools, token: await issue(request) });
  const good = cases[0]?.token ?? '';
  const [header = '', , signature = ''] = good.split('.');
  const claims = JSON.parse(Buffer.from(good.split('.')[1] ?? '', 'base64url').toString()) as object;
  const forged = Buffer.from(JSON.stringify({ ...claims, sub: 'x' })).toString('base64url');
  cases.push({ what: 'a forged token', tools: undefined, token: `${header}.${forged}.${signature}` });
  cases.push({ what: 'no token', tools: undefined, token: 'x' });
  return { url, server, cases };
}
