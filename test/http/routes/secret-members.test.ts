/** What a secret may hold (contract section 6): values byte by byte, and every member at and beyond its limits. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { buildSecretCalls } from './secret-calls.ts';

const LIMIT = 65_536;

test('a value', { skip: postgresSkip }, async (t) => {
  const { ask, aToken, adminKey, sql } = await buildSecretCalls(t);
  const { token } = await aToken();
  const TARGET = '/v1/secrets/bytes/K';
  const writes = (value: string): [string, unknown][] => [
    [`PUT ${TARGET}`, { value }],
    [`POST ${TARGET}/rotate`, { new_value: value }],
  ];
  /** As UTF-8, so that nothing is compared after another decoding. */
  const assertKept = async (value: string, about: string): Promise<void> => {
    for (const [line, json] of writes(value)) {
      const written = await ask(adminKey, line, { json });
      assert.ok(written.status === 200 || written.status === 201, `${about} ${written.text}`);
      const read = await ask(token, `GET ${TARGET}`);
      assert.ok(Buffer.from(value).equals(Buffer.from(read.body.value ?? '(none)')), `${about}: ${line}`);
    }
  };

  await t.test('of any kind comes back byte by byte', async () => {
    for (const [about, value] of [
      ['empty', ''],
      ['a blank', ' '],
      ['NUL', '\0'],
      ['NUL inside', 'a\0b\0'],
      ['a byte order mark first', '\ufeffvalue'],
      ['only byte order marks', '\ufeff\ufeff'],
      ['line ends of every kind', '\r\n\n\r\u2028\u2029\u0085'],
      ['blanks around', '\t value \n'],
      ['what JSON escapes', '"\\/\b\f\n\r\t\u0001\u001f\u007f'],
      ['what looks like an escape', '\\u0000 %00 \\x00 &#0;'],
      ['composed and decomposed', '\u00e9 e\u0301 \uac00 \u1100\u1161'],
      ['noncharacters', '\ufffe\uffff\ufdd0\u{1ffff}\u{10ffff}'],
      ['replacement characters', '\ufffd\ufffd'],
      ['a number', '1e999'],
      ['the word null', 'null'],
      ['a prototype', '__proto__'],
      ['a private key', '-----BEGIN PRIVATE KEY-----\r\nMC4CAQ+/=\r\n-----END PRIVATE KEY-----\r\n'],
    ] as const) {
      await assertKept(value, about);
    }
  });

  await t.test('of every character of Unicode comes back byte by byte', async () => {
    for (const value of everyCharacter()) await assertKept(value, value.slice(0, 2));
  });

  await t.test('may have 65,536 bytes and not one more, counted as UTF-8', async () => {
    for (const [unit, bytes] of [
      ['x', 1],
      ['\0', 1],
      ['é', 2],
      ['€', 3],
      ['😀', 4],
    ] as const) {
      const filled = unit.repeat(Math.floor(LIMIT / bytes));
      const full = filled + 'x'.repeat(LIMIT - Buffer.byteLength(filled));
      assert.equal(Buffer.byteLength(full), LIMIT);
      await assertKept(full, unit);
      // The last character begins within the limit and ends behind it.
      const across = `${full.slice(unit.length)}${'x'.repeat(bytes === 1 ? 1 : bytes - 1)}${unit}`;
      assert.ok(Buffer.byteLength(across) > LIMIT);
      for (const tooLong of [`${full}x`, `x${full}`, across]) {
        for (const [line, json] of [
          ...writes(tooLong),
          ['POST /v1/secrets', { path: 'bytes/NEW', value: tooLong }],
        ] as [string, unknown][]) {
          const answer = await ask(adminKey, line, { json });
          assertRefused(answer, { status: 413, code: 'PAYLOAD_TOO_LARGE' }, line);
        }
      }
      const { body } = await ask(token, `GET ${TARGET}`);
      assert.equal(body.value, full, 'what was refused changed nothing');
    }
  });

  await t.test('of half a character is no text and is refused', async () => {
    for (const raw of ['{"value":"\\ud800"}', '{"value":"a\\udc00\\ud800"}', '{"value":"\\udfff😀"}']) {
      const answer = await ask(adminKey, `PUT ${TARGET}`, { raw });
      assertRefused(answer, { status: 400, code: 'INVALID_JSON' }, raw);
    }
  });

  await t.test('is never stored as it is, nor twice alike', async () => {
    const value = 'a canary that must not be found 0123456789';
    await ask(adminKey, 'PUT /v1/secrets/rest/A', { json: { value } });
    await ask(adminKey, 'PUT /v1/secrets/rest/A', { json: { value } });
    await ask(adminKey, 'PUT /v1/secrets/rest/B', { json: { value } });
    const rows = await sql<{ nonce: Buffer; ciphertext: Buffer; wrapped_key: Buffer }>(
      `select nonce, ciphertext, wrapped_key from secret_versions
       where secret_id in (select id from secrets where namespace = 'rest')`,
    );
    assert.equal(rows.length, 3);
    for (const { nonce, ciphertext, wrapped_key } of rows) {
      assert.equal(nonce.length, 12);
      assert.equal(ciphertext.length, Buffer.byteLength(value) + 16);
      // nonce, 32 bytes of key, tag
      assert.equal(wrapped_key.length, 12 + 32 + 16);
      assert.ok(!ciphertext.includes('canary'));
    }
    for (const column of ['nonce', 'ciphertext', 'wrapped_key'] as const) {
      assert.equal(new Set(rows.map((row) => row[column].toString('hex'))).size, 3, column);
    }
  });
});

test('a member of a secret', { skip: postgresSkip }, async (t) => {
  const { ask, adminKey } = await buildSecretCalls(t);
  const put = (members: Record<string, unknown>) =>
    ask(adminKey, 'PUT /v1/secrets/members/K', { json: { value: 'v', ...members } });
  const assertTaken = async (name: string, value: unknown, expected = value): Promise<void> => {
    const answer = await put({ [name]: value });
    assert.ok(answer.status < 300, `${JSON.stringify(value).slice(0, 80)} ${answer.text.slice(0, 300)}`);
    const read = await ask(adminKey, 'GET /v1/secrets/members/K');
    for (const { body } of [answer, read]) {
      assert.deepEqual((body as unknown as Record<string, unknown>)[name], expected);
    }
  };
  const assertNotTaken = async (name: string, value: unknown, pointer = `/${name}`): Promise<void> => {
    const about = `${name} ${JSON.stringify(value).slice(0, 80)}`;
    const answer = await put({ [name]: value });
    assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, about);
    const post = await ask(adminKey, 'POST /v1/secrets', {
      json: { path: 'members/NEW', value: 'v', [name]: value },
    });
    assertRefused(post, { status: 400, code: 'VALIDATION_ERROR', details: { pointer } }, about);
  };

  await t.test('type is one of seven', async () => {
    for (const type of [
      'api_key',
      'oauth_token',
      'db_credential',
      'ssh_key',
      'certificate',
      'payment_credential',
      'custom',
    ]) {
      await assertTaken('secret_type', type);
    }
    for (const type of ['', 'Custom', 'api-key', 'API_KEY', 'custom ', 'other', 1, ['custom']]) {
      await assertNotTaken('secret_type', type);
    }
  });

  await t.test('tier has two names that must not differ', async () => {
    for (const tier of ['standard', 'sensitive', 'critical']) {
      await assertTaken('tier', tier);
      await assertTaken('access_tier', tier);
      const { body } = await put({ tier, access_tier: tier });
      assert.deepEqual([body.tier, body.access_tier], [tier, tier]);
      const one = await put({ tier, access_tier: null });
      assert.deepEqual([one.body.tier, one.body.access_tier], [tier, tier]);
    }
    for (const tier of ['', 'Standard', 'high', 'public', 1, ['standard']]) {
      await assertNotTaken('tier', tier);
      await assertNotTaken('access_tier', tier);
    }
    const differing = await put({ tier: 'standard', access_tier: 'sensitive' });
    assertRefused(differing, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/tier' } });
    const imported = await ask(adminKey, 'POST /v1/secrets/import', {
      json: { namespace: 'members', content: 'NEW=1', tier: 'critical', access_tier: 'standard' },
    });
    assertRefused(imported, { status: 400, code: 'VALIDATION_ERROR', details: { pointer: '/tier' } });
  });

  await t.test('metadata is any object of up to 8 KiB, and comes back as it was', async () => {
    for (const metadata of [
      {},
      { '': '', ' ': null, a: { b: [1, 2.5, -3, 1e21, true, false, null, 'é😀\u2028', [], {}] } },
      { constructor: 1, hasOwnProperty: 2, toString: { valueOf: 3 }, toJSON: 'x', length: 0 },
      { z: 1, a: 2, '10': 3, '9': 4 },
      nestedBy(62),
    ]) {
      await assertTaken('metadata', metadata);
    }
    const filling = (unit: string, bytes: number) => ({ a: unit.repeat(bytes / Buffer.byteLength(unit)) });
    const around = Buffer.byteLength('{"a":""}');
    for (const unit of ['x', 'é', '😀']) {
      await assertTaken('metadata', filling(unit, 8192 - around));
      await assertNotTaken('metadata', filling(unit, 8192 - around + Buffer.byteLength(unit)));
    }
    for (const metadata of ['{}', 1, true, [], [{}]]) await assertNotTaken('metadata', metadata);
  });

  await t.test('metadata holds no U+0000 and no number that reads as infinite', async () => {
    for (const json of [
      '{"a":"\\u0000"}',
      '{"a":["x\\u0000y"]}',
      '{"a\\u0000":1}',
      '{"a":{"b":{"\\u0000":1}}}',
      '{"a":1e999}',
      '{"a":-1e999}',
      '{"a":[[1e309]]}',
    ]) {
      for (const [line, rest] of [
        ['PUT /v1/secrets/members/K', ''],
        ['POST /v1/secrets', '"path":"members/NEW",'],
      ] as const) {
        const answer = await ask(adminKey, line, { raw: `{${rest}"value":"v","metadata":${json}}` });
        const details = { pointer: '/metadata' };
        assertRefused(answer, { status: 400, code: 'VALIDATION_ERROR', details }, json);
      }
      const imported = await ask(adminKey, 'POST /v1/secrets/import', {
        raw: `{"namespace":"members","content":"NEW=1","metadata":${json}}`,
      });
      const details = { pointer: '/metadata' };
      assertRefused(imported, { status: 400, code: 'VALIDATION_ERROR', details }, json);
    }
  });

  await t.test('metadata is read as strictly as every other JSON', async () => {
    for (const json of ['{"a":1,"a":1}', '{"__proto__":{}}', '{"a":"\\ud800"}', '{"a":01}', '{"a":NaN}']) {
      const raw = `{"value":"v","metadata":${json}}`;
      const answer = await ask(adminKey, 'PUT /v1/secrets/members/K', { raw });
      assertRefused(answer, { status: 400, code: 'INVALID_JSON' }, json);
    }
  });

  await t.test('description is text of up to 500 characters without U+0000', async () => {
    for (const description of ['', ' ', 'two\nlines\t"quoted" \\ {}', 'é'.repeat(500), '😀'.repeat(500)]) {
      await assertTaken('description', description);
    }
    for (const description of ['a\0b', 'x'.repeat(501), 1, {}, ['x'], false]) {
      await assertNotTaken('description', description);
    }
  });

  await t.test('tags are up to 32 texts of 1 to 64 characters, in their order', async () => {
    for (const tags of [
      [],
      ['x'],
      ['b', 'a', 'b'],
      ['NULL', 'null', '{}', '{a,b}', '"', "'", '\\', ',', ' ', '\n', '[1]', '\u0001'],
      ['é'.repeat(64), '😀'.repeat(64)],
      Array.from({ length: 32 }, (_, index) => `t${index}`),
    ]) {
      await assertTaken('tags', tags);
    }
    for (const tags of ['x', {}, 1, Array.from({ length: 33 }, () => 'x')])
      await assertNotTaken('tags', tags);
    for (const tag of ['', 'x'.repeat(65), '😀'.repeat(65), 'a\0', 1, null, ['x']]) {
      await assertNotTaken('tags', ['fine', tag], '/tags/1');
    }
  });

  await t.test('expires_at is an instant that exists', async () => {
    for (const [given, kept] of [
      ['2999-01-01T00:00:00Z', '2999-01-01T00:00:00.000Z'],
      ['2999-01-01T00:00:00.5Z', '2999-01-01T00:00:00.500Z'],
      ['2999-01-01T00:30:00+01:00', '2998-12-31T23:30:00.000Z'],
      ['2998-12-31T23:30:00-01:00', '2999-01-01T00:30:00.000Z'],
      ['2996-02-29T12:00:00Z', '2996-02-29T12:00:00.000Z'],
      ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ]) {
      await assertTaken('expires_at', given, kept);
    }
    for (const invalid of [
      '',
      'tomorrow',
      '2999-01-01',
      '2999-01-01T00:00:00',
      '2999-01-01T00:00Z',
      '2999-1-1T00:00:00Z',
      '2999-02-29T00:00:00Z',
      '2999-02-30T00:00:00Z',
      '2999-04-31T00:00:00Z',
      '2999-13-01T00:00:00Z',
      '2999-00-01T00:00:00Z',
      '2999-01-00T00:00:00Z',
      '2999-01-01T24:00:00Z',
      '2999-01-01T25:00:00Z',
      '2999-01-01T00:60:00Z',
      '2999-01-01T00:00:61Z',
      '2999-12-31T23:59:60Z',
      '2016-12-31T23:59:60Z',
      '2016-12-31T18:59:60-05:00',
      '2999-01-01T00:00:00+24:00',
      '0000-01-01T00:00:00Z',
      '0001-01-01T00:00:00Z',
      '-2999-01-01T00:00:00Z',
      '+012999-01-01T00:00:00Z',
      '12999-01-01T00:00:00Z',
      '9999-12-31T23:59:59-01:00',
      'infinity',
      '-infinity',
      'now',
      4102444800,
      true,
      {},
    ]) {
      await assertNotTaken('expires_at', invalid);
    }
  });

  await t.test('expires_at is written as RFC 3339 has it', async () => {
    for (const invalid of [
      '2999-01-01\n00:00:00Z',
      '2999-01-01\t00:00:00Z',
      '2999-01-01\u00a000:00:00Z',
      '2999-01-01T00:00:00+0200',
      '2999-01-01T00:00:00+02',
      '2999-01-01T00:00:00 Z',
      ' 2999-01-01T00:00:00Z',
      '2999-01-01T00:00:00Z\n',
      '２９９９-01-01T00:00:00Z',
    ]) {
      await assertNotTaken('expires_at', invalid);
    }
  });
});

/** `{a: {a: … }}`: objects within objects. */
function nestedBy(levels: number): object {
  let nested: object = {};
  for (let level = 1; level < levels; level += 1) nested = { a: nested };
  return nested;
}

/** Every scalar value once, in texts that are as long as a value may be. */
function* everyCharacter(): Generator<string> {
  let text = '';
  let bytes = 0;
  for (let point = 0; point <= 0x10ffff; point += 1) {
    if (point === 0xd800) point = 0xe000;
    const character = String.fromCodePoint(point);
    const size = Buffer.byteLength(character);
    if (bytes + size > LIMIT) {
      yield text;
      [text, bytes] = ['', 0];
    }
    text += character;
    bytes += size;
  }
  yield text;
}
