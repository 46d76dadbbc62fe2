/**
 * The order of checks of a use (contract section 5.4): the first that refuses is the answer, so that nobody learns what
 * a later check knows. Every combination of faults is asked and held against the order as written there.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, errorOf, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { type IssuedToken, tokenClient } from './token-calls.ts';

const HOME = '192.0.2.1';
const ELSEWHERE = '198.51.100.9';
const STATES = ['live', 'revoked', 'expired', 'exhausted'] as const;
const UNKNOWN_TOKEN = `ast_tok_${'A'.repeat(43)}`;

type State = (typeof STATES)[number];
type Expected = { readonly status: number; readonly code: string };

const INVALID_PATH = { status: 400, code: 'INVALID_PATH' };
const IP_NOT_ALLOWED = { status: 403, code: 'IP_NOT_ALLOWED' };
const SCOPE_DENIED = { status: 403, code: 'SCOPE_DENIED' };
const ABSENT = { status: 404, code: 'SECRET_NOT_FOUND' };
const APPROVAL_REQUIRED = { status: 403, code: 'APPROVAL_REQUIRED' };

const ended = (state: State): Expected | undefined =>
  state === 'live' ? undefined : { status: 401, code: `TOKEN_${state.toUpperCase()}` };

interface ValidationIssue extends Omit<Partial<TestRequest>, 'method' | 'url'> {
  readonly is: Expected;
  readonly query?: string;
}

/** What is wrong with a body, or with the query that a `GET` has in its place. */
const BAD_QUERIES: readonly ValidationIssue[] = ['version=0', 'surprise=1', 'version=1&version=1'].map(
  (query) => ({
    query,
    is: { status: 400, code: 'VALIDATION_ERROR' },
  }),
);
const BAD_BODIES: readonly ValidationIssue[] = [
  { raw: '{"not json', is: { status: 400, code: 'INVALID_JSON' } },
  { json: { surprise: 1 }, is: { status: 400, code: 'VALIDATION_ERROR' } },
  {
    raw: '{}',
    headers: { 'content-type': 'text/plain' },
    is: { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' },
  },
];
const BAD_VALUES: readonly ValidationIssue[] = [
  { json: { value: 7 }, is: { status: 400, code: 'VALIDATION_ERROR' } },
  { json: { value: 'x'.repeat(65_537) }, is: { status: 413, code: 'PAYLOAD_TOO_LARGE' } },
];

interface Operation {
  readonly method: string;
  readonly json?: unknown;
  readonly suffix?: string;
  readonly faults: readonly ValidationIssue[];
  /** Of a target that is not there; undefined where that is no fault. */
  readonly absent: Expected | undefined;
}

const OPERATIONS: readonly Operation[] = [
  { method: 'GET', faults: BAD_QUERIES, absent: ABSENT },
  { method: 'PUT', json: { value: 'v' }, faults: [...BAD_BODIES, ...BAD_VALUES], absent: undefined },
  { method: 'POST', suffix: '/rotate', faults: BAD_BODIES, absent: ABSENT },
  { method: 'DELETE', faults: BAD_BODIES, absent: ABSENT },
];

/** What is asked of `path`, with something wrong about it. */
function requestOf(
  { method, suffix = '', json }: Operation,
  path: string,
  fault?: ValidationIssue,
): TestRequest {
  const { is: _, query, ...differs }: Partial<ValidationIssue> = fault ?? {};
  const url = `/v1/secrets/${path}${suffix}${query === undefined ? '' : `?${query}`}`;
  const body = json === undefined || differs.raw !== undefined ? {} : { json };
  return { method, url, ...body, ...differs };
}

test('the order of checks', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t, { TRUST_PROXY: '127.0.0.1' });
  const { make, end, use, store, usesOf } = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:*:team/*', 'secrets:*:own/*'] });
  for (const namespace of ['team', 'own', 'foreign']) {
    await store(`${namespace}/plain`);
    await store(`${namespace}/guarded`, { access_tier: 'sensitive' });
  }
  const tokens = new Map<State, IssuedToken>();
  for (const state of STATES) {
    const token = await make(agent.key, { scopes: ['secrets:*:team/*'], max_uses: 1, allowed_ips: [HOME] });
    if (state !== 'live') await end(token, state);
    tokens.set(state, token);
  }
  const liveUses = async (): Promise<number> => usesOf(tokens.get('live') ?? assert.fail());

  const ask = (request: TestRequest, { from = HOME, token }: { from?: string; token: string }) =>
    use(token, { ...request, headers: { 'x-forwarded-for': from, ...request.headers } });

  for (const operation of OPERATIONS) {
    const { method, suffix = '', faults, absent } = operation;
    await t.test(`${method} …${suffix}: path, address, end, scope, body, existence, tier`, async () => {
      const targets = [
        { path: 'team//plain', first: INVALID_PATH },
        { path: 'team/a%20b', first: INVALID_PATH },
        { path: 'own/plain', scope: SCOPE_DENIED },
        { path: 'foreign/plain', scope: SCOPE_DENIED },
        { path: 'foreign/guarded', scope: SCOPE_DENIED },
        { path: 'foreign/absent', scope: SCOPE_DENIED },
        { path: 'team/absent', last: absent },
        { path: 'team/guarded', last: APPROVAL_REQUIRED },
        { path: 'team/plain' },
      ];
      let asked = 0;
      for (const { path, first, scope, last } of targets) {
        for (const [state, { token }] of tokens) {
          for (const from of [HOME, ELSEWHERE]) {
            for (const fault of [undefined, ...faults]) {
              const address = from === HOME ? undefined : IP_NOT_ALLOWED;
              const expected = first ?? address ?? ended(state) ?? scope ?? fault?.is ?? last;
              // Nothing is wrong with it.
              if (expected === undefined) continue;
              const answer = await ask(requestOf(operation, path, fault), { from, token });
              assertRefused(answer, expected, `${path} ${state} from ${from} with ${fault?.is.code}`);
              asked += 1;
            }
          }
        }
      }
      assert.ok(asked > 200);
      assert.equal(await liveUses(), 0);
    });
  }

  await t.test('an unknown token is refused before all else', async () => {
    for (const operation of OPERATIONS) {
      for (const path of ['team//plain', 'foreign/plain', 'team/absent', 'team/guarded', 'team/plain']) {
        const request = requestOf(operation, path, operation.faults[0]);
        const answer = await ask(request, { from: ELSEWHERE, token: UNKNOWN_TOKEN });
        assertRefused(answer, { status: 401, code: 'TOKEN_INVALID' }, `${request.method} ${request.url}`);
      }
    }
  });

  await t.test('where the body names the path, it is read after the end and before the scope', async () => {
    const secret = (path: string) => ({ url: '/v1/secrets', json: { path, value: 'v' } });
    const text = (namespace: string, content = 'plain=1') => ({
      url: '/v1/secrets/import',
      json: { namespace, content },
    });
    const invalid = { status: 400, code: 'VALIDATION_ERROR' };
    const requests: readonly (Partial<TestRequest> & { url: string; expected: Expected })[] = [
      { url: '/v1/secrets', raw: '{', expected: { status: 400, code: 'INVALID_JSON' } },
      { url: '/v1/secrets', json: { path: 'foreign/plain' }, expected: invalid },
      { url: '/v1/secrets', json: { path: 'foreign/plain', value: 7 }, expected: invalid },
      { ...secret('foreign'), expected: INVALID_PATH },
      { ...secret('foreign/../plain'), expected: INVALID_PATH },
      { ...secret('foreign/plain'), expected: SCOPE_DENIED },
      { ...secret('foreign/absent'), expected: SCOPE_DENIED },
      { ...secret('own/absent'), expected: SCOPE_DENIED },
      { ...secret('team/plain'), expected: { status: 409, code: 'ALREADY_EXISTS' } },
      { url: '/v1/secrets/import', raw: '{', expected: { status: 400, code: 'INVALID_JSON' } },
      { url: '/v1/secrets/import', json: { namespace: 'foreign' }, expected: invalid },
      { ...text('foreign', 'no entry'), expected: invalid },
      { ...text('foreign/../team'), expected: INVALID_PATH },
      { ...text('foreign'), expected: SCOPE_DENIED },
      { ...text('own', 'new=1'), expected: SCOPE_DENIED },
      { ...text('team', 'guarded=1'), expected: APPROVAL_REQUIRED },
      { ...text('team', 'new=1\nguarded=1'), expected: APPROVAL_REQUIRED },
    ];
    for (const { expected: last, ...request } of requests) {
      for (const [state, { token }] of tokens) {
        for (const from of [HOME, ELSEWHERE]) {
          const expected = (from === HOME ? undefined : IP_NOT_ALLOWED) ?? ended(state) ?? last;
          const answer = await ask({ method: 'POST', ...request }, { from, token });
          assertRefused(answer, expected, `${JSON.stringify(request)} ${state} from ${from}`);
        }
      }
    }
    assert.equal(await liveUses(), 0);
  });

  await t.test('lists and namespaces are checked in the same order', async () => {
    for (const [state, { token }] of tokens) {
      for (const from of [HOME, ELSEWHERE]) {
        for (const [url, first, last] of [
          ['/v1/secrets/te%20am', INVALID_PATH, undefined],
          ['/v1/secrets/', INVALID_PATH, undefined],
          ['/v1/secrets?namespace=team/', INVALID_PATH, undefined],
          ['/v1/secrets?namespace=', INVALID_PATH, undefined],
          ['/v1/secrets/foreign', undefined, SCOPE_DENIED],
          ['/v1/secrets/own', undefined, SCOPE_DENIED],
          ['/v1/secrets?namespace=foreign', undefined, SCOPE_DENIED],
          ['/v1/secrets?namespace=foreign&surprise=1', undefined, SCOPE_DENIED],
          ['/v1/secrets?namespace=team&surprise=1', undefined, { status: 400, code: 'VALIDATION_ERROR' }],
          ['/v1/secrets/team?limit=0', undefined, { status: 400, code: 'VALIDATION_ERROR' }],
          ['/v1/secrets/team?version=1', undefined, { status: 400, code: 'VALIDATION_ERROR' }],
          ['/v1/namespaces', undefined, SCOPE_DENIED],
          ['/v1/namespaces?surprise=1', undefined, SCOPE_DENIED],
        ] as const) {
          const expected = first ?? (from === HOME ? undefined : IP_NOT_ALLOWED) ?? ended(state) ?? last;
          if (expected === undefined) continue;
          const answer = await ask({ method: 'GET', url }, { from, token });
          assertRefused(answer, expected, `${url} ${state} from ${from}`);
        }
      }
    }
    assert.equal(await liveUses(), 0);
  });

  await t.test('of several ends the first is told: revoked, expired, exhausted', async () => {
    const token = await make(agent.key, {
      scopes: ['secrets:read:team/*'],
      max_uses: 1,
      allowed_ips: [HOME],
    });
    for (const [state, code] of [
      ['exhausted', 'TOKEN_EXHAUSTED'],
      ['expired', 'TOKEN_EXPIRED'],
      ['revoked', 'TOKEN_REVOKED'],
    ] as const) {
      await end(token, state);
      const answer = await ask({ method: 'GET', url: '/v1/secrets/team/plain' }, token);
      assertRefused(answer, { status: 401, code });
    }
  });

  await t.test(
    'a scope is refused in the same words whether the secret exists, is guarded or is not there',
    async () => {
      const { token } = tokens.get('live') ?? assert.fail();
      for (const operation of OPERATIONS) {
        const words = new Set<string | undefined>();
        for (const path of ['foreign/plain', 'foreign/guarded', 'foreign/absent', 'own/plain']) {
          const answer = await ask(requestOf(operation, path), { token });
          assertRefused(answer, SCOPE_DENIED, path);
          words.add(errorOf(answer).message);
        }
        assert.equal(words.size, 1, operation.method);
      }
    },
  );

  await t.test('after all this the one use is still there', async () => {
    const { token } = tokens.get('live') ?? assert.fail();
    const request = { method: 'GET', url: '/v1/secrets/team/plain' };
    assert.equal((await ask(request, { token })).status, 200);
    assertRefused(await ask(request, { token }), { status: 401, code: 'TOKEN_EXHAUSTED' });
  });
});

test('a use by database time', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, read, store, use } = tokenClient(server);
  await store('team/k');

  await t.test('a token is refused from the moment of its expiry on, and not before', async () => {
    const { token, token_id } = await make(server.adminKey, { scopes: ['secrets:read:team/*'] });
    const set = async (when: string) => {
      await server.sql(
        `update scoped_tokens set expires_at = clock_timestamp() + $2::interval where id = $1`,
        [token_id, when],
      );
      await resealRows(server.sql, 'scoped_tokens', 'id = $1', [token_id]);
    };
    for (const [when, status] of [
      ['1 hour', 200],
      ['-1 microsecond', 401],
      ['-1 day', 401],
      ['1 hour', 200],
    ] as const) {
      await set(when);
      const answer = await read(token, 'team/k');
      assert.equal(answer.status, status, when);
      if (status === 401) assertRefused(answer, { status, code: 'TOKEN_EXPIRED' });
    }
  });

  await t.test('a token that is used up says so for every use there is', async () => {
    const token = await make(server.adminKey, { scopes: ['secrets:*:*', 'namespaces:read'], max_uses: 1 });
    assert.equal((await read(token.token, 'team/k')).status, 200);
    for (const request of [
      { method: 'GET', url: '/v1/secrets/team/k' },
      { method: 'GET', url: '/v1/secrets/team' },
      { method: 'GET', url: '/v1/namespaces' },
      { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } },
      { method: 'POST', url: '/v1/secrets', json: { path: 'team/n', value: 'v' } },
      { method: 'POST', url: '/v1/secrets/import', json: { namespace: 'team', content: 'n=1' } },
      { method: 'POST', url: '/v1/secrets/team/k/rotate' },
      { method: 'DELETE', url: '/v1/secrets/team/k' },
    ]) {
      const answer = await use(token.token, request);
      assertRefused(answer, { status: 401, code: 'TOKEN_EXHAUSTED' }, `${request.method} ${request.url}`);
    }
  });
});
