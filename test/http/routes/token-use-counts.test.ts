/**
 * What a use costs (contract section 5.4): a success exactly one, whatever it did; anything else nothing. The number
 * is the database's, read before and after every request.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, buildTestApp, type TestApp, type TestRequest } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { type IssuedToken, tokenClient, unlessBusy } from './token-calls.ts';

const HOME = '192.0.2.1';
const ONE_MIB = 1024 * 1024;

interface Refused extends TestRequest {
  readonly what: string;
  /** Undefined: an answer of another kind that is no use. */
  readonly code?: string;
  readonly status: number;
  readonly from?: string;
}

const get = (what: string, path: string, status: number, code: string): Refused => ({
  what,
  method: 'GET',
  url: `/v1/secrets${path}`,
  status,
  code,
});

const put = (what: string, status: number, code: string, request: Partial<TestRequest>): Refused => ({
  what,
  method: 'PUT',
  url: '/v1/secrets/team/k',
  status,
  code,
  ...request,
});

const post = (what: string, path: string, status: number, code: string, json?: unknown): Refused => ({
  what,
  method: 'POST',
  url: `/v1/secrets${path}`,
  status,
  code,
  ...(json === undefined ? {} : { json }),
});

const remove = (what: string, path: string, status: number, code: string, more = {}): Refused => ({
  what,
  method: 'DELETE',
  url: `/v1/secrets/${path}`,
  status,
  code,
  ...more,
});

const text = (content: string, namespace = 'team') => ({ namespace, content });

/** With a token over `secrets:*:team/*` from one address; the owner's scopes end at `team` too. */
const REFUSED: readonly Refused[] = [
  get('a secret that is not there', '/team/absent', 404, 'SECRET_NOT_FOUND'),
  get('a version that is not there', '/team/k?version=7', 404, 'SECRET_NOT_FOUND'),
  get('a secret that has expired', '/team/over', 404, 'SECRET_NOT_FOUND'),
  get('a secret whose row was changed', '/team/tampered', 500, 'INTEGRITY_ERROR'),
  get('a secret that takes an approval', '/team/guarded', 403, 'APPROVAL_REQUIRED'),
  get('a secret beyond its scopes', '/other/k', 403, 'SCOPE_DENIED'),
  get('one that is not there, beyond its scopes', '/other/absent', 403, 'SCOPE_DENIED'),
  get('a namespace beyond its scopes', '/other', 403, 'SCOPE_DENIED'),
  get('a namespace beyond its scopes, by name', '?namespace=other', 403, 'SCOPE_DENIED'),
  get('no path', '/', 400, 'INVALID_PATH'),
  get('a path with an empty segment', '/team//k', 400, 'INVALID_PATH'),
  get('a path with a blank', '/team/a%20b', 400, 'INVALID_PATH'),
  get('a path that does not decode', '/team/%ff', 400, 'INVALID_PATH'),
  get('no namespace', '', 400, 'INVALID_PATH'),
  get('version 0', '/team/k?version=0', 400, 'VALIDATION_ERROR'),
  get('an unknown parameter', '/team/k?surprise=1', 400, 'VALIDATION_ERROR'),
  get('a page of one secret', '/team/k?limit=1', 400, 'VALIDATION_ERROR'),
  get('a version of a namespace', '/team?version=1', 400, 'VALIDATION_ERROR'),
  get('a page of no entries', '/team?limit=0', 400, 'VALIDATION_ERROR'),
  get('a cursor that is none', '/team?cursor=!', 400, 'VALIDATION_ERROR'),
  { ...get('another address', '/team/k', 403, 'IP_NOT_ALLOWED'), from: '192.0.2.2' },
  { ...get('an unreadable address', '/team/k', 403, 'IP_NOT_ALLOWED'), from: '192.0.2.1,' },
  { ...get('namespaces without their scope', '', 403, 'SCOPE_DENIED'), url: '/v1/namespaces' },
  put('a body that is cut off', 400, 'INVALID_JSON', { raw: '{"value":"v' }),
  put('a body with a member twice', 400, 'INVALID_JSON', { raw: '{"value":"v","value":"w"}' }),
  put('no body', 400, 'VALIDATION_ERROR', {}),
  put('a value that is no text', 400, 'VALIDATION_ERROR', { json: { value: 7 } }),
  put('an unknown member', 400, 'VALIDATION_ERROR', { json: { value: 'v', path: 'team/k' } }),
  put('two tiers', 400, 'VALIDATION_ERROR', {
    json: { value: 'v', tier: 'standard', access_tier: 'critical' },
  }),
  put('metadata that is too large', 400, 'VALIDATION_ERROR', {
    json: { value: 'v', metadata: { x: 'x'.repeat(9000) } },
  }),
  put('a value that is too large', 413, 'PAYLOAD_TOO_LARGE', { json: { value: 'x'.repeat(65_537) } }),
  put('a body that is too large', 413, 'PAYLOAD_TOO_LARGE', { raw: ' '.repeat(ONE_MIB + 1) }),
  put('another media type', 415, 'UNSUPPORTED_MEDIA_TYPE', {
    raw: 'value=v',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  }),
  put('another version than the newest', 409, 'VERSION_CONFLICT', {
    json: { value: 'v' },
    headers: { 'if-match': '9' },
  }),
  put('an If-Match that is none', 400, 'VALIDATION_ERROR', {
    json: { value: 'v' },
    headers: { 'if-match': '*' },
  }),
  put('a secret beyond its scopes', 403, 'SCOPE_DENIED', {
    url: '/v1/secrets/other/k',
    json: { value: 'v' },
  }),
  put('a secret that takes an approval', 403, 'APPROVAL_REQUIRED', {
    url: '/v1/secrets/team/guarded',
    json: { value: 'v' },
  }),
  put('a namespace', 400, 'INVALID_PATH', { url: '/v1/secrets/team', json: { value: 'v' } }),
  post('a secret that exists', '', 409, 'ALREADY_EXISTS', { path: 'team/k', value: 'v' }),
  post('one that has expired', '', 409, 'ALREADY_EXISTS', { path: 'team/over', value: 'v' }),
  post('a new one beyond its scopes', '', 403, 'SCOPE_DENIED', { path: 'other/new', value: 'v' }),
  post('a new one at no path', '', 400, 'INVALID_PATH', { path: 'team', value: 'v' }),
  post('text with a line that is no entry', '/import', 400, 'VALIDATION_ERROR', text('new=1\nnonsense')),
  post('text with a key twice', '/import', 400, 'VALIDATION_ERROR', text('new=1\nnew=2')),
  post('text without an entry', '/import', 400, 'VALIDATION_ERROR', text('# nothing')),
  post('text into a namespace beyond its scopes', '/import', 403, 'SCOPE_DENIED', text('new=1', 'other')),
  post('text into no namespace', '/import', 400, 'INVALID_PATH', text('new=1', '../team')),
  post('text over one that takes an approval', '/import', 403, 'APPROVAL_REQUIRED', text('new=1\nguarded=2')),
  post('a rotation of what is not there', '/team/absent/rotate', 404, 'SECRET_NOT_FOUND'),
  post('a rotation of what has expired', '/team/over/rotate', 404, 'SECRET_NOT_FOUND'),
  post('a rotation beyond its scopes', '/other/k/rotate', 403, 'SCOPE_DENIED'),
  post('a rotation of what takes an approval', '/team/guarded/rotate', 403, 'APPROVAL_REQUIRED'),
  post('a rotation to no text', '/team/k/rotate', 400, 'VALIDATION_ERROR', { new_value: 7 }),
  post('what is no endpoint', '/team/k', 404, 'NOT_FOUND', {}),
  remove('what is not there', 'team/absent', 404, 'SECRET_NOT_FOUND'),
  remove('what is beyond its scopes', 'other/k', 403, 'SCOPE_DENIED'),
  remove('what takes an approval', 'team/guarded', 403, 'APPROVAL_REQUIRED'),
  remove('a namespace', 'team', 400, 'INVALID_PATH'),
  remove('with a body that has members', 'team/k', 400, 'VALIDATION_ERROR', { json: { force: true } }),
  remove('another version', 'team/k', 409, 'VERSION_CONFLICT', { headers: { 'if-match': '"9"' } }),
  { what: 'who am I', method: 'GET', url: '/v1/me', status: 401, code: 'UNAUTHORIZED' },
  {
    what: 'a further token',
    method: 'POST',
    url: '/v1/tokens',
    json: { scopes: ['secrets:read:team/k'] },
    status: 401,
    code: 'UNAUTHORIZED',
  },
  { what: 'introspection', method: 'POST', url: '/v1/tokens/introspect', status: 200 },
  {
    what: 'introspection of another',
    method: 'POST',
    url: '/v1/tokens/introspect',
    json: { token: 'nonsense' },
    status: 200,
  },
  {
    what: 'a refused introspection',
    method: 'POST',
    url: '/v1/tokens/introspect',
    json: { token: 7 },
    status: 400,
    code: 'VALIDATION_ERROR',
  },
  { what: 'HEAD', method: 'HEAD', url: '/v1/secrets/team/k', status: 404 },
  { what: 'PATCH', method: 'PATCH', url: '/v1/secrets/team/k', status: 404, code: 'NOT_FOUND' },
];

async function prepare(server: TestApp) {
  const client = tokenClient(server);
  const agent = await server.createAgent({ allowed_scopes: ['secrets:*:team/*'] });
  for (const path of ['team/k', 'team/tampered', 'other/k']) await client.store(path);
  await client.store('team/guarded', { access_tier: 'sensitive' });
  await client.store('team/over', { expires_at: '2001-01-01T00:00:00Z' });
  await server.sql(
    `update secret_versions set ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1)
     where secret_id = (select id from secrets where path = 'team/tampered')`,
  );
  return { ...client, agent };
}

const effectsOf = async ({ sql }: TestApp, { token_id }: IssuedToken): Promise<string[]> => {
  const rows = await sql<{ event_type: string }>(
    `select event_type from audit_events
     where metadata ->> 'token_id' = $1 and event_type not like '%.denied' order by id`,
    [token_id],
  );
  return rows.map((row) => row.event_type);
};

test('a refused, missing or malformed request consumes nothing', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t, { TRUST_PROXY: '127.0.0.1' });
  const { make, use, usesOf, agent } = await prepare(server);
  const token = await make(agent.key, { scopes: ['secrets:*:team/*'], max_uses: 1, allowed_ips: [HOME] });
  const ask = ({ what, code, status, from = HOME, ...request }: Refused) =>
    use(token.token, { ...request, headers: { 'x-forwarded-for': from, ...request.headers } });

  assert.ok(REFUSED.length >= 20);
  for (const request of REFUSED) {
    const { what, method, url, status, code } = request;
    await t.test(`${method} ${url}: ${what} is ${status} ${code ?? ''}`, async () => {
      const before = await usesOf(token);
      const answer = await ask(request);
      if (code === undefined) assert.equal(answer.status, status, answer.text);
      else assertRefused(answer, { status, code });
      assert.deepEqual([before, await usesOf(token)], [0, 0]);
    });
  }

  await t.test(
    'beside another credential, or by another scheme, it is no credential and no use',
    async () => {
      for (const headers of [
        { 'x-api-key': agent.key },
        { authorization: `Basic ${Buffer.from(`${token.token}:`).toString('base64')}` },
        { authorization: token.token },
        { authorization: [`Bearer ${token.token}`, `Bearer ${token.token}`] },
        { authorization: `Bearer ${token.token} ` },
      ]) {
        const request = { method: 'GET', url: '/v1/secrets/team/k' };
        const answer = await use(token.token, {
          ...request,
          headers: { 'x-forwarded-for': HOME, ...headers },
        });
        assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' }, JSON.stringify(headers).slice(0, 20));
        assert.equal(await usesOf(token), 0);
      }
    },
  );

  await t.test('nor did any of these have an effect, and the one use is still there', async () => {
    assert.deepEqual(await effectsOf(server, token), []);
    const answer = await ask({ ...get('the secret', '/team/k', 200, ''), what: 'the secret' });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([await usesOf(token), await effectsOf(server, token)], [1, ['secret.read']]);
  });

  await t.test('refused as used up, it does not count further', async () => {
    for (const request of [get('', '/team/k', 401, ''), put('', 401, '', { json: { value: 'v' } })]) {
      assertRefused(await ask(request), { status: 401, code: 'TOKEN_EXHAUSTED' });
    }
    assert.equal(await usesOf(token), 1);
  });
});

test('a success consumes exactly one use', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { make, use, usesOf, read, agent } = await prepare(server);
  const successes: readonly (TestRequest & { readonly status: number; readonly event: string })[] = [
    { method: 'GET', url: '/v1/secrets/team/k', status: 200, event: 'secret.read' },
    { method: 'GET', url: '/v1/secrets/team/k?version=1', status: 200, event: 'secret.read' },
    { method: 'GET', url: '/v1/secrets/team', status: 200, event: 'secret.listed' },
    { method: 'GET', url: '/v1/secrets/team?limit=1', status: 200, event: 'secret.listed' },
    { method: 'GET', url: '/v1/secrets?namespace=team', status: 200, event: 'secret.listed' },
    { method: 'GET', url: '/v1/secrets?namespace=team/empty', status: 200, event: 'secret.listed' },
    { method: 'GET', url: '/v1/secrets?due=rotation', status: 200, event: 'secret.listed' },
    { method: 'GET', url: '/v1/namespaces', status: 200, event: 'namespace.listed' },
    {
      method: 'PUT',
      url: '/v1/secrets/team/new',
      json: { value: 'v' },
      status: 201,
      event: 'secret.created',
    },
    {
      method: 'PUT',
      url: '/v1/secrets/team/new',
      json: { value: 'w' },
      status: 200,
      event: 'secret.updated',
    },
    {
      method: 'POST',
      url: '/v1/secrets',
      json: { path: 'team/posted', value: 'v' },
      status: 201,
      event: 'secret.created',
    },
    { method: 'POST', url: '/v1/secrets/team/new/rotate', status: 200, event: 'secret.rotated' },
    {
      method: 'POST',
      url: '/v1/secrets/team/new/rotate',
      json: { new_value: 'x' },
      headers: { 'if-match': '3' },
      status: 200,
      event: 'secret.rotated',
    },
    {
      method: 'POST',
      url: '/v1/secrets/import',
      json: text('a=1\nb=2\nnew=3\nk=4'),
      status: 200,
      event: 'secret.imported',
    },
    { method: 'DELETE', url: '/v1/secrets/team/new', status: 204, event: 'secret.deleted' },
  ];
  const spec = { scopes: ['secrets:*:team/*', 'namespaces:read'] };
  const limited = await make(agent.key, { ...spec, max_uses: successes.length });

  for (const { status, event, ...request } of successes) {
    await t.test(`${request.method} ${request.url}: one use and one event, ${event}`, async () => {
      const [uses, events] = [await usesOf(limited), await effectsOf(server, limited)];
      const answer = await use(limited.token, request);
      assert.equal(answer.status, status, answer.text);
      assert.equal(await usesOf(limited), uses + 1);
      assert.deepEqual(await effectsOf(server, limited), [...events, event]);
    });
  }

  await t.test('after the last of them there is none left', async () => {
    assert.equal(await usesOf(limited), successes.length);
    assertRefused(await read(limited.token, 'team/k'), { status: 401, code: 'TOKEN_EXHAUSTED' });
  });

  await t.test('reads and writes at once take what there is and no more', async () => {
    for (const max_uses of [1, 3, 7]) {
      const token = await make(agent.key, { ...spec, max_uses });
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, index) =>
          unlessBusy(() =>
            index % 4 === 3
              ? use(token.token, { method: 'PUT', url: `/v1/secrets/team/w${index}`, json: { value: 'v' } })
              : read(token.token, index % 4 === 2 ? 'team' : 'team/k'),
          ),
        ),
      );
      const refused = answers.filter(({ status }) => status >= 400);
      for (const answer of refused) assertRefused(answer, { status: 401, code: 'TOKEN_EXHAUSTED' });
      assert.equal(answers.length - refused.length, max_uses);
      assert.equal(await usesOf(token), max_uses);
      assert.equal((await effectsOf(server, token)).length, max_uses);
    }
  });

  await t.test('what is refused among what is granted takes nothing from it', async () => {
    const token = await make(agent.key, { ...spec, max_uses: 4 });
    const paths = ['team/k', 'other/k', 'team/absent', 'team/guarded', 'team/a%20b', 'team/tampered'];
    const asked = Array.from({ length: 24 }, (_, index) => paths[index % paths.length] ?? '');
    const answers = await Promise.all(asked.map((path) => read(token.token, path)));
    const statuses = (path: string) =>
      new Set(answers.filter((_, index) => asked[index] === path).map(({ status }) => status));
    assert.deepEqual([...statuses('team/k')], [200]);
    assert.equal(await usesOf(token), 4);
    assert.deepEqual(await effectsOf(server, token), [
      'secret.read',
      'secret.read',
      'secret.read',
      'secret.read',
    ]);
  });

  await t.test('a token without a limit is not used up', async () => {
    const token = await make(agent.key, spec);
    for (let times = 0; times < 5; times += 1) assert.equal((await read(token.token, 'team/k')).status, 200);
    const put = { method: 'PUT', url: '/v1/secrets/team/k', json: { value: 'v' } };
    assert.equal((await use(token.token, put)).status, 200);
    assert.equal((await effectsOf(server, token)).length, 6);
  });
});
