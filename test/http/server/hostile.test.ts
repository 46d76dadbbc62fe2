/**
 * What every route withstands. A new route joins by one line of `ROUTES`; a test fails while it has none. Refusals
 * are documented ones in the right envelope, tell nothing internal and leave no row behind.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API_KEY_PREFIX_LENGTH, formatApiKey } from '../../../src/domain/principals/api-key.ts';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import {
  assertRefused,
  buildTestApp,
  errorOf,
  NO_HEADER,
  type TestAnswer,
  type TestApp,
  type TestRequest,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';

interface HostileRoute {
  readonly method: string;
  /** As registered. */
  readonly route: string;
  /**
   * As asked; what it names exists. `{token}` is the id of a scoped token, `{approval}` of a pending approval that an
   * agent asked for, `{own}` of one that the administrator did.
   */
  readonly url?: string;
  readonly credential: 'none' | 'api-key-if-sent' | 'api-key' | 'scoped-token-or-api-key';
  /**
   * A body that the route accepts, with every member of the documented ones that has a type of its own. `{intent}` is a
   * good intent token: of another one nothing else is said.
   */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Members of `body` that may have several types. */
  readonly several?: readonly string[];
  /** Answers whatever is sent with 403. */
  readonly alwaysForbidden?: true;
  /** Answers what is no acceptable request with 200 and `allowed:false`. */
  readonly neverBadRequest?: true;
  /** Also takes its body as a form. */
  readonly takesForms?: true;
  /** Answers a scoped token that has ended. */
  readonly answersDeadTokens?: true;
  /** Takes no body as an empty one, and then has decided: the same again is a conflict. */
  readonly decides?: true;
}

const PLAN = { steps: [{ action: 'look', mcp: 'm' }] };
const ISSUE = {
  plan: PLAN,
  policy: { allow: ['*'] },
  expires_in: 60,
  validity_seconds: 60,
  user_id: 'u',
  agent_id: 'a',
  context_id: 'c',
  user_email: 'e@example.org',
  dry_run: false,
  authorization_details: true,
  metadata: {},
};
const CHANGES = {
  description: 'd',
  email: 'e@example.org',
  allowed_scopes: ['secrets:read:a/b'],
  allowed_namespaces: ['a/b'],
  policy: { allow: ['*'] },
};
const QUESTION = {
  token: '{intent}',
  step_index: 0,
  step: PLAN.steps[0],
  action: 'look',
  mcp: 'm',
  proof: [],
};
const TOOL_CALL = {
  mcp: 'm',
  tool: 'look',
  intent_token: { jwt_token: '{intent}', plan_id: 'p' },
  wireName: 'm__look',
  mcpServer: 'm',
  toolsSnapshotHash: 'h',
  session_id: 's',
  user_email: 'e@example.org',
  agent_id: 'a',
  arguments: {},
  policy_snapshot: [],
};
const FREE_OF_CALL = ['arguments', 'policy_snapshot'];
const REVOCATION = {
  token: { token_id: 'x' },
  token_id: 'x',
  reason: 'r',
  cascade: true,
  planId: 'p',
  intentReference: 'x',
};
const DELEGATION = {
  token: 'x',
  delegate_public_key: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  validity_seconds: 60,
  allowed_actions: ['look'],
  target_agent: 'd',
  subtask: {},
};
const EMERGENCY = { agent: 'doomed', all: false, reason: 'r' };
const FUTURE = '2999-01-01T00:00:00Z';
const TOKEN_REQUEST = {
  scopes: ['secrets:read:hostile/*'],
  scope: 'secrets:read:hostile/*',
  ttl_seconds: 900,
  ttl: '15m',
  max_uses: 1,
  allowed_ips: ['127.0.0.1'],
  ip_allowlist: ['127.0.0.1'],
  require_approval: false,
  description: 'd',
};
const STEP_REPORT = {
  step_index: 0,
  action: 'a',
  status: 's',
  tool: 't',
  mcp: 'm',
  duration_ms: 1,
  is_delegated: false,
  executed_at: '2026-01-01T00:00:00Z',
  plan_id: 'p',
  session_id: 's',
  agent_id: 'a',
  user_email: 'e',
  delegated_by: 'd',
  delegated_to: 'd',
  input: {},
  output: {},
  error_message: 'e',
  token: 't',
};
const KIND_OF_SECRET = { secret_type: 'custom', access_tier: 'standard', tier: 'standard', metadata: {} };
const SECRET = { value: 'v', ...KIND_OF_SECRET, description: 'd', tags: ['t'], expires_at: FUTURE };
const ONE_APPROVAL = {
  credential: 'api-key',
  route: '/v1/approvals/:id',
  url: '/v1/approvals/{approval}',
} as const;
const BY_TOKEN_OR_KEY = { credential: 'scoped-token-or-api-key' } as const;
const ONE_SECRET = { ...BY_TOKEN_OR_KEY, route: '/v1/secrets/*', url: '/v1/secrets/hostile/victim' };

const ROUTES: readonly HostileRoute[] = [
  { method: 'GET', route: '/health', credential: 'api-key-if-sent' },
  { method: 'GET', route: '/v1/health', credential: 'api-key-if-sent' },
  { method: 'GET', route: '/ready', credential: 'none' },
  { method: 'GET', route: '/.well-known/jwks.json', credential: 'none' },
  { method: 'GET', route: '/v1/openapi.json', credential: 'none' },
  { method: 'GET', route: '/docs', credential: 'none' },
  { method: 'POST', route: '/token/issue', credential: 'api-key', body: ISSUE },
  { method: 'POST', route: '/iap/sdk/token', credential: 'api-key', body: ISSUE },
  {
    method: 'POST',
    route: '/token/verify',
    credential: 'api-key-if-sent',
    body: QUESTION,
    several: ['token', 'proof'],
  },
  {
    method: 'POST',
    route: '/iap/verify-step',
    credential: 'api-key',
    body: {
      token: '{intent}',
      path: '/steps/[0]/action',
      step_index: 0,
      tool_name: 'look',
      proof: [],
      context: {},
    },
    several: ['token', 'proof'],
  },
  {
    method: 'POST',
    route: '/iap/sdk/enforce',
    credential: 'api-key',
    body: TOOL_CALL,
    several: FREE_OF_CALL,
  },
  {
    method: 'POST',
    route: '/verify/action',
    credential: 'none',
    body: { token: '{intent}', path: '/steps/[0]/action', value: 'look', proof: [], context: {} },
    several: ['token', 'proof'],
  },
  { method: 'GET', route: '/v1/intent-tokens', credential: 'api-key' },
  { method: 'POST', route: '/token/revoke', credential: 'api-key', body: REVOCATION, several: ['token'] },
  { method: 'POST', route: '/iap/trust/revoke', credential: 'api-key', body: REVOCATION, several: ['token'] },
  {
    method: 'POST',
    route: '/iap/enforce',
    credential: 'api-key',
    body: { tool_name: 't', tool_input: {}, source: 's', session_id: 's', org_id: 'o', description: 'd' },
    neverBadRequest: true,
  },
  { method: 'GET', route: '/iap/public-key', credential: 'none' },
  { method: 'GET', route: '/policy/bundles/current', credential: 'api-key' },
  { method: 'GET', route: '/observability/policy/lease', credential: 'api-key' },
  { method: 'POST', route: '/iap/sdk/bootstrap', credential: 'api-key' },
  { method: 'POST', route: '/iap/trust/reanchor', credential: 'api-key', alwaysForbidden: true },
  {
    method: 'POST',
    route: '/iap/audit',
    credential: 'api-key',
    body: STEP_REPORT,
    several: ['input', 'output', 'error_message', 'token'],
  },
  { method: 'POST', route: '/iap/audit/batch', credential: 'api-key', body: { rows: [STEP_REPORT] } },
  {
    method: 'POST',
    route: '/iap/plans/:id/status',
    url: '/iap/plans/0198c5f0-0000-7000-8000-000000000000/status',
    credential: 'api-key',
    body: { status: 's' },
  },
  { method: 'GET', route: '/api-keys', credential: 'api-key' },
  {
    method: 'POST',
    route: '/api-keys/:id/revoke',
    url: '/api-keys/0123456789abcdef/revoke',
    credential: 'api-key',
  },
  {
    method: 'POST',
    route: '/delegation/create',
    credential: 'api-key',
    body: DELEGATION,
    several: ['token'],
  },
  {
    method: 'POST',
    route: '/iap/trust/delegate',
    credential: 'api-key',
    body: DELEGATION,
    several: ['token'],
  },
  {
    method: 'POST',
    route: '/v1/agents',
    credential: 'api-key',
    body: { name: 'hostile', role: 'agent', ...CHANGES, key_expires_at: FUTURE },
  },
  { method: 'GET', route: '/v1/agents', credential: 'api-key' },
  { method: 'GET', route: '/v1/agents/:id', url: '/v1/agents/victim', credential: 'api-key' },
  {
    method: 'PATCH',
    route: '/v1/agents/:id',
    url: '/v1/agents/victim',
    credential: 'api-key',
    body: CHANGES,
  },
  { method: 'DELETE', route: '/v1/agents/:id', url: '/v1/agents/doomed', credential: 'api-key' },
  {
    method: 'POST',
    route: '/v1/agents/:id/keys',
    url: '/v1/agents/victim/keys',
    credential: 'api-key',
    body: { name: 'n', expires_at: FUTURE },
  },
  { method: 'GET', route: '/v1/agents/:id/keys', url: '/v1/agents/victim/keys', credential: 'api-key' },
  {
    method: 'POST',
    route: '/v1/agents/:id/keys/rotate',
    url: '/v1/agents/victim/keys/rotate',
    credential: 'api-key',
    body: { overlap_seconds: 60, name: 'n', expires_at: FUTURE },
  },
  {
    method: 'GET',
    route: '/v1/agents/:id/keys/:keyId',
    url: '/v1/agents/admin/keys/{key}',
    credential: 'api-key',
  },
  {
    method: 'DELETE',
    route: '/v1/agents/:id/keys/:keyId',
    url: '/v1/agents/victim/keys/0123456789abcdef',
    credential: 'api-key',
  },
  { method: 'GET', route: '/v1/me', credential: 'api-key' },
  { method: 'GET', route: '/v1/emergency', credential: 'api-key' },
  { method: 'POST', route: '/v1/emergency/stop', credential: 'api-key', body: EMERGENCY },
  { method: 'POST', route: '/v1/emergency/resume', credential: 'api-key', body: EMERGENCY },
  {
    method: 'POST',
    route: '/v1/tokens',
    credential: 'api-key',
    body: TOKEN_REQUEST,
    several: ['ttl'],
  },
  { method: 'GET', route: '/v1/tokens', credential: 'api-key' },
  { method: 'GET', route: '/v1/tokens/:id', url: '/v1/tokens/{token}', credential: 'api-key' },
  { method: 'DELETE', route: '/v1/tokens/:id', url: '/v1/tokens/{token}', credential: 'api-key' },
  {
    ...BY_TOKEN_OR_KEY,
    method: 'POST',
    route: '/v1/tokens/introspect',
    body: { token: 't', token_type_hint: 'h' },
    takesForms: true,
    answersDeadTokens: true,
  },
  { ...BY_TOKEN_OR_KEY, method: 'GET', route: '/v1/namespaces' },
  { ...BY_TOKEN_OR_KEY, method: 'GET', route: '/v1/secrets', url: '/v1/secrets?namespace=hostile' },
  { ...BY_TOKEN_OR_KEY, method: 'POST', route: '/v1/secrets', body: { path: 'hostile/new', ...SECRET } },
  {
    ...BY_TOKEN_OR_KEY,
    method: 'POST',
    route: '/v1/secrets/import',
    body: { namespace: 'hostile', content: 'A=1', ...KIND_OF_SECRET },
  },
  { ...ONE_SECRET, method: 'GET' },
  { ...ONE_SECRET, method: 'PUT', body: SECRET },
  { ...ONE_SECRET, method: 'DELETE' },
  {
    ...ONE_SECRET,
    method: 'POST',
    url: '/v1/secrets/hostile/victim/rotate',
    body: { new_value: 'v' },
  },
  { method: 'GET', route: '/v1/approvals', credential: 'api-key' },
  { ...ONE_APPROVAL, method: 'GET' },
  {
    ...ONE_APPROVAL,
    method: 'POST',
    route: '/v1/approvals/:id/approve',
    url: '/v1/approvals/{approval}/approve',
    body: { reason: 'r', request_digest: 'd' },
    decides: true,
  },
  {
    ...ONE_APPROVAL,
    method: 'POST',
    route: '/v1/approvals/:id/deny',
    url: '/v1/approvals/{approval}/deny',
    body: { reason: 'r' },
    decides: true,
  },
  {
    method: 'GET',
    route: '/v1/approvals/agent/:id',
    url: '/v1/approvals/agent/{own}',
    credential: 'api-key',
  },
  { method: 'GET', route: '/v1/audit', credential: 'api-key' },
  {
    method: 'GET',
    route: '/v1/audit/export',
    url: '/v1/audit/export?format=jsonl',
    credential: 'api-key',
  },
];

const ONE_MIB = 1024 * 1024;
const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
const INTERNAL =
  /drizzle|postgres|sqlstate|node_modules|\.ts\b|\.js\b|\bat \S+ \(|select |insert into|stack|\/src\//i;
const FORGED_REQUEST_ID = 'forged-request-id';

test('every registered route stands in the table, and nothing else does', {
  skip: postgresSkip,
}, async (t) => {
  const { routes } = await buildTestApp(t);
  const named = (route: { method: string; url?: string; route?: string }) =>
    `${route.method} ${route.route ?? route.url}`;
  assert.ok(routes.length > 0);
  assert.deepEqual(ROUTES.map(named).sort(), routes.map(named).sort());
});

test('hostile input', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const held = await holdCredentials(server);
  for (const name of ['victim', 'doomed']) await server.createAgent({ name });
  await server.call({
    method: 'PUT',
    url: ONE_SECRET.url,
    key: server.adminKey,
    json: { value: 'v' },
  });
  await server.call({ method: 'GET', url: '/ready' });

  for (const { route, by, as } of ROUTES.map(withToken(held)).flatMap((route) => ways(route, held))) {
    const name = `${route.method} ${route.route}${as}`;
    const url = urlOf(route, held);
    const ask = (request: Partial<TestRequest>) =>
      server.call({
        method: route.method,
        url,
        ...request,
        headers: { ...by, 'x-request-id': FORGED_REQUEST_ID, ...request.headers },
      });

    if (route.method !== 'GET') {
      await t.test(`${name} refuses hostile bodies and leaves nothing behind`, async () => {
        const before = await rowCounts(server);
        for (const { what, raw, headers, status, code, reason } of BODIES_NOBODY_TAKES) {
          if (what === 'a form' && route.takesForms) continue;
          const answer = await ask({ raw, ...(headers === undefined ? {} : { headers }) });
          const details = reason === undefined ? {} : { details: { reason } };
          assertUnacceptable(route, answer, { status, code, ...details }, what);
          assertProper(answer, url, what);
        }
        assert.deepEqual(await rowCounts(server), before);
      });

      await t.test(`${name} refuses an unknown member, wherever it takes a body or none`, async () => {
        const before = await rowCounts(server);
        for (const member of ['surprise', 'constructor', 'toString', 'a/b~c']) {
          const answer = await ask({ json: { ...route.body, [member]: 1 } });
          const pointer = `/${member.replaceAll('~', '~0').replaceAll('/', '~1')}`;
          const expected = { status: 400, code: 'VALIDATION_ERROR', details: { pointer } };
          assertUnacceptable(route, answer, expected, member);
          assertProper(answer, url, member);
        }
        assert.deepEqual(await rowCounts(server), before);
      });
    }

    const { body } = route;
    if (body !== undefined) {
      await t.test(`${name} answers an absent body as documented`, async () => {
        for (const headers of [{}, { 'content-type': 'application/json' }]) {
          const answer = await ask({ headers });
          assert.ok([200, 201, 400].includes(answer.status), answer.text);
          if (route.decides) assert.equal(answer.status, 200, answer.text);
          assertProper(answer, url);
          if (route.decides) {
            const again = await ask({ headers });
            assertRefused(again, { status: 409, code: 'APPROVAL_ALREADY_DECIDED' });
            assertProper(again, url);
            await reopen(server, held);
          }
        }
      });

      await t.test(`${name} coerces no member of another type`, async () => {
        const before = await rowCounts(server);
        for (const [member, valid] of Object.entries(body)) {
          if (route.several?.includes(member)) continue;
          for (const wrong of wrongTypesFor(valid)) {
            const what = `${member}: ${JSON.stringify(wrong)}`;
            const answer = await ask({ json: { ...body, [member]: wrong } });
            if (route.neverBadRequest) {
              assertNoGrant(answer, what);
              continue;
            }
            assert.equal(answer.status, 400, `${what} ${answer.text}`);
            const pointer = String(errorOf(answer).details?.['pointer']);
            assert.ok(
              pointer === `/${member}` || pointer.startsWith(`/${member}/`),
              `${what} ${answer.text}`,
            );
            assertProper(answer, url, what);
          }
        }
        for (const raw of ['[]', '"text"', '7', 'true', 'null', `[${JSON.stringify(body)}]`]) {
          const answer = await ask({ raw });
          if (route.neverBadRequest) assertNoGrant(answer, raw);
          else assert.equal(answer.status, 400, raw);
        }
        assert.deepEqual(await rowCounts(server), before);
      });
    }

    await t.test(`${name} refuses an unknown query parameter`, async () => {
      const before = await rowCounts(server);
      for (const query of ['surprise=1', 'surprise', '__proto__=1', 'constructor=1']) {
        const json = route.body === undefined ? {} : { json: route.body };
        const answer = await ask({ url: `${url}${url.includes('?') ? '&' : '?'}${query}`, ...json });
        assertUnacceptable(route, answer, { status: 400, code: 'VALIDATION_ERROR' }, query);
        assertProper(answer, url, query);
      }
      assert.deepEqual(await rowCounts(server), before);
    });
  }

  for (const route of ROUTES.filter(({ credential }) => credential !== 'none')) {
    const name = `${route.method} ${route.route}`;
    const url = urlOf(route, held);
    const takesTokens = route.credential === 'scoped-token-or-api-key';

    await t.test(`${name} refuses every credential that is not one, before it reads the body`, async () => {
      const before = await rowCounts(server);
      const hostileBody = route.method === 'GET' ? {} : { raw: '{"not json' };
      const hugeBody = route.method === 'GET' ? {} : { raw: HUGE_BODY };
      for (const { what, headers, tokenState } of refusedCredentials(held)) {
        if (route.credential === 'api-key-if-sent' && Object.keys(headers).length === 0) continue;
        if (takesTokens && tokenState === 'live') continue;
        if (route.answersDeadTokens && tokenState !== undefined && tokenState !== 'invalid') continue;
        const answer = await server.call({
          method: route.method,
          url,
          ...(what === 'unknown' ? hugeBody : hostileBody),
          headers: { 'x-request-id': FORGED_REQUEST_ID, ...headers },
        });
        const refusedKey = url.startsWith('/v1/')
          ? 'UNAUTHORIZED'
          : what === 'expired'
            ? 'AUTH_EXPIRED_KEY'
            : 'AUTH_INVALID_KEY';
        const asToken = takesTokens && tokenState !== undefined;
        const code = asToken ? `TOKEN_${tokenState.toUpperCase()}` : refusedKey;
        assertRefused(answer, { status: 401, code }, what);
        assertProper(answer, url, what);
      }
      assert.deepEqual(await rowCounts(server), before);
    });

    await t.test(`${name} takes one credential that is sent several times`, async () => {
      const { adminKey, tokens } = held;
      for (const headers of [
        { 'x-api-key': adminKey },
        { authorization: `Bearer ${adminKey}` },
        { authorization: `bearer ${adminKey}` },
        { 'x-api-key': [adminKey, adminKey] },
        { 'x-api-key': `${adminKey}, ${adminKey}` },
        { 'x-api-key': `${adminKey},${adminKey}`, authorization: `Bearer ${adminKey}` },
        ...(takesTokens
          ? [{ authorization: `Bearer ${tokens.live}` }, { authorization: `bearer ${tokens.live}` }]
          : []),
      ]) {
        // Past the credential, a body that is no JSON is refused as such: nothing has an effect.
        const body = route.method === 'GET' ? {} : { raw: '{' };
        const answer = await server.call({ method: route.method, url, headers, ...body });
        if (route.neverBadRequest) assertNoGrant(answer);
        else assert.equal(answer.status, pastCredential(route), answer.text);
        assertProper(answer, url);
      }
    });
  }
});

test('what is not listed', { skip: postgresSkip }, async (t) => {
  const { call, adminKey } = await buildTestApp(t);

  await t.test('is 404 in the envelope of its place', async () => {
    for (const [method, url] of [
      ['GET', '/'],
      ['GET', '/nothing'],
      ['GET', '/v1'],
      ['GET', '/v1/'],
      ['GET', '/v1/nothing'],
      ['GET', '//v1/me'],
      ['GET', '/V1/me'],
      ['GET', '/v1/me/'],
      ['GET', '/v1//me'],
      ['GET', '/v1/me;a=b'],
      ['GET', '/v1x/me'],
      ['GET', '/token/issue'],
      ['PUT', '/token/issue'],
      ['DELETE', '/v1/me'],
      ['POST', '/v1/me'],
      ['PUT', '/v1/agents'],
      ['OPTIONS', '/v1/agents'],
      ['OPTIONS', '/token/issue'],
      ['OPTIONS', '*'],
      ['POST', '/health'],
      ['GET', '/v1/agents/%'],
      ['GET', '/v1/agents/%ff'],
      ['GET', `/v1/agents/${'x'.repeat(3000)}`],
      ['PROPFIND', '/v1/me'],
      ['PUT', '/v1/tokens'],
      ['DELETE', '/v1/tokens'],
      ['GET', '/v1/tokens/'],
      ['GET', '/v1/tokens/introspect'],
      ['POST', '/v1/tokens/introspect/'],
      ['PATCH', '/v1/tokens/introspect'],
      ['POST', '/v1/namespaces'],
      ['GET', '/v1/namespaces/'],
      ['PUT', '/v1/secrets'],
      ['DELETE', '/v1/secrets'],
      ['PATCH', '/v1/secrets/a/b'],
      ['OPTIONS', '/v1/secrets/a/b'],
      ['POST', '/v1/secrets/a/b'],
      ['POST', '/v1/secrets/rotate'],
      ['GET', '/V1/secrets/a/b'],
      ['POST', '/v1/approvals'],
      ['GET', '/v1/approvals/'],
      ['PATCH', '/v1/approvals/apr_aaaaaaaa'],
      ['DELETE', '/v1/approvals/apr_aaaaaaaa'],
      ['POST', '/v1/approvals/apr_aaaaaaaa'],
      ['GET', '/v1/approvals/apr_aaaaaaaa/approve'],
      ['PUT', '/v1/approvals/apr_aaaaaaaa/deny'],
      ['POST', '/v1/approvals/agent/apr_aaaaaaaa'],
      ['GET', '/v1/approvals/agent/'],
      ['POST', '/v1/audit'],
      ['DELETE', '/v1/audit'],
      ['GET', '/v1/audit/'],
      ['POST', '/v1/audit/export?format=csv'],
      ['GET', '/v1/audit/export/'],
      // What clients that read a missing `allowed` as permission could come to ask.
      ['POST', '//iap/enforce'],
      ['POST', '/iap/enforce/'],
      ['POST', '/IAP/enforce'],
      ['POST', '/iap/Enforce'],
      ['POST', '/iap%2Fenforce'],
      ['POST', '/iap/enforce%20'],
      ['POST', '/iap/verify-step/'],
      ['POST', '//verify/action'],
      ['PUT', '/iap/sdk/enforce/'],
      ['POST', '/api/iap/sdk/enforce'],
    ] as const) {
      const answer = await call({ method, url, key: adminKey });
      assertRefused(answer, { status: 404, code: 'NOT_FOUND' }, `${method} ${url.slice(0, 80)}`);
      assertProper(answer, url, `${method} ${url.slice(0, 80)}`);
    }
  });

  await t.test('HEAD is 404 on every path', async () => {
    for (const url of [
      '/health',
      '/v1/me',
      '/v1/agents',
      '/.well-known/jwks.json',
      '/nothing',
      '/v1/tokens',
      '/v1/secrets/a/b',
      '/v1/namespaces',
      '/v1/approvals',
      '/v1/audit',
      '/v1/audit/export?format=csv',
    ]) {
      const answer = await call({ method: 'HEAD', url, key: adminKey });
      assert.equal(answer.status, 404, url);
      assertHeaders(answer, url);
    }
  });

  await t.test('a body does not change that, whatever it is', async () => {
    for (const { raw, headers, what } of BODIES_NOBODY_TAKES) {
      const answer = await call({
        method: 'POST',
        url: '/v1/nothing',
        raw,
        ...(headers === undefined ? {} : { headers }),
      });
      assertRefused(answer, { status: 404, code: 'NOT_FOUND' }, what);
    }
  });

  await t.test('no header allows another origin anything', async () => {
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
    for (const [method, url] of [
      ['OPTIONS', '/token/issue'],
      ['GET', '/.well-known/jwks.json'],
      ['GET', '/v1/me'],
    ] as const) {
      assertHeaders(await call({ method, url, headers, key: adminKey }), url);
    }
  });

  await t.test('a path that is written in another way keeps the envelope of its place', async () => {
    const answer = await call({ method: 'GET', url: '/%761/me' });
    // Either it is no route, or it is `/v1/me` in every respect.
    if (answer.status === 404) return;
    assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' });
  });
});

test('bodies', { skip: postgresSkip }, async (t) => {
  const { call, adminKey, createAgent } = await buildTestApp(t);
  const issue = (request: Partial<TestRequest>) =>
    call({ method: 'POST', url: '/token/issue', key: adminKey, ...request });

  await t.test('an empty body is an absent one, also with a JSON content type', async () => {
    const { id } = await createAgent();
    for (const headers of [{ 'content-type': 'application/json' }, {}]) {
      const answer = await call({ method: 'DELETE', url: `/v1/agents/${id}`, key: adminKey, headers });
      assert.equal(answer.status, 204, answer.text);
      assert.equal(answer.text, '');
      assert.equal(answer.headers['content-type'], undefined);
      assertHeaders(answer, '/v1/agents');
    }
    assertRefused(await issue({ headers: { 'content-type': 'application/json' } }), {
      status: 400,
      code: 'INVALID_PLAN',
      details: { pointer: '/plan' },
    });
  });

  await t.test('the documented media types are taken', async () => {
    for (const type of [
      'application/json',
      'Application/JSON',
      'application/json; charset=utf-8',
      'application/json;charset=UTF-8',
      'application/json; charset="utf-8"',
    ]) {
      const answer = await issue({ json: { plan: PLAN }, headers: { 'content-type': type } });
      assert.equal(answer.status, 200, `${type} ${answer.text}`);
    }
  });

  await t.test('one of exactly a mebibyte is read, one byte more is not', async () => {
    const text = JSON.stringify({ plan: PLAN, dry_run: true });
    const padded = (length: number) => text + ' '.repeat(length - text.length);
    assert.equal((await issue({ raw: padded(ONE_MIB) })).status, 200);
    assertRefused(await issue({ raw: padded(ONE_MIB + 1) }), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });

  await t.test('one that is not as long as it says is refused', async () => {
    for (const length of ['1', '4000']) {
      const answer = await issue({ json: { plan: PLAN }, headers: { 'content-length': length } });
      assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR' }, length);
      assertProper(answer, '/token/issue');
    }
  });

  await t.test('64 levels below the root are read, 65 are not', async () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    const plan = (depth: number) =>
      `{"dry_run":true,"plan":{"steps":[{"action":"a"}],"deep":${nested(depth)}}}`;
    // The plan is one level below the root, so what it holds starts at the second.
    assert.equal((await issue({ raw: plan(63) })).status, 200);
    assertRefused(await issue({ raw: plan(64) }), {
      status: 400,
      code: 'INVALID_JSON',
      details: { reason: 'too_deep' },
    });
  });
});

type Headers = Readonly<Record<string, string | readonly string[]>>;
type Held = Awaited<ReturnType<typeof holdCredentials>>;

/** Every credential with which a route has to withstand the same. */
function ways(route: HostileRoute, { adminKey, tokens }: Held) {
  const byKey = { 'x-api-key': adminKey };
  if (route.credential === 'none') return [{ route, by: {}, as: '' }];
  if (route.credential !== 'scoped-token-or-api-key') return [{ route, by: byKey, as: '' }];
  return [
    { route, by: byKey, as: ' by API key' },
    { route, by: { authorization: `Bearer ${tokens.live}` }, as: ' by scoped token' },
  ];
}

const urlOf = (
  { url, route }: HostileRoute,
  { adminKey, tokenId, approvalId, ownApprovalId }: Held,
): string =>
  (url ?? route)
    .replace('{key}', adminKey.slice('ak_live_'.length, API_KEY_PREFIX_LENGTH))
    .replace('{token}', tokenId)
    .replace('{approval}', approvalId)
    .replace('{own}', ownApprovalId);

const withToken =
  ({ intentToken }: Held) =>
  (route: HostileRoute): HostileRoute =>
    JSON.parse(JSON.stringify(route).replaceAll('{intent}', intentToken)) as HostileRoute;

async function holdCredentials(server: TestApp) {
  const { adminKey, call } = server;
  const json = { plan: PLAN, expires_in: 86_400 };
  const { body } = await call<{ token: string }>({
    method: 'POST',
    url: '/token/issue',
    key: adminKey,
    json,
  });
  return {
    adminKey,
    intentToken: body.token,
    ...(await makeKeys(server)),
    ...(await makeTokens(server)),
    ...(await makeApprovals(server)),
  };
}

/** Nobody decides their own request, and nobody else may ask what became of it. */
async function makeApprovals({ call, adminKey, createAgent }: TestApp) {
  const scopes = ['secrets:read:hostile/*'];
  const open = async (key: string): Promise<string> => {
    const { status, text, body } = await call<{ approval_id: string }>({
      method: 'POST',
      url: '/v1/tokens',
      key,
      json: { scopes, require_approval: true },
    });
    assert.equal(status, 202, text);
    return body.approval_id;
  };
  const asker = await createAgent({ allowed_scopes: scopes });
  return { approvalId: await open(asker.key), ownApprovalId: await open(adminKey) };
}

/** As if nobody had decided the agent's approval. */
async function reopen({ sql }: TestApp, { approvalId }: Held): Promise<void> {
  await sql('delete from approval_votes where approval_id = $1', [approvalId]);
  const reopened = await sql(
    'update approvals set effective_at = null, denied_at = null, reason = null where id = $1 returning id',
    [approvalId],
  );
  assert.equal(reopened.length, 1);
  await resealRows(sql, 'approvals', 'id = $1', [approvalId]);
}

async function makeTokens({ call, adminKey, sql }: TestApp) {
  const issue = async () => {
    const { status, text, body } = await call<{ token: string; token_id: string }>({
      method: 'POST',
      url: '/v1/tokens',
      key: adminKey,
      json: { scopes: ['secrets:*:*', 'namespaces:read'], max_uses: 1_000_000 },
    });
    assert.equal(status, 201, text);
    return body;
  };
  const [live, revoked, expired, exhausted] = [await issue(), await issue(), await issue(), await issue()];
  const set = (what: string, { token_id }: { token_id: string }) =>
    sql(`update scoped_tokens set ${what} where id = $1`, [token_id]);
  await set('revoked_at = now()', revoked);
  await set("expires_at = now() - interval '1 second'", expired);
  await set('uses = max_uses', exhausted);
  return {
    tokenId: live.token_id,
    tokens: {
      live: live.token,
      revoked: revoked.token,
      expired: expired.token,
      exhausted: exhausted.token,
    },
  };
}

async function makeKeys(server: TestApp) {
  const { sql, createAgent, adminKey, call } = server;
  const revoked = await createAgent({ role: 'admin' });
  const revokedKey = await call<{ id: string; api_key: string }>({
    method: 'POST',
    url: `/v1/agents/${revoked.id}/keys`,
    key: adminKey,
    json: {},
  });
  const expired = await createAgent({ role: 'admin' });
  const ended = await createAgent({ role: 'admin' });
  await sql('update api_keys set revoked_at = now() where key_id = $1', [revokedKey.body.id]);
  await sql("update api_keys set expires_at = now() - interval '1 second' where key_id = $1", [
    expired.keyId,
  ]);
  await sql('update agents set revoked_at = now() where id = $1', [ended.id]);
  const wrongSecret = formatApiKey({
    environment: 'live',
    keyIdHex: revoked.keyId,
    secretHex: '0'.repeat(40),
  });
  return {
    unknown: generateApiKey().text,
    wrongSecret,
    revoked: revokedKey.body.api_key,
    expired: expired.key,
    ended: ended.key,
  };
}

interface RefusedCredential {
  readonly what: string;
  readonly headers: Headers;
  /** Of what has the form of a scoped token. */
  readonly tokenState?: keyof Held['tokens'] | 'invalid';
}

function refusedCredentials({ adminKey: good, tokens, ...keys }: Held): readonly RefusedCredential[] {
  const unknownToken = `ast_tok_${'A'.repeat(43)}`;
  const mistyped = good.slice(0, -1) + (good.endsWith('0') ? '1' : '0');
  return [
    { what: 'missing', headers: {} },
    { what: 'empty', headers: { 'x-api-key': '' } },
    { what: 'mistyped', headers: { 'x-api-key': mistyped } },
    { what: 'upper case', headers: { 'x-api-key': good.toUpperCase() } },
    { what: 'cut off', headers: { authorization: `Bearer ${good.slice(0, 71)}` } },
    {
      what: 'an unknown scoped token',
      headers: { authorization: `Bearer ${unknownToken}` },
      tokenState: 'invalid',
    },
    {
      what: 'a scoped token that is cut off',
      headers: { authorization: `Bearer ${tokens.live.slice(0, -1)}` },
      tokenState: 'invalid',
    },
    {
      what: 'an unknown scoped token as a key',
      headers: { 'x-api-key': unknownToken },
      tokenState: 'invalid',
    },
    ...(['live', 'revoked', 'expired', 'exhausted'] as const).map((state) => ({
      what: `a scoped token, ${state}`,
      headers: { authorization: `Bearer ${tokens[state]}` },
      tokenState: state,
    })),
    {
      what: 'a scoped token beside a key',
      headers: { 'x-api-key': good, authorization: `Bearer ${tokens.live}` },
    },
    {
      what: 'a scoped token by another scheme',
      headers: { authorization: `Basic ${Buffer.from(tokens.live).toString('base64')}` },
    },
    { what: 'unknown', headers: { 'x-api-key': keys.unknown } },
    { what: 'wrong secret', headers: { 'x-api-key': keys.wrongSecret } },
    { what: 'revoked', headers: { 'x-api-key': keys.revoked } },
    { what: 'expired', headers: { authorization: `Bearer ${keys.expired}` } },
    { what: 'of a revoked principal', headers: { 'x-api-key': keys.ended } },
    { what: 'another scheme', headers: { authorization: `Basic ${Buffer.from(good).toString('base64')}` } },
    { what: 'no scheme', headers: { authorization: good } },
    { what: 'two keys that differ', headers: { 'x-api-key': [good, keys.unknown] } },
    { what: 'two keys that differ, joined', headers: { 'x-api-key': `${good},${keys.unknown}` } },
    { what: 'a key and a blank', headers: { 'x-api-key': `${good},` } },
    {
      what: 'two headers that differ',
      headers: { 'x-api-key': good, authorization: `Bearer ${keys.unknown}` },
    },
    { what: 'authorization twice', headers: { authorization: [`Bearer ${good}`, `Bearer ${good}`] } },
    {
      what: 'a good key beside a scheme of another kind',
      headers: { 'x-api-key': good, authorization: 'Basic YTpi' },
    },
  ];
}

interface HostileBody {
  readonly what: string;
  readonly raw: string | Uint8Array;
  readonly headers?: Headers;
  readonly status: number;
  readonly code: string;
  readonly reason?: string;
}

/** Made once: with every route, two of them are a mebibyte. */
const BODIES_NOBODY_TAKES: readonly HostileBody[] = bodiesNobodyTakes();
const HUGE_BODY = Buffer.alloc(2 * ONE_MIB, 0x20);

function bodiesNobodyTakes(): readonly HostileBody[] {
  const notJson = (what: string, raw: string | Uint8Array, reason: string): HostileBody => ({
    what,
    raw,
    status: 400,
    code: 'INVALID_JSON',
    reason,
  });
  const typed = (what: string, headers: Headers): HostileBody => ({
    what,
    raw: '{}',
    headers,
    status: 415,
    code: 'UNSUPPORTED_MEDIA_TYPE',
  });
  return [
    notJson('cut off', '{"plan":', 'syntax'),
    notJson('a trailing comma', '{"a":1,}', 'syntax'),
    notJson('NaN', '{"a":NaN}', 'syntax'),
    notJson('a comment', '{"a":1}//', 'syntax'),
    notJson('two values', '{}{}', 'syntax'),
    notJson('only blanks', '  ', 'syntax'),
    notJson('a member twice', '{"surprise":1,"surprise":1}', 'duplicate_key'),
    notJson('a member twice, once escaped', '{"name":1,"n\\u0061me":2}', 'duplicate_key'),
    notJson(
      'a member twice, deep inside',
      '{"plan":{"steps":[{"action":"a","action":"b"}]}}',
      'duplicate_key',
    ),
    notJson('__proto__', '{"__proto__":{"role":"admin"}}', 'forbidden_key'),
    notJson('__proto__, escaped', '{"\\u005f_proto__":1}', 'forbidden_key'),
    notJson('a lone surrogate', '{"a":"\\ud800"}', 'lone_surrogate'),
    notJson('a lone surrogate in a name', '{"\\udc00":1}', 'lone_surrogate'),
    notJson('too deep', `${'['.repeat(66)}${']'.repeat(66)}`, 'too_deep'),
    notJson('far too deep', '['.repeat(100_000), 'too_deep'),
    notJson('bad UTF-8', Buffer.from('{"a":"\xff"}', 'latin1'), 'invalid_utf8'),
    notJson('an overlong form', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), 'invalid_utf8'),
    notJson('UTF-16', Buffer.from('{}', 'utf16le'), 'syntax'),
    notJson('a BOM', Buffer.from('\ufeff{}'), 'bom'),
    {
      what: 'a byte more than a mebibyte',
      raw: Buffer.alloc(ONE_MIB + 1, 0x20),
      status: 413,
      code: 'PAYLOAD_TOO_LARGE',
    },
    typed('text/plain', { 'content-type': 'text/plain' }),
    typed('no content type', { 'content-type': NO_HEADER }),
    typed('an empty content type', { 'content-type': '' }),
    typed('a form', { 'content-type': 'application/x-www-form-urlencoded' }),
    typed('a media type that only ends in json', { 'content-type': 'application/vnd.api+json' }),
    typed('another charset', { 'content-type': 'application/json; charset=latin1' }),
    typed('two charsets', { 'content-type': 'application/json; charset=utf-8; charset=latin1' }),
    typed('another parameter', { 'content-type': 'application/json; boundary=x' }),
    typed('gzip', { 'content-type': 'application/json', 'content-encoding': 'gzip' }),
    typed('gzip and identity', { 'content-type': 'application/json', 'content-encoding': 'identity, gzip' }),
  ];
}

/** Values of every JSON type but that of `valid`, those first that a careless reader would turn into it. */
function wrongTypesFor(valid: unknown): readonly unknown[] {
  const all: readonly unknown[] = ['60', 60, true, [], {}, 'true', 1];
  const kind = (value: unknown) => (Array.isArray(value) ? 'array' : typeof value);
  return all.filter((value) => kind(value) !== kind(valid));
}

const TABLES = [
  'agents',
  'api_keys',
  'signing_keys',
  'master_keys',
  'settings',
  'heartbeat',
  'intent_tokens',
  'scoped_tokens',
  'secrets',
  'secret_versions',
  'namespaces',
  'approvals',
  'approval_votes',
  'webhook_outbox',
];

/**
 * Of every table; of the audit trail, without the refusals that have to be there (a denied approval is none). And uses
 * of scoped tokens, and approvals that were decided.
 */
async function rowCounts(server: TestApp): Promise<Record<string, string>> {
  const counting = countingStatements.get(server) ?? countingStatement(server);
  countingStatements.set(server, counting);
  const [row] = await server.sql<Record<string, string>>(await counting);
  return row ?? {};
}

/** Which tables there are is asked once: it costs more than to count them. */
const countingStatements = new WeakMap<TestApp, Promise<string>>();

async function countingStatement({ sql }: TestApp): Promise<string> {
  const known = await sql<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public' and table_name not like 'audit_events%'",
  );
  assert.ok(TABLES.every((table) => known.some(({ name }) => name === table)));
  const counts = known.map(({ name }) => `(select count(*) from "${name}") as "${name}"`);
  return `select ${counts.join(', ')},
      (select count(*) from audit_events
       where (event_type not like '%.denied' or event_type = 'approval.denied')
         -- What jobs tell of by themselves, in a run that takes long enough to meet them.
         and (actor_type <> 'system' or event_type = 'integrity.failed')) as audit_events,
      (select count(*) from approvals
       where coalesce(effective_at, denied_at, claimed_at) is not null) as decided,
      (select sum(uses) from scoped_tokens) as uses, (select sum(revision) from secrets) as revisions`;
}

/** What holds for every answer, whatever was asked. */
function assertHeaders({ headers, status }: TestAnswer, url: string, about = ''): void {
  assert.match(
    headers['x-request-id'] ?? '',
    /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.notEqual(headers['x-request-id'], FORGED_REQUEST_ID);
  const publicKeys = url.startsWith('/.well-known/') && status === 200;
  assert.equal(headers['cache-control'], publicKeys ? 'public, max-age=300' : 'no-store', about);
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) assert.equal(headers[name], value, name);
  // Browsers verify, so any page may read the public keys; nothing else is for another origin.
  assert.deepEqual(
    Object.keys(headers).filter((name) => /^(access-control-|server$|x-powered-by)/.test(name)),
    publicKeys ? ['access-control-allow-origin'] : [],
    about,
  );
}

/** A refusal has the envelope of its place and tells nothing of the inside; every answer has its headers. */
function assertProper(answer: TestAnswer, url: string, about = ''): void {
  assertHeaders(answer, url, about);
  assert.doesNotMatch(answer.text, INTERNAL, about);
  if (answer.status < 400) return;
  assert.match(answer.headers['content-type'] ?? '', /^application\/json/);
  assert.equal(answer.headers['www-authenticate'] !== undefined, answer.status === 401, about);
  const { code, message, details } = errorOf(answer);
  const requestId = answer.headers['x-request-id'];
  const given = details === undefined ? {} : { details };
  const expected =
    url === '/v1' || url.startsWith('/v1/')
      ? { error: { code, message, ...given }, detail: message, request_id: requestId }
      : {
          success: false,
          allowed: false,
          ...(/^\/iap\/enforce(\?|$)/.test(url) ? { action: 'block' } : {}),
          error: message,
          error_code: code,
          message,
          reason: message,
          ...given,
          request_id: requestId,
        };
  assert.deepEqual(answer.body, expected, about);
  assert.equal(typeof message, 'string');
}

/** The status of what has a good credential and, if it is no GET, a bad body. */
const pastCredential = ({ method, alwaysForbidden }: HostileRoute): number =>
  alwaysForbidden ? 403 : method === 'GET' ? 200 : 400;

/** The documented refusal of what is no acceptable request. */
function assertUnacceptable(
  { neverBadRequest, alwaysForbidden }: HostileRoute,
  answer: TestAnswer,
  expected: Parameters<typeof assertRefused>[1],
  about: string,
): void {
  if (neverBadRequest) assertNoGrant(answer, about);
  else if (alwaysForbidden) assertRefused(answer, { status: 403, code: 'FORBIDDEN' }, about);
  else assertRefused(answer, expected, about);
}

/** 200, and no client can take it for permission. */
function assertNoGrant({ status, body, text }: TestAnswer, about = ''): void {
  assert.equal(status, 200, `${about} ${text}`);
  const { reason, ...rest } = body as Record<string, unknown>;
  assert.deepEqual(rest, { allowed: false, action: 'block' }, about);
  assert.ok(typeof reason === 'string' && reason !== '', about);
}
