/**
 * Every endpoint with every credential that it takes, for what must be refused while an agent, or everybody but
 * administrators, is stopped. A new route has no place here until somebody says how it is refused.
 */
import assert from 'node:assert/strict';
import { buildTestApp, type TestAnswer, type TestApp, type TestRequest } from '../../support/app.ts';
import { aDelegateKey, delegationClient } from './delegation-calls.ts';
import { tokenClient } from './token-calls.ts';
import { type Issued, issueWith, STEPS } from './verification-calls.ts';

/** Whose credential a request carries, or, of an intent token, whose it is about. */
export type Holder = 'agent' | 'approver' | 'nobody' | 'bystander' | 'admin';

export interface StoppedCall {
  readonly route: string;
  readonly by: Holder;
  readonly request: TestRequest;
  /** How it is refused: the envelope of 403, a verdict of 200, or `active: false`. */
  readonly refused: 'error' | 'verdict' | 'inactive';
  /** What it answers while nothing is stopped, where that does not depend on what was asked before. */
  readonly works?: number;
}

export interface StoppedKit {
  readonly app: TestApp;
  readonly calls: readonly StoppedCall[];
  readonly agent: { readonly id: string; readonly name: string; readonly key: string };
  readonly approver: { readonly id: string; readonly name: string; readonly key: string };
  readonly bystander: { readonly id: string; readonly key: string };
  /** Routes of the table. */
  readonly routes: ReadonlySet<string>;
}

/** What goes on whatever is stopped. */
export const GOES_ON = [
  'GET /.well-known/jwks.json',
  'GET /iap/public-key',
  'GET /health',
  'GET /v1/health',
  'GET /ready',
  'GET /docs',
  'GET /v1/openapi.json',
] as const;

export async function buildStoppedKit(t: Parameters<typeof buildTestApp>[0]): Promise<StoppedKit> {
  const app = await buildTestApp(t);
  const { call, createAgent, adminKey } = app;
  const agent = await createAgent({ allowed_scopes: ['secrets:*:*', 'namespaces:read'] });
  const bystander = await createAgent({ allowed_scopes: ['secrets:*:*'] });
  const approver = await createAgent({ role: 'approver' });
  const { make, store } = tokenClient(app);
  for (const path of ['team/k', 'team/deep/k']) await store(path);
  const scopes = ['secrets:*:*', 'namespaces:read'];
  const unlimited = (await make(agent.key, { scopes })).token;
  const limited = (await make(agent.key, { scopes, max_uses: 1000 })).token;
  const intent = await issueWith(app, agent.key, { expires_in: 3600 });
  const spare = await issueWith(app, agent.key);
  const delegation = await delegationClient(app).delegate(agent.key, intent.token);
  const idempotency = { 'idempotency-key': 'a-repeat' };
  const repeated = { plan: { goal: 'again', steps: [{ action: 'look' }] }, expires_in: 3600 };
  const first = await call({
    method: 'POST',
    url: '/token/issue',
    key: agent.key,
    json: repeated,
    headers: idempotency,
  });
  assert.equal(first.status, 200, first.text);
  const opened = await call<{ approval_id: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key: agent.key,
    json: { scopes: ['secrets:read:team/k'], require_approval: true },
  });
  assert.equal(opened.status, 202, opened.text);
  const approval = opened.body.approval_id;

  const calls: StoppedCall[] = [];
  const add = (
    by: Holder,
    line: string,
    {
      json,
      headers,
      works,
      refused = 'error',
      route = line,
    }: Partial<StoppedCall> & {
      readonly json?: unknown;
      readonly headers?: Record<string, string>;
    } = {},
    credential: { readonly key?: string; readonly token?: string } = {},
  ): void => {
    const [method = '', url = ''] = line.split(' ');
    calls.push({
      route,
      by,
      refused,
      request: {
        method,
        url,
        ...(credential.key === undefined ? {} : { key: credential.key }),
        ...(json === undefined ? {} : { json }),
        headers: {
          ...(credential.token === undefined ? {} : { authorization: `Bearer ${credential.token}` }),
          ...headers,
        },
      },
      ...(works === undefined ? {} : { works }),
    });
  };
  type Options = Parameters<typeof add>[2];
  const own = (line: string, options?: Options) => add('agent', line, options, { key: agent.key });
  const human = (line: string, options?: Options) => add('approver', line, options, { key: approver.key });
  const both = (line: string, options?: Options) => {
    own(line, options);
    human(line, options);
  };
  /** By a key, and by a token of either kind. */
  const secret = (line: string, options?: Options) => {
    own(line, options);
    for (const token of [unlimited, limited]) add('agent', line, options, { token });
  };

  const plan = { goal: 'stop', steps: [{ action: 'look', mcp: 'eyes' }] };
  own('POST /token/issue', { json: { plan }, works: 200 });
  own('POST /token/issue', { json: { plan, dry_run: true }, works: 200 });
  own('POST /token/issue', { json: repeated, headers: idempotency, works: 200 });
  own('POST /iap/sdk/token', { json: { plan, expires_in: 600 }, works: 200 });
  own('POST /delegation/create', {
    json: { token: intent.token, delegate_public_key: aDelegateKey() },
    works: 200,
  });
  add(
    'admin',
    'POST /delegation/create',
    { json: { token: intent.token, delegate_public_key: aDelegateKey() }, works: 200 },
    { key: adminKey },
  );
  own('POST /iap/trust/delegate', {
    json: { token: intent.token, delegate_public_key: aDelegateKey() },
  });
  own('POST /iap/trust/reanchor', { json: {} });
  own('POST /token/revoke', { json: { token_id: spare.token_id } });
  own('POST /iap/trust/revoke', { json: { token_id: spare.token_id } });
  own('GET /v1/intent-tokens', { works: 200 });
  own('POST /iap/enforce', { json: { tool_name: 'look' }, works: 200 });
  own('POST /iap/audit', { json: { step_index: 0, action: 'a', status: 'success' } });
  own('POST /iap/audit/batch', { json: { rows: [] } });
  own('POST /iap/plans/019a0000-0000-7000-8000-000000000000/status', {
    route: 'POST /iap/plans/:id/status',
    json: { status: 'completed' },
  });
  own('GET /policy/bundles/current', { works: 200 });
  both('POST /iap/sdk/bootstrap', { json: {}, works: 200 });
  both('GET /observability/policy/lease', { works: 200 });
  both('GET /api-keys', { works: 200 });
  both('POST /api-keys/0123456789abcdef/revoke', {
    route: 'POST /api-keys/:id/revoke',
    json: {},
    works: 404,
  });
  both('GET /v1/me', { works: 200 });

  const tokens: readonly Pick<Issued, 'token'>[] = [intent, { token: delegation.jwt }];
  for (const { token } of tokens) {
    const step = { step_index: 0, step: STEPS[0], proof: intent.step_proofs[0].proof };
    const plugged = { token, step_index: 0, tool_name: STEPS[0].action, proof: intent.step_proofs[0].proof };
    for (const [by, key] of [
      ['nobody', undefined],
      ['bystander', bystander.key],
      ['admin', adminKey],
    ] as const) {
      const credential = key === undefined ? {} : { key };
      const verdict = { refused: 'verdict', works: 200 } as const;
      add(by, 'POST /token/verify', { json: { token }, ...verdict }, credential);
      add(by, 'POST /token/verify', { json: { token, ...step }, ...verdict }, credential);
      if (by === 'nobody') {
        add(by, 'POST /verify/action', {
          json: { ...plugged, path: '/steps/[0]/action' },
          refused: 'verdict',
        });
        continue;
      }
      add(
        by,
        'POST /iap/verify-step',
        { json: { ...plugged, path: '/steps/[0]/action' }, ...verdict },
        credential,
      );
    }
    add(
      'admin',
      'POST /v1/tokens/introspect',
      { json: { token }, refused: 'inactive', works: 200 },
      { key: adminKey },
    );
    own('POST /token/verify', { json: { token, ...step }, works: 200 });
    own('POST /iap/verify-step', { json: { ...plugged, path: '/steps/[0]/action' }, works: 200 });
    own('POST /iap/sdk/enforce', {
      json: { mcp: 'files', tool: 'read', intent_token: { jwt_token: token } },
      works: 200,
    });
  }
  for (const token of [unlimited, limited]) {
    add('agent', 'POST /v1/tokens/introspect', { refused: 'inactive', works: 200 }, { token });
    add(
      'admin',
      'POST /v1/tokens/introspect',
      { json: { token }, refused: 'inactive', works: 200 },
      { key: adminKey },
    );
  }
  own('POST /v1/tokens/introspect', { json: { token: unlimited }, works: 200 });
  own('POST /v1/tokens', { json: { scopes: ['secrets:read:team/*'] }, works: 201 });
  own('POST /v1/tokens', { json: { scopes: ['secrets:read:team/k'], require_approval: true }, works: 202 });
  own('GET /v1/tokens', { works: 200 });
  own('GET /v1/tokens/019a0000-0000-7000-8000-000000000000', { route: 'GET /v1/tokens/:id', works: 404 });
  own('DELETE /v1/tokens/019a0000-0000-7000-8000-000000000000', {
    route: 'DELETE /v1/tokens/:id',
    works: 404,
  });

  const paths = { route: '/v1/secrets/*' } as const;
  secret('GET /v1/secrets/team/k', { ...paths, works: 200 });
  secret('GET /v1/secrets/team', { ...paths, works: 200 });
  secret('PUT /v1/secrets/team/k', { ...paths, json: { value: 'w' }, works: 200 });
  secret('DELETE /v1/secrets/team/none', { ...paths, works: 404 });
  secret('POST /v1/secrets/team/k/rotate', { ...paths, json: {}, works: 200 });
  secret('POST /v1/secrets', { json: { path: 'team/k', value: 'v' }, works: 409 });
  secret('GET /v1/secrets?namespace=team', { route: 'GET /v1/secrets', works: 200 });
  secret('POST /v1/secrets/import', { json: { namespace: 'team', content: 'k=1' }, works: 200 });
  secret('GET /v1/namespaces', { works: 200 });

  own(`GET /v1/approvals/agent/${approval}`, { route: 'GET /v1/approvals/agent/:id', works: 200 });
  human('GET /v1/approvals', { works: 200 });
  human(`GET /v1/approvals/${approval}`, { route: 'GET /v1/approvals/:id', works: 200 });
  human('POST /v1/approvals/apr_aaaaaaaa/approve', {
    route: 'POST /v1/approvals/:id/approve',
    json: {},
    works: 404,
  });
  human('POST /v1/approvals/apr_aaaaaaaa/deny', {
    route: 'POST /v1/approvals/:id/deny',
    json: {},
    works: 404,
  });
  human('GET /v1/audit', { works: 200 });
  human('GET /v1/audit/export?format=jsonl', { route: 'GET /v1/audit/export', works: 200 });
  for (const line of ADMINISTRATION)
    both(line.replace(':id', agent.id).replace(':keyId', '0'), { route: line, json: {} });

  return { app, calls, agent, approver, bystander, routes: new Set(calls.map(({ route }) => route)) };
}

/** An agent and an approver may do none of it, and learn first that they are stopped. */
const ADMINISTRATION = [
  'POST /v1/agents',
  'GET /v1/agents',
  'GET /v1/agents/:id',
  'PATCH /v1/agents/:id',
  'DELETE /v1/agents/:id',
  'POST /v1/agents/:id/keys',
  'GET /v1/agents/:id/keys',
  'GET /v1/agents/:id/keys/:keyId',
  'POST /v1/agents/:id/keys/rotate',
  'DELETE /v1/agents/:id/keys/:keyId',
  'GET /v1/emergency',
  'POST /v1/emergency/stop',
  'POST /v1/emergency/resume',
];

/** What a request was refused as, if it was refused because of a stop. */
export function isStopped({ refused }: StoppedCall, { status, text, body }: TestAnswer): boolean {
  if (refused === 'inactive') return status === 200 && (body as { active?: unknown }).active === false;
  const isNamed = text.includes('"EMERGENCY_STOP"');
  // Of a verdict: whoever asks may be stopped, or the agent of the token.
  return isNamed && (status === 403 || (refused === 'verdict' && status === 200));
}
