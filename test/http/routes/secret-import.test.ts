/** `POST /v1/secrets/import` (contract section 6): `.env` text as `dotenv` reads it, into a namespace, all or nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'dotenv';
import { assertRefused, errorOf } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls, type ListView } from './secret-calls.ts';

interface ImportView {
  readonly namespace: string;
  readonly imported: readonly string[];
  readonly imported_count: number;
  readonly keys: readonly string[];
  readonly skipped: number;
}

const FAULTY = { status: 400, code: 'VALIDATION_ERROR' };

test('an import', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, anAgent, aToken, usesOf, eventsOf, adminKey, sql } = calls;
  const importInto = (namespace: string, content: unknown, members: object = {}, as = adminKey) =>
    ask<ImportView>(as, 'POST /v1/secrets/import', { json: { namespace, content, ...members } });
  const read = (path: string) => ask(adminKey, `GET /v1/secrets/${path}`);
  const keysIn = async (namespace: string) => {
    const { body } = await ask<ListView>(adminKey, `GET /v1/secrets?namespace=${namespace}`);
    return body.items.map(({ key }) => key);
  };
  const assertStored = async (namespace: string, content: string): Promise<void> => {
    const expected = parse(content);
    const answer = await importInto(namespace, content);
    assert.equal(answer.status, 200, `${JSON.stringify(content)} ${answer.text}`);
    assert.deepEqual([...answer.body.keys].sort(), Object.keys(expected).sort(), JSON.stringify(content));
    for (const [key, value] of Object.entries(expected)) {
      assert.equal(
        (await read(`${namespace}/${key}`)).body.value,
        value,
        `${key} of ${JSON.stringify(content)}`,
      );
    }
  };

  await t.test('answers the keys in the order of the text, and no value', async () => {
    const answer = await importInto('shape/deep', 'Z=PLANTED\nA=PLANTED\n\n# comment\nM=PLANTED\n');
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, {
      namespace: 'shape/deep',
      imported: ['Z', 'A', 'M'],
      imported_count: 3,
      keys: ['Z', 'A', 'M'],
      skipped: 0,
    });
    assert.doesNotMatch(answer.text, /PLANTED/);
    assert.deepEqual(await keysIn('shape/deep'), ['A', 'M', 'Z']);
  });

  await t.test('stores what dotenv reads', async () => {
    const multiLine = '-----BEGIN KEY-----\nabc+/=\n-----END KEY-----';
    for (const content of [
      'A=1',
      'A=1\r\nB=2\rC=3\n',
      '\ufeffA=after a byte order mark',
      '   A = blanks around   ',
      'A=\nB=\n',
      'A=\'single #1 \\n\'\nB="double #1\\nnext\\r"\nC=`back #1 \'x\' "y"`',
      'A=un quoted # comment\nB=un#quoted\nC=#empty',
      `A="${multiLine}"\nB='${multiLine}'\nC=\`${multiLine}\`\nD=after`,
      'export A=1\nexport   B="2"\nexport=itself',
      'A: yaml\nB:  "quoted"',
      `A=$B \${B} \\$B\nB=not expanded`,
      'A={"json":"x","n":[1]}\nB=postgres://u:p@h:5432/db?x=y#z',
      'A=it\'s\nB="say \\"x\\""',
      'lower=1\nMixed.Case-1=2\n1=3\n_=4\n.a=5',
      'A=é😀\u0001\nB="\u2028"',
      'A="NUL\0inside"',
    ]) {
      await assertStored('dotenv', content);
    }
  });

  await t.test(
    'gives every key a new version; those that exist keep type, tier, metadata and the rest',
    async () => {
      const members = { secret_type: 'ssh_key', access_tier: 'sensitive', metadata: { kept: true } };
      const there = await aSecret('mixed/OLD', {
        ...members,
        tags: ['t'],
        description: 'd',
        expires_at: '2999-01-01T00:00:00Z',
      });
      await aSecret('mixed/OTHER');
      const ofNew = { secret_type: 'api_key', tier: 'critical', metadata: { made: 'by import' } };
      assert.equal((await importInto('mixed', 'OLD=two\nNEW=one', ofNew)).status, 200);
      const old = (await read('mixed/OLD')).body;
      assert.deepEqual(old, { ...there, version: 2, updated_at: old.updated_at, value: 'two' });
      assert.equal((await read('mixed/OLD?version=1')).body.value, 'v');
      const { id: _, created_at: __, updated_at: ___, ...made } = (await read('mixed/NEW')).body;
      assert.deepEqual(made, {
        namespace: 'mixed',
        key: 'NEW',
        path: 'mixed/NEW',
        version: 1,
        secret_type: 'api_key',
        access_tier: 'critical',
        tier: 'critical',
        metadata: { made: 'by import' },
        description: null,
        tags: [],
        expires_at: null,
        rotate_after_days: null,
        rotation_due_at: null,
        canary: false,
        value: 'one',
      });
      assert.equal((await read('mixed/OTHER')).body.version, 1);
      await importInto('mixed', 'OLD=two');
      assert.equal((await read('mixed/OLD')).body.version, 3, 'the same value is a new version as well');
    },
  );

  await t.test('makes custom standard secrets unless told otherwise', async () => {
    for (const members of [{}, { secret_type: null, access_tier: null, tier: null, metadata: null }]) {
      assert.equal((await importInto('defaults', 'A=1', members)).status, 200);
      const { body } = await read('defaults/A');
      assert.deepEqual([body.secret_type, body.tier, body.metadata], ['custom', 'standard', null]);
      await ask(adminKey, 'DELETE /v1/secrets/defaults/A');
    }
    for (const name of ['tier', 'access_tier']) {
      assert.equal((await importInto(`alias/${name}`, 'A=1', { [name]: 'sensitive' })).status, 200);
      assert.equal((await read(`alias/${name}/A`)).body.access_tier, 'sensitive');
    }
  });

  await t.test('names the line that dotenv would skip or take for something else', async () => {
    for (const [content, line] of [
      ['A', 1],
      ['A=1\nB', 2],
      ['A=1\nB 2\nC=3', 2],
      ['A=1\r\n\r\n# x\r\nnot an entry\r\nB=2', 4],
      ['A="1\n2\n3"\nB', 4],
      ['A=1\n=2', 2],
      ['A=1\nB:2', 2],
      ['A=1\nB-é=2', 2],
      ['A=1\n"B"=2', 2],
      ['A=1\nexport B', 2],
      ['A=1\n<html>', 2],
      ['A=1\nB="open\nC=3"x', 2],
      ["A=1\nB='open #", 2],
      ['A=1\nB=2\nA=3', 3],
      ['A=1\nA=1', 2],
      ['A=1\nexport A=2', 2],
      ['A="1\n2"\n\nA: 3', 4],
      ['A=1\n__proto__=2', 2],
      ['A=1\u2028B=2', 1],
    ] as const) {
      const answer = await importInto('lines', content);
      assertRefused(answer, { ...FAULTY, details: { pointer: '/content', line } }, JSON.stringify(content));
      assert.match(errorOf(answer).message ?? '', new RegExp(`\\b${line}\\b`));
    }
    assert.deepEqual(await keysIn('lines'), []);
  });

  await t.test('does not repeat the content in a refusal', async () => {
    for (const content of ['CANARY', 'A=1\nCANARY 2', 'CANARY=1\nCANARY=2', 'A="CANARY #']) {
      const { status, text } = await importInto('canary', content);
      assert.equal(status, 400);
      assert.doesNotMatch(text, /CANARY/);
    }
  });

  await t.test('has 1 to 1000 entries', async () => {
    const entries = (count: number) =>
      Array.from({ length: count }, (_, index) => `K${index}=${index}`).join('\n');
    for (const content of ['', ' ', '\n\n', '# only\n# comments', '\ufeff']) {
      const details = { pointer: '/content', line: 1 };
      assertRefused(await importInto('count', content), { ...FAULTY, details }, JSON.stringify(content));
    }
    const tooMany = await importInto('count', entries(1001));
    assertRefused(tooMany, { ...FAULTY, details: { pointer: '/content', line: 1001 } });
    assert.deepEqual(await keysIn('count'), []);
    const most = await importInto('count', entries(1000));
    assert.equal(most.body.imported_count, 1000);
    assert.equal((await keysIn('count')).length, 1000);
    assert.equal((await read('count/K999')).body.value, '999');
  });

  await t.test('holds no value that is too large', async () => {
    const full = 'x'.repeat(65_536);
    assert.equal((await importInto('large', `A=1\nB=${full}`)).status, 200);
    assert.equal((await read('large/B')).body.value, full);
    for (const content of [`A=2\nB=${full}x`, `A=2\nB="${full}\n"`, `A=2\nB=${'é'.repeat(32_769)}`]) {
      assertRefused(await importInto('large', content), { status: 413, code: 'PAYLOAD_TOO_LARGE' });
    }
    assert.equal((await read('large/A')).body.value, '1');
  });

  await t.test('goes into one namespace by its grammar', async () => {
    for (const namespace of [
      '',
      '/',
      'a/',
      '/a',
      'a//b',
      '..',
      'a/./b',
      'a%2Fb',
      'a b',
      'a\\b',
      'a\n',
      '*',
      Array.from({ length: 16 }, () => 'a').join('/'),
      'x'.repeat(129),
    ]) {
      const answer = await importInto(namespace, 'A=1');
      assertRefused(
        answer,
        { status: 400, code: 'INVALID_PATH', details: { pointer: '/namespace' } },
        namespace,
      );
    }
    const deepest = Array.from({ length: 15 }, (_, index) => `s${index}`).join('/');
    assert.equal((await importInto(deepest, 'A=1')).status, 200);
  });

  await t.test('holds no key that makes no path, and says in which line', async () => {
    const long = `${'n'.repeat(128)}/${'n'.repeat(128)}/${'n'.repeat(128)}/${'n'.repeat(120)}`;
    for (const [namespace, content, line] of [
      ['keys', `A=1\n${'K'.repeat(129)}=2`, 2],
      ['keys', 'A=1\nB=2\n..=3', 3],
      ['keys', '.=1', 1],
      [long, 'A=1\nKKKKK=2', 2],
    ] as const) {
      const answer = await importInto(namespace, content);
      assertRefused(answer, { status: 400, code: 'INVALID_PATH', details: { line } }, content);
    }
    assert.deepEqual(await keysIn('keys'), []);
  });

  await t.test('needs write for each path, else nothing is imported', async () => {
    await aSecret('part/B', { value: 'before' });
    const agent = await anAgent('secrets:write:part/A*', 'secrets:write:part/B', 'secrets:read:part/*');
    const limited = await aToken({ by: agent.key, scopes: ['secrets:write:part/A*'], maxUses: 3 });
    for (const as of [agent.key, limited.token]) {
      const refused = await importInto('part', 'A1=1\nA2=2\nC=3', {}, as);
      assertRefused(refused, { status: 403, code: 'SCOPE_DENIED' });
    }
    assert.deepEqual(await keysIn('part'), ['B']);
    assert.equal(await usesOf(limited), 0);
    assertRefused(await importInto('part', 'A1=1\nB=2', {}, limited.token), {
      status: 403,
      code: 'SCOPE_DENIED',
    });
    assert.equal((await importInto('part', 'A1=1\nA2=2', {}, limited.token)).status, 200);
    assert.equal((await importInto('part', 'A1=1\nB=2', {}, agent.key)).status, 200);
    assert.equal(await usesOf(limited), 1, 'one use, however many keys');
  });

  await t.test('writes all or nothing when one secret is too high', async () => {
    await aSecret('tall/M', { access_tier: 'critical', value: 'before' });
    await aSecret('tall/A', { value: 'before' });
    const agent = await anAgent('secrets:*:tall/*');
    const limited = await aToken({ by: agent.key, scopes: ['secrets:write:tall/*'], maxUses: 1 });
    for (const as of [agent.key, limited.token]) {
      const refused = await importInto('tall', 'A=1\nM=2\nZ=3', {}, as);
      assertRefused(refused, { status: 403, code: 'APPROVAL_REQUIRED' });
    }
    for (const key of ['A', 'M']) {
      const { body } = await read(`tall/${key}`);
      assert.deepEqual([body.version, body.value], [1, 'before']);
    }
    assert.deepEqual(await keysIn('tall'), ['A', 'M']);
    assert.equal(await usesOf(limited), 0);
    const [orphans] = await sql(
      'select count(*)::int as n from secret_versions where not exists (select from secrets where id = secret_id)',
    );
    assert.deepEqual(orphans, { n: 0 });
  });

  await t.test('takes no member that is unknown, missing or of another type', async () => {
    for (const [json, pointer] of [
      [{ content: 'A=1' }, '/namespace'],
      [{ namespace: 'm' }, '/content'],
      [{ namespace: 'm', content: null }, '/content'],
      [{ namespace: null, content: 'A=1' }, '/namespace'],
      [{ namespace: 'm', content: ['A=1'] }, '/content'],
      [{ namespace: 1, content: 'A=1' }, '/namespace'],
      [{ namespace: 'm', content: 'A=1', overwrite: true }, '/overwrite'],
      [{ namespace: 'm', content: 'A=1', description: 'd' }, '/description'],
      [{ namespace: 'm', content: 'A=1', expires_at: '2999-01-01T00:00:00Z' }, '/expires_at'],
      [{ namespace: 'm', content: 'A=1', format: 'env' }, '/format'],
      [{ namespace: 'm', content: 'A=1', secret_type: 'other' }, '/secret_type'],
      [{ namespace: 'm', content: 'A=1', tier: 'low' }, '/tier'],
      [{ namespace: 'm', content: 'A=1', metadata: [] }, '/metadata'],
      [{ namespace: 'm', content: 'A=1', metadata: { a: 'x'.repeat(8192) } }, '/metadata'],
    ] as const) {
      const answer = await ask(adminKey, 'POST /v1/secrets/import', { json });
      assertRefused(answer, { ...FAULTY, details: { pointer } }, JSON.stringify(json).slice(0, 100));
    }
    assert.deepEqual(await keysIn('m'), []);
  });

  await t.test('is one event that names keys, ids and versions, and no value', async () => {
    const old = await aSecret('event/B');
    const agent = await anAgent('secrets:write:event/*');
    const { id: tokenId, token } = await aToken({ by: agent.key, scopes: ['secrets:write:event/*'] });
    for (const [as, by, version] of [
      [agent.key, { key_id: agent.keyId }, 1],
      [token, { token_id: tokenId }, 2],
    ] as const) {
      const events = await eventsOf(() => importInto('event', 'A=PLANTED\nB=PLANTED', {}, as));
      const a = (await read('event/A')).body;
      const [event, ...others] = events;
      assert.deepEqual(others, []);
      const { request_id, ...rest } = event ?? assert.fail('no event');
      assert.match(request_id, /^[0-9a-f-]{36}$/);
      assert.deepEqual(rest, {
        event_type: 'secret.imported',
        actor_id: agent.id,
        actor_type: 'agent',
        resource_type: 'namespace',
        resource_id: 'event',
        metadata: {
          ...by,
          secrets: [
            { key: 'A', secret_id: a.id, version },
            { key: 'B', secret_id: old.id, version: version + 1 },
          ],
        },
      });
    }
  });
});
