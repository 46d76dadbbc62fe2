/** From a URL to one secret (contract section 5.2): the raw target decides, is decoded once, and is never mended. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, errorOf } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type ListView, listenForRaw, type SecretView } from './secret-calls.ts';

const INVALID = { status: 400, code: 'INVALID_PATH' };
const LONGEST_SEGMENT = 'x'.repeat(128);

/** Behind `/v1/secrets/`: two raw segments or more, and no path. */
const NO_PATHS = [
  // Dot segments, plain and encoded
  'a/./K',
  'a/../K',
  '../a/K',
  'a/K/..',
  'a/K/.',
  './a/K',
  'a/%2e/K',
  'a/%2E%2e/K',
  'a/.%2e/K',
  'a/%2e%2e%2fb/K',
  '..%2fa/K',
  // Empty segments
  'a//K',
  '/a/K',
  'a/K/',
  'a/K//',
  '/',
  '//',
  'a%2F/K',
  'a/%2FK',
  'a/K%2F',
  '%2F/K',
  // Decoded once, never twice
  'a%252FK/b',
  'a/%254B',
  'a/%252e%252e/K',
  'a/%2500',
  // Escapes that are none, or no UTF-8
  'a/%',
  'a/%4',
  'a/%zz',
  'a/%u004B',
  'a/K%',
  '%zz/K',
  'a/%ff',
  'a/%80',
  'a/%c3',
  'a/%c0%af/K',
  'a/%c1%8b',
  'a/%e0%80%af',
  'a/%ed%a0%80',
  'a/%f4%90%80%80',
  'a%2Fb/%zz',
  // Characters outside the grammar
  'a/K%00',
  'a/%00',
  'a/K%0a',
  'a/K%0d%0a',
  'a/K%20',
  'a/%20K',
  'a/K%09',
  'a/K;x',
  'a;x/K',
  'a/K%3Bx',
  'a/K%23x',
  'a/K%3Fx',
  'a/K,b',
  'a/K:1',
  'a/*',
  'a/K*',
  'a/**/K',
  'a/K|b',
  "a/K'",
  'a/K"',
  'a/K$',
  'a/{path}',
  'a/[K]',
  'a/(K)',
  'a/!K',
  'a/K&b',
  'a/K%25',
  'a\\K',
  'a/..\\K',
  'a\\..\\b/K',
  'a%5CK/b',
  'a/%C3%A9',
  'a/%EF%BC%8FK',
  'a/%E2%80%8BK',
  // Too much
  Array.from({ length: 17 }, () => 'a').join('/'),
  Array.from({ length: 400 }, () => 'a').join('/'),
  `a/${LONGEST_SEGMENT}x`,
  `${LONGEST_SEGMENT}x/K`,
  `${LONGEST_SEGMENT}/${LONGEST_SEGMENT}/${LONGEST_SEGMENT}/${'x'.repeat(126)}`,
  `a/${'x'.repeat(3000)}`,
  `${'a/'.repeat(1500)}K`,
  `a/${'%41'.repeat(1000)}`,
  `a/${'x'.repeat(12_000)}`,
];

test('a target', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { adminKey, aSecret, anAgent, aToken, eventsOf } = calls;
  const raw = await listenForRaw(t, calls);
  const everything = await aToken({ maxUses: 1000 });
  const onlyHere = await anAgent('secrets:*:elsewhere/*');
  // What a target would name if it were mended.
  for (const path of ['a/K', 'b/K', 'a/b', 'a/b/K', 'K/K', 'secrets/K'])
    await aSecret(path, { value: 'PLANTED' });

  await t.test('that names no path is refused for every method, and reaches no secret', async () => {
    const events = await eventsOf(async () => {
      for (const path of NO_PATHS) {
        for (const [line, json] of requestsOf(path)) {
          const answer = await raw(everything.token, line, json);
          assertRefused(answer, INVALID, line.slice(0, 100));
          assert.doesNotMatch(answer.text, /PLANTED/);
        }
      }
    });
    assert.deepEqual(events, []);
    assert.equal(await calls.usesOf(everything), 0);
    const [counted] = await calls.sql('select count(*)::int as n from secret_versions');
    assert.deepEqual(counted, { n: 6 }, 'nothing was written or destroyed');
  });

  await t.test('that names no path is refused for whoever may do nothing there as well', async () => {
    for (const path of NO_PATHS) {
      assertRefused(await raw(onlyHere.key, `GET /v1/secrets/${path}`), INVALID, path.slice(0, 100));
    }
  });

  await t.test('that names no path is its fault for an approver too, who may name none', async () => {
    const approver = await calls.createAgent({ role: 'approver' });
    const events = await eventsOf(async () => {
      for (const path of ['..', '%2e%2e', ...NO_PATHS]) {
        for (const [line, json] of requestsOf(path)) {
          assertRefused(await raw(approver.key, line, json), INVALID, line.slice(0, 100));
        }
      }
    });
    assert.deepEqual(events, []);
    for (const path of ['a', 'a/K', 'not/THERE']) {
      const answer = await raw(approver.key, `GET /v1/secrets/${path}`);
      assertRefused(answer, { status: 403, code: 'FORBIDDEN' }, path);
    }
  });

  await t.test('that names no path is 401 without a credential', async () => {
    for (const path of NO_PATHS) {
      for (const [line, json] of requestsOf(path).slice(0, 2)) {
        const answer = await raw(undefined, line, json);
        assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' }, line.slice(0, 100));
      }
    }
  });

  await t.test('of one raw segment names a namespace, whatever it decodes to', async () => {
    for (const [segment, namespace] of [
      ['a', 'a'],
      ['a%2Fb', 'a/b'],
      ['a%2fK', 'a/K'],
      ['%61', 'a'],
      ['nobody', 'nobody'],
    ] as const) {
      const { status, body } = await raw<ListView>(adminKey, `GET /v1/secrets/${segment}`);
      assert.equal(status, 200);
      assert.equal(body.namespace, namespace);
      for (const [line, json] of requestsOf(segment).slice(1)) {
        assertRefused(await raw(adminKey, line, json), INVALID, line);
      }
    }
  });

  await t.test('of one raw segment that is no namespace is refused', async () => {
    for (const segment of [
      '',
      '.',
      '..',
      '%2e%2e',
      '%2F',
      'a%2F',
      '%2Fa',
      'a%2F%2Fb',
      'a%252Fb',
      '%zz',
      '%ff',
      'a%00',
      'a;b',
      'a\\b',
      'a#b',
      '*',
      Array.from({ length: 16 }, () => 'a').join('%2F'),
      'x'.repeat(129),
      'x'.repeat(3000),
    ]) {
      assertRefused(await raw(adminKey, `GET /v1/secrets/${segment}`), INVALID, segment.slice(0, 100));
      const nobody = await raw(undefined, `GET /v1/secrets/${segment}`);
      assertRefused(nobody, { status: 401, code: 'UNAUTHORIZED' }, segment.slice(0, 100));
    }
  });

  await t.test('names the same secret in every spelling that decodes to its path', async () => {
    const { id } = await aSecret('s/t/u-v_w.x@y+z=~1/KEY', { value: 'spelled' });
    const before = await raw<SecretView>(adminKey, 'GET /v1/secrets/s/t/u-v_w.x@y+z=~1/KEY');
    for (const spelling of [
      's%2Ft/u-v_w.x@y+z=~1/KEY',
      's%2ft%2fu-v_w.x@y+z=~1/KEY',
      's/t%2Fu-v_w.x@y+z=~1%2FKEY',
      's/t/u%2Dv%5Fw%2Ex%40y%2Bz%3D%7E1/KEY',
      '%73/%74/u-v_w.x@y+z=~1/%4B%45%59',
      's/t/u-v_w.x@y+z=~1/KEY?',
    ]) {
      const { status, body } = await raw(adminKey, `GET /v1/secrets/${spelling}`);
      assert.equal(status, 200, spelling);
      assert.deepEqual(body, before.body, spelling);
    }
    const put = await raw(adminKey, 'PUT /v1/secrets/s%2Ft/u-v_w.x@y+z=~1/KEY', { value: 'v' });
    assert.deepEqual([put.body.id, put.body.version], [id, 2]);
    const rotated = await raw(adminKey, 'POST /v1/secrets/s/t%2Fu-v_w.x@y+z=~1/KEY/rotate');
    assert.deepEqual([rotated.body.id, rotated.body.version], [id, 3]);
    assert.equal((await raw(adminKey, 'DELETE /v1/secrets/s%2Ft/u-v_w.x@y+z=~1/KEY')).status, 204);
  });

  await t.test('is judged by scopes after it is decoded, in every spelling', async () => {
    await aSecret('fence/out/K');
    const agent = await anAgent('secrets:*:fence/in/*');
    for (const spelling of ['fence%2Fout/K', 'fence/out%2FK', 'fence/%6Fut/K', '%66ence/out/%4B']) {
      for (const [line, json] of requestsOf(spelling)) {
        assertRefused(await raw(agent.key, line, json), { status: 403, code: 'SCOPE_DENIED' }, line);
      }
    }
  });

  await t.test('tells upper from lower case', async () => {
    const names = ['case/K', 'case/k', 'Case/K', 'CASE/k'];
    for (const name of names) await aSecret(name, { value: name });
    for (const name of names) {
      assert.equal((await raw(adminKey, `GET /v1/secrets/${name}`)).body.value, name);
    }
    const other = await raw(adminKey, 'GET /v1/secrets/cASE/K');
    assertRefused(other, { status: 404, code: 'SECRET_NOT_FOUND' });
  });

  await t.test('may be as long as a path, however it is written', async () => {
    const longest = `${`${LONGEST_SEGMENT}/`.repeat(3)}${'x'.repeat(125)}`;
    assert.equal(longest.length, 512);
    const deepest = Array.from({ length: 16 }, (_, index) => `s${index}`).join('/');
    for (const path of [longest, deepest]) {
      assert.equal((await raw(adminKey, `PUT /v1/secrets/${path}`, { value: path })).status, 201);
      assert.equal((await raw(adminKey, `GET /v1/secrets/${path}`)).body.value, path);
    }
    const encoded = longest.replaceAll('x', '%78');
    assert.equal((await raw(adminKey, `GET /v1/secrets/${encoded}`)).body.value, longest);
  });

  await t.test('of a key that is called like an endpoint is a secret all the same', async () => {
    for (const path of ['rotate/rotate', 'import/import', 'ns/rotate', 'import/K']) {
      assert.equal((await raw(adminKey, `PUT /v1/secrets/${path}`, { value: path })).status, 201, path);
      const rotated = await raw(adminKey, `POST /v1/secrets/${path}/rotate`, { new_value: `${path}2` });
      assert.deepEqual([rotated.status, rotated.body.path], [200, path]);
      assert.equal((await raw(adminKey, `GET /v1/secrets/${path}`)).body.value, `${path}2`);
    }
    assert.equal((await raw<ListView>(adminKey, 'GET /v1/secrets/import')).body.items.length, 2);
  });

  await t.test('that is no endpoint is 404, with a credential or without', async () => {
    for (const line of [
      'POST /v1/secrets/a/K',
      'POST /v1/secrets/a',
      'POST /v1/secrets/rotate',
      'POST /v1/secrets/a/K/rotate/',
      'POST /v1/secrets/a/K/Rotate',
      'POST /v1/secrets/a/K%2Frotate',
      'POST /v1/secrets/import/',
      'PATCH /v1/secrets/a/K',
      'HEAD /v1/secrets/a/K',
      'OPTIONS /v1/secrets/a/K',
      'DELETE /v1/secrets',
      'PUT /v1/secrets',
      'POST /v1/namespaces',
      'GET /v1/namespaces/a',
      'GET /v1/Secrets/a/K',
      'GET /v1/secrets;a/K',
      'GET /v1/secrets%2Fa/K',
      'GET /v1/./secrets/a/K',
      'GET /v1/x/../secrets/a/K',
      'GET /v1//secrets/a/K',
      'GET //v1/secrets/a/K',
    ]) {
      for (const as of [adminKey, undefined]) {
        const { status, text } = await raw(as, line).catch((error: unknown) => ({
          status: 0,
          text: `${error}`,
        }));
        assert.equal(status, 404, `${line} ${text}`);
        assert.doesNotMatch(text, /PLANTED|SECRET_NOT_FOUND/, line);
      }
    }
  });

  // `/v1/secret%73/a/K` may be the same endpoint or none; what it must not be is a path that nobody wrote.
  await t.test('whose prefix is spelled otherwise never names another secret', async () => {
    await aSecret('3/a/K', { value: 'ANOTHER' });
    await aSecret('s/a/K', { value: 'ANOTHER' });
    await aSecret('ts/a/K', { value: 'ANOTHER' });
    for (const prefix of [
      '/v1/secret%73',
      '/v1/%73ecrets',
      '/%761/secrets',
      '/%76%31/secrets',
      '/v1/secre%74s',
    ]) {
      const answer = await calls.app.inject({
        method: 'GET',
        url: `${prefix}/a/K`,
        headers: { 'x-api-key': adminKey },
      });
      const { error, value } = answer.json<{ error?: { code: string }; value?: string }>();
      assert.ok(error?.code === 'NOT_FOUND' || value === 'PLANTED', `${prefix}: ${answer.payload}`);
    }
  });

  await t.test('with a fragment below the prefix is a path that is none', async () => {
    for (const path of ['a/K#x', 'a/K#', 'a#/K', 'a/#K', 'a/K#?version=1', '#a/K']) {
      for (const [line, json] of requestsOf(path).slice(0, 3)) {
        assertRefused(await raw(adminKey, line, json), INVALID, line);
        assertRefused(await raw(undefined, line, json), { status: 401, code: 'UNAUTHORIZED' }, line);
      }
    }
  });

  await t.test('with a fragment is never served', async () => {
    for (const line of [
      'GET /v1/secrets#namespace=a',
      'GET /v1/secrets?namespace=a#x',
      'GET /v1/secrets/a/K?version=1#x',
      'GET /v1/namespaces#limit=1',
    ]) {
      const { status, text } = await raw(adminKey, line);
      assert.ok(status === 400 || status === 404, `${line}: ${status} ${text}`);
    }
  });

  await t.test('in absolute form is read by its path, which is not mended either', async () => {
    assert.equal((await raw(adminKey, 'GET http://elsewhere/v1/secrets/a/K')).body.value, 'PLANTED');
    assertRefused(await raw(adminKey, 'GET http://elsewhere/v1/secrets/a/../a/K'), INVALID);
    assertRefused(await raw(adminKey, 'GET http://elsewhere/v1/secrets/a/%zz'), INVALID);
  });

  await t.test('is followed by a query that is judged after the path', async () => {
    for (const query of ['version=%zz', 'version=1%', 'limit=%ff', '%zz=1']) {
      const { status, text } = await raw(adminKey, `GET /v1/secrets/a/K?${query}`);
      assert.equal(status, 400, `${query} ${text}`);
    }
    assertRefused(await raw(adminKey, 'GET /v1/secrets/a/%zz?version=1'), INVALID);
  });
});

test('a path in a body', { skip: postgresSkip }, async (t) => {
  const { ask, adminKey } = await buildSecretCalls(t);

  await t.test('is taken as it is written: nothing is decoded, trimmed or mended', async () => {
    for (const path of [
      '',
      'a',
      'a/',
      '/a',
      '/a/K',
      'a/K/',
      'a//K',
      'a/./K',
      'a/../K',
      'a%2FK',
      'a/%4B',
      'a\\K',
      'a/K ',
      ' a/K',
      'a/K\n',
      'a/K\0',
      'a/é',
      'a/*',
      'a/K#x',
      'a/K?version=1',
      Array.from({ length: 17 }, () => 'a').join('/'),
      `a/${LONGEST_SEGMENT}x`,
      'a/'.repeat(300),
    ]) {
      const details = { pointer: '/path' };
      const created = await ask(adminKey, 'POST /v1/secrets', { json: { path, value: 'v' } });
      assertRefused(created, { ...INVALID, details }, path);
    }
    for (const path of [1, {}, ['a/K']]) {
      const created = await ask(adminKey, 'POST /v1/secrets', { json: { path, value: 'v' } });
      assertRefused(created, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/path' } });
    }
    assert.equal(
      (await ask(adminKey, 'POST /v1/secrets', { json: { path: 'a/K', value: 'v' } })).status,
      201,
    );
  });

  await t.test('that is refused is not repeated in the answer', async () => {
    const answer = await ask(adminKey, 'POST /v1/secrets', { json: { path: 'CANARY path', value: 'v' } });
    assert.doesNotMatch(errorOf(answer).message ?? '', /CANARY/);
  });
});

/** One request of each kind about the secret that a target names; `GET` first. */
function requestsOf(path: string): [string, unknown?][] {
  return [
    [`GET /v1/secrets/${path}`],
    [`PUT /v1/secrets/${path}`, { value: 'WRITTEN' }],
    [`DELETE /v1/secrets/${path}`],
    [`POST /v1/secrets/${path}/rotate`],
  ];
}
