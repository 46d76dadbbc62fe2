/**
 * `Idempotency-Key` (contract section 4.1): the same request gets the same token with one effect, another request gets
 * none; what is kept is not the token, but what makes it again.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { generateSigningKey } from '../../../src/keys/signing/signing-key.ts';
import { sweep } from '../../../src/storage/sweep.ts';
import {
  assertRefused,
  buildTestApp,
  type CreatedAgent,
  openTestApp,
  type TestAnswer,
  type TestApp,
  type TestRequest,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { resealRows } from '../../support/test-seals.ts';

interface Issued {
  readonly token: string;
  readonly token_id: string;
}

const BODY = JSON.stringify({
  plan: {
    goal: 'once',
    steps: [
      { action: 'look', mcp: 'm' },
      { action: 'note', mcp: 'm' },
    ],
  },
  policy: { allow: ['*'], deny: ['x/*'] },
  expires_in: 300,
  user_id: 'u',
  metadata: { run: 1 },
});
const REUSED = { status: 409, code: 'IDEMPOTENCY_KEY_REUSED' };
const SPENT = { status: 409, code: 'IDEMPOTENCY_KEY_SPENT' };

let made = 0;
const aKey = (): string => {
  made += 1;
  return `key-${made}`;
};

/** Issues `BODY` under a key. */
function issuing(server: Pick<TestApp, 'call'>) {
  return (key: string, apiKey: string, request: Partial<TestRequest> = {}): Promise<TestAnswer<Issued>> =>
    server.call({
      method: 'POST',
      url: '/token/issue',
      key: apiKey,
      raw: BODY,
      ...request,
      headers: { 'idempotency-key': key, ...request.headers },
    });
}

/** What is on record of an agent. */
async function countsOf({ sql }: TestApp, { id }: CreatedAgent) {
  const [row] = await sql(
    `select (select count(*)::int from intent_tokens where agent_id = $1) as tokens,
       (select count(*)::int from idempotency_keys where agent_id = $1) as keys,
       (select count(*)::int from audit_events where actor_id = $1::text and event_type = 'intent.issued') as events`,
    [id],
  );
  return row;
}
const ONE = { tokens: 1, keys: 1, events: 1 };

function assertSame(answer: TestAnswer<unknown>, first: TestAnswer<Issued>, about = ''): void {
  assert.equal(answer.status, 200, `${about} ${answer.text}`);
  assert.equal((answer.body as Partial<Issued>).token_id, first.body.token_id, about);
  assert.ok(answer.text === first.text, `${about}: the bytes differ`);
}

test('the same request', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { call, sql, createAgent, adminKey } = server;
  const issue = issuing(server);

  for (const url of ['/token/issue', '/iap/sdk/token']) {
    await t.test(`to ${url} gets the same bytes again, with one token and one event`, async () => {
      const agent = await createAgent();
      const key = aKey();
      const first = await issue(key, agent.key, { url });
      assert.equal(first.status, 200, first.text);
      for (let again = 0; again < 3; again += 1) {
        const answer = await issue(key, agent.key, { url });
        assertSame(answer, first);
        assert.notEqual(answer.headers['x-request-id'], first.headers['x-request-id']);
      }
      assert.deepEqual(await countsOf(server, agent), ONE);
    });
  }

  await t.test('sent many times at once gets the same token each time, with one effect', async () => {
    const agent = await createAgent();
    const key = aKey();
    const answers = await Promise.all(Array.from({ length: 24 }, () => issue(key, agent.key)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  await t.test('without the header is another token each time', async () => {
    const agent = await createAgent();
    const ask = () => call<Issued>({ method: 'POST', url: '/token/issue', key: agent.key, raw: BODY });
    assert.notEqual((await ask()).body.token_id, (await ask()).body.token_id);
    assert.deepEqual(await countsOf(server, agent), { tokens: 2, keys: 0, events: 2 });
  });

  await t.test('on the other path is a request of its own', async () => {
    const agent = await createAgent();
    const key = aKey();
    const issued = await issue(key, agent.key);
    const other = await issue(key, agent.key, { url: '/iap/sdk/token' });
    assert.equal(other.status, 200);
    assert.notEqual(other.body.token_id, issued.body.token_id);
    assertSame(await issue(key, agent.key), issued);
    assertSame(await issue(key, agent.key, { url: '/iap/sdk/token' }), other);
    assert.deepEqual(await countsOf(server, agent), { tokens: 2, keys: 2, events: 2 });
  });

  await t.test(
    'with the path in another spelling is the same request, or there is no such path',
    async () => {
      const agent = await createAgent();
      const key = aKey();
      const first = await issue(key, agent.key);
      for (const url of ['/token/%69ssue', '/%74oken/issue', 'http://writ.example/token/issue']) {
        const answer = await issue(key, agent.key, { url });
        if (answer.status !== 404) assertSame(answer, first, url);
      }
      assert.deepEqual(await countsOf(server, agent), ONE);
    },
  );

  await t.test('of another principal is a request of its own', async () => {
    const [one, other] = [await createAgent(), await createAgent()];
    const key = aKey();
    const first = await issue(key, one.key);
    const second = await issue(key, other.key);
    assert.equal(second.status, 200);
    assert.notEqual(second.body.token_id, first.body.token_id);
    assertSame(await issue(key, one.key), first);
    assert.deepEqual([await countsOf(server, one), await countsOf(server, other)], [ONE, ONE]);
  });

  await t.test(
    'by a second key of the principal gets the first one’s token, which names the first key',
    async () => {
      const agent = await createAgent();
      const added = await call<{ api_key: string; id: string }>({
        method: 'POST',
        url: `/v1/agents/${agent.id}/keys`,
        key: adminKey,
        json: {},
      });
      const key = aKey();
      const first = await issue(key, agent.key);
      const second = await issue(key, added.body.api_key);
      assertSame(second, first);
      const claims = JSON.parse(Buffer.from(second.body.token.split('.')[1] ?? '', 'base64url').toString());
      assert.equal(claims.identity.api_key_id, agent.keyId);
      assert.notEqual(added.body.id, agent.keyId);
      assert.deepEqual(await countsOf(server, agent), ONE);
      await sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
      const spent = await issue(key, added.body.api_key);
      assertRefused(spent, { ...SPENT, details: { reason: 'key_ended' } }, 'once the first key is revoked');
      assert.doesNotMatch(spent.text, /ey[A-Za-z0-9]/);
      assert.notEqual((await issue(aKey(), added.body.api_key)).body.token_id, first.body.token_id);
    },
  );

  await t.test('by a revoked key is 401 and gets no token', async () => {
    const agent = await createAgent();
    const key = aKey();
    assert.equal((await issue(key, agent.key)).status, 200);
    await sql('update api_keys set revoked_at = now() where key_id = $1', [agent.keyId]);
    const refused = await issue(key, agent.key);
    assertRefused(refused, { status: 401, code: 'AUTH_INVALID_KEY' });
    assert.doesNotMatch(refused.text, /ey[A-Za-z0-9]/);
  });

  await t.test('by an expired key, or of a revoked principal, is 401', async () => {
    const [one, other] = [await createAgent(), await createAgent()];
    const key = aKey();
    for (const agent of [one, other]) assert.equal((await issue(key, agent.key)).status, 200);
    await sql("update api_keys set expires_at = now() - interval '1 s' where key_id = $1", [one.keyId]);
    await sql('update agents set revoked_at = now() where id = $1', [other.id]);
    assertRefused(await issue(key, one.key), { status: 401, code: 'AUTH_EXPIRED_KEY' });
    assertRefused(await issue(key, other.key), { status: 401, code: 'AUTH_INVALID_KEY' });
  });

  await t.test('gets the token only while the operator’s policy allows it', async () => {
    const agent = await createAgent({ policy: { allow: ['*'] } });
    const key = aKey();
    const first = await issue(key, agent.key);
    const change = async (policy: object) => {
      const url = `/v1/agents/${agent.id}`;
      const { status } = await call({ method: 'PATCH', url, key: adminKey, json: { policy } });
      assert.equal(status, 200);
    };
    await change({ allow: [] });
    for (const asked of [key, aKey()]) {
      assertRefused(await issue(asked, agent.key), { status: 403, code: 'POLICY_DENIED' }, asked);
    }
    await change({ allow: ['m/*'] });
    assertSame(await issue(key, agent.key), first);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  for (const [reason, change] of [
    ['expired', "expires_at = clock_timestamp() - interval '1 ms'"],
    ['revoked', 'revoked_at = clock_timestamp()'],
  ] as const) {
    await t.test(`is 409 once the token is ${reason}, and another once ten minutes have passed`, async () => {
      const agent = await createAgent();
      const key = aKey();
      const first = await issue(key, agent.key);
      await sql(`update intent_tokens set ${change} where jti = $1`, [first.body.token_id]);
      const spent = await issue(key, agent.key);
      assertRefused(spent, { ...SPENT, details: { reason } });
      assert.doesNotMatch(spent.text, /ey[A-Za-z0-9]/);
      assert.deepEqual(await countsOf(server, agent), ONE);
      await sql(
        "update idempotency_keys set created_at = now() - interval '11 minutes' where agent_id = $1",
        [agent.id],
      );
      assert.notEqual((await issue(key, agent.key)).body.token_id, first.body.token_id);
    });
  }

  await t.test('is on record each time that it is answered, and each time that it is not', async () => {
    const agent = await createAgent();
    const key = aKey();
    const { token_id: jti } = (await issue(key, agent.key)).body;
    for (let again = 0; again < 2; again += 1) assert.equal((await issue(key, agent.key)).status, 200);
    await sql('update intent_tokens set revoked_at = clock_timestamp() where jti = $1', [jti]);
    assertRefused(await issue(key, agent.key), SPENT);
    const written = await sql(
      'select event_type as type, actor_id as actor, metadata from audit_events where resource_id = $1 order by id',
      [jti],
    );
    const repeated = {
      type: 'intent.repeated',
      actor: agent.id,
      metadata: { key_id: agent.keyId, issued_to: agent.keyId },
    };
    const denied = {
      type: 'intent.denied',
      actor: agent.id,
      metadata: { code: SPENT.code, reason: 'revoked', credential: agent.keyId },
    };
    assert.deepEqual(written.slice(1), [repeated, repeated, denied]);
  });

  await t.test('gets the same token until ten minutes have passed, and then another', async () => {
    const agent = await createAgent();
    const key = aKey();
    const first = await issue(key, agent.key);
    const age = (interval: string) =>
      sql(
        `update idempotency_keys set created_at = clock_timestamp() - interval '${interval}' where agent_id = $1`,
        [agent.id],
      );
    await age('9 minutes 30 seconds');
    assertSame(await issue(key, agent.key), first);
    await age('10 minutes');
    const second = await issue(key, agent.key);
    assert.equal(second.status, 200);
    assert.notEqual(second.body.token_id, first.body.token_id);
    assertSame(await issue(key, agent.key), second, 'from then on the new one');
    assert.deepEqual(await countsOf(server, agent), { tokens: 2, keys: 1, events: 2 });
  });

  await t.test('once ten minutes have passed takes other bytes as well', async () => {
    const agent = await createAgent();
    const key = aKey();
    await issue(key, agent.key);
    const dry = { raw: BODY.replace('{', '{"dry_run":true,') };
    assertRefused(await issue(key, agent.key, dry), REUSED);
    await sql("update idempotency_keys set created_at = now() - interval '11 minutes' where agent_id = $1", [
      agent.id,
    ]);
    assert.equal((await issue(key, agent.key, dry)).status, 200);
    assert.equal((await issue(key, agent.key, { raw: `${BODY} ` })).status, 200);
    assertRefused(await issue(key, agent.key), REUSED);
  });

  await t.test('keeps neither the token nor the body', async () => {
    const agent = await createAgent();
    const { body } = await issue(aKey(), agent.key);
    const [row] = await sql<{ text: string }>(
      'select row_to_json(held)::text as text from idempotency_keys held where agent_id = $1',
      [agent.id],
    );
    const kept = row?.text ?? '';
    assert.ok(kept.includes(body.token_id));
    for (const part of body.token.split('.')) assert.ok(!kept.includes(part));
    assert.ok(!kept.includes('look'));
  });
});

test('another request under the same key', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { createAgent } = server;
  const issue = issuing(server);
  const parsed = JSON.parse(BODY) as Record<string, unknown>;

  const others: Readonly<Record<string, string>> = {
    'another plan': JSON.stringify({ ...parsed, plan: { steps: [{ action: 'other' }] } }),
    'another validity': JSON.stringify({ ...parsed, expires_in: 301 }),
    'another policy': JSON.stringify({ ...parsed, policy: { allow: ['*'] } }),
    'other metadata': JSON.stringify({ ...parsed, metadata: { run: 2 } }),
    'a member more that is never stored': JSON.stringify({ ...parsed, prompt: 'p' }),
    'a blank behind it': `${BODY} `,
    'white space inside': JSON.stringify(parsed, null, 1),
    'members in another order': JSON.stringify(Object.fromEntries(Object.entries(parsed).toReversed())),
    'the same number written otherwise': BODY.replace('300', '3e2'),
    'the same text escaped': BODY.replace('"look"', '"l\\u006fok"'),
    'a denied plan': JSON.stringify({ ...parsed, policy: { allow: [] } }),
    'a dry run': JSON.stringify({ ...parsed, dry_run: true }),
    'a dry run of another plan': JSON.stringify({ plan: { steps: [{ action: 'other' }] }, dry_run: true }),
    'a dry run of a denied plan': JSON.stringify({ ...parsed, policy: { allow: [] }, dry_run: true }),
  };
  for (const [what, raw] of Object.entries(others)) {
    await t.test(`is 409, with ${what}, and changes nothing`, async () => {
      const agent = await createAgent();
      const key = aKey();
      const first = await issue(key, agent.key);
      assert.equal(first.status, 200, first.text);
      assert.notEqual(raw, BODY);
      const refused = await issue(key, agent.key, { raw });
      assertRefused(refused, REUSED);
      assert.ok(!refused.text.includes(first.body.token_id));
      assertSame(await issue(key, agent.key), first, 'the first is still answered');
      assert.deepEqual(await countsOf(server, agent), ONE);
    });
  }

  await t.test('at the same time: one of them wins, and only its bytes are answered', async () => {
    const agent = await createAgent();
    const key = aKey();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        issue(key, agent.key, { raw: index % 2 === 0 ? BODY : `${BODY} ` }),
      ),
    );
    const granted = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ status }) => status !== 200);
    assert.deepEqual([granted.length, refused.length], [10, 10]);
    assert.equal(new Set(granted.map(({ text }) => text)).size, 1);
    for (const answer of refused) assertRefused(answer, REUSED);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });
});

test('what is not remembered', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { call, createAgent, adminKey } = server;
  const issue = issuing(server);

  await t.test('a request that a policy denied may succeed later under its key', async () => {
    const agent = await createAgent({ policy: { allow: [] } });
    const key = aKey();
    assertRefused(await issue(key, agent.key), { status: 403, code: 'POLICY_DENIED' });
    assert.deepEqual(await countsOf(server, agent), { tokens: 0, keys: 0, events: 0 });
    const json = { policy: null };
    await call({ method: 'PATCH', url: `/v1/agents/${agent.id}`, key: adminKey, json });
    assert.equal((await issue(key, agent.key)).status, 200);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  await t.test('a request that is not acceptable may be mended under its key', async () => {
    const agent = await createAgent();
    const key = aKey();
    for (const [raw, code] of [
      ['{', 'INVALID_JSON'],
      ['{}', 'INVALID_PLAN'],
      ['{"plan":{"steps":[]}}', 'INVALID_PLAN'],
      ['{"plan":{"steps":[{"action":"a"}]},"expires_in":0}', 'INVALID_TTL'],
      ['{"plan":{"steps":[{"action":"a","n":9007199254740993}]}}', 'PLAN_NOT_CANONICALIZABLE'],
      ['{"plan":{"steps":[{"action":"a"}]},"x":1}', 'VALIDATION_ERROR'],
    ] as const) {
      assertRefused(await issue(key, agent.key, { raw }), { status: 400, code }, raw);
    }
    assert.equal((await issue(key, agent.key)).status, 200);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  await t.test('a dry run leaves no trace', async () => {
    const agent = await createAgent();
    const key = aKey();
    const raw = BODY.replace('{', '{"dry_run":true,');
    const first = await issue(key, agent.key, { raw });
    assertSame(await issue(key, agent.key, { raw }), first);
    assert.equal((await issue(key, agent.key, { raw: `${raw} ` })).status, 200, 'it took no key');
    assert.deepEqual(await countsOf(server, agent), { tokens: 0, keys: 0, events: 0 });
    const issued = await issue(key, agent.key);
    assert.match(issued.body.token, /^eyJ/);
    assert.deepEqual(await countsOf(server, agent), ONE);
    assertRefused(await issue(key, agent.key, { raw }), REUSED, 'now the key says something else');
    for (const elsewhere of [{ url: '/iap/sdk/token' }, { headers: { 'idempotency-key': aKey() } }]) {
      assert.equal((await issue(key, agent.key, { raw, ...elsewhere })).status, 200);
    }
    assertSame(await issue(key, agent.key), issued);
  });
});

test('the header', { skip: postgresSkip }, async (t) => {
  const server = await buildTestApp(t);
  const { call, createAgent, adminKey } = server;
  const issue = issuing(server);

  await t.test(
    'is 1 to 128 printable ASCII characters without blanks, else 400 and nothing is issued',
    async () => {
      const agent = await createAgent();
      for (const url of ['/token/issue', '/iap/sdk/token']) {
        for (const key of [
          '',
          'x'.repeat(129),
          'a b',
          ' ',
          'a\tb',
          'caf\u00e9',
          '\u007f',
          'x'.repeat(5000),
        ]) {
          const answer = await issue(key, agent.key, { url });
          assertRefused(
            answer,
            { status: 400, code: 'VALIDATION_ERROR', details: { header: 'Idempotency-Key' } },
            JSON.stringify(key.slice(0, 20)),
          );
        }
      }
      assert.deepEqual(await countsOf(server, agent), { tokens: 0, keys: 0, events: 0 });
      for (const key of [
        '!',
        '~',
        'x'.repeat(128),
        `"${aKey()}"`,
        "'; drop table idempotency_keys; --".replaceAll(' ', ''),
      ]) {
        const first = await issue(key, agent.key);
        assertSame(await issue(key, agent.key), first, key);
      }
    },
  );

  await t.test('is another key in another case', async () => {
    const agent = await createAgent();
    const first = await issue('Some-Key', agent.key);
    const second = await issue('some-key', agent.key);
    assert.notEqual(first.body.token_id, second.body.token_id);
  });

  await t.test('changes nothing on other endpoints, whatever it is', async () => {
    const agent = await createAgent();
    const { token } = (await issue(aKey(), agent.key)).body;
    for (const value of ['same', 'same', 'not a key', '']) {
      const headers = { 'idempotency-key': value };
      const verified = await call<{ code: string }>({
        method: 'POST',
        url: '/token/verify',
        json: { token },
        headers,
      });
      assert.equal(verified.body.code, 'VALID');
      assert.equal((await call({ method: 'GET', url: '/v1/me', key: agent.key, headers })).status, 200);
    }
    const create = (name: string) =>
      call({
        method: 'POST',
        url: '/v1/agents',
        key: adminKey,
        json: { name },
        headers: { 'idempotency-key': 'one' },
      });
    assert.equal((await create('made-once')).status, 201);
    assertRefused(await create('made-once'), { status: 409, code: 'ALREADY_EXISTS' });
    assert.equal((await create('made-twice')).status, 201);
    const keys = await server.sql(
      "select 1 from idempotency_keys where path not in ('/token/issue', '/iap/sdk/token')",
    );
    assert.deepEqual(keys, []);
  });
});

test('between processes and over time', { skip: postgresSkip }, async (t) => {
  const kek = createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex'));

  /** A first process that issued under a key, and the next one on its database. */
  async function issuedBefore(t: Parameters<typeof buildTestApp>[0]) {
    const server = await buildTestApp(t);
    const agent = await server.createAgent();
    const key = aKey();
    const first = await issuing(server)(key, agent.key);
    assert.equal(first.status, 200, first.text);
    const next = async () => issuing(await openTestApp(t, server.databaseUrl));
    return { server, agent, key, first, next };
  }
  const rotate = async ({ sql }: TestApp): Promise<void> => {
    const { kid, publicKey, wrappedPrivateKey, kekId } = generateSigningKey(kek);
    await sql("update signing_keys set state = 'retiring' where state = 'active'");
    await sql(
      "insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state) values ($1, $2, $3, $4, 'active')",
      [kid, Buffer.from(publicKey), Buffer.from(wrappedPrivateKey), kekId],
    );
    await resealRows(sql, 'signing_keys');
  };

  await t.test('another process answers with the same token', async (t) => {
    const { server, agent, key, first, next } = await issuedBefore(t);
    assertSame(await (await next())(key, agent.key), first);
    assertRefused(await (await next())(key, agent.key, { raw: `${BODY} ` }), REUSED);
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  await t.test(
    'a signing key rotated in between: the same token under the old key, a new one under the new',
    async (t) => {
      const { server, agent, key, first, next } = await issuedBefore(t);
      await rotate(server);
      const issue = await next();
      assertSame(await issue(key, agent.key), first);
      const kidOf = ({ body }: TestAnswer<Issued>) =>
        JSON.parse(Buffer.from(body.token.split('.')[0] ?? '', 'base64url').toString()).kid as string;
      assert.notEqual(kidOf(await issue(aKey(), agent.key)), kidOf(first));
    },
  );

  await t.test('a signing key that is gone: 409, never another token', async (t) => {
    const { server, agent, key, next } = await issuedBefore(t);
    await rotate(server);
    await server.sql("delete from signing_keys where state = 'retiring'");
    assertRefused(await (await next())(key, agent.key), { ...SPENT, details: { reason: 'revoked' } });
    assert.deepEqual(await countsOf(server, agent), ONE);
  });

  await t.test('issuer and audience changed in between: the same token, as it was signed', async (t) => {
    const { server, agent, key, first, next } = await issuedBefore(t);
    await server.sql("update settings set value = 'https://moved.example' where name = 'issuer_url'");
    await server.sql("update settings set value = 'elsewhere' where name = 'token_audience'");
    await resealRows(server.sql, 'settings');
    const issue = await next();
    assertSame(await issue(key, agent.key), first);
    const later = await issue(aKey(), agent.key);
    const claims = JSON.parse(Buffer.from(later.body.token.split('.')[1] ?? '', 'base64url').toString());
    assert.deepEqual([claims.iss, claims.aud], ['https://moved.example', 'elsewhere']);
  });

  await t.test('a record that does not make the token that it names: 409, never another token', async (t) => {
    for (const [change, refused] of [
      ["jwt_sha256 = repeat('0', 64)", REUSED],
      ["key_id = '0123456789abcdef'", SPENT],
      ["expires_at = expires_at + interval '1 day'", REUSED],
    ] as const) {
      const { server, agent, key } = await issuedBefore(t);
      await server.sql(`update idempotency_keys set ${change}`);
      assertRefused(await issuing(server)(key, agent.key), refused, change);
      assert.deepEqual(await countsOf(server, agent), ONE);
    }
  });

  await t.test(
    'a process that holds the key too long: 503 BUSY, nothing issued, and then a token',
    async (t) => {
      const server = await buildTestApp(t, {}, { lockMs: 250 });
      const agent = await server.createAgent();
      const key = aKey();
      const other = new pg.Client({ connectionString: server.databaseUrl });
      await other.connect();
      try {
        await other.query('begin');
        await other.query(
          `insert into idempotency_keys (agent_id, path, key, body_sha256, jwt_sha256, jti, plan_id, key_id, kid, iss, aud, issued_at, expires_at)
         values ($1, '/token/issue', $2, '', '', gen_random_uuid(), gen_random_uuid(), '', '', '', '', now(), now())`,
          [agent.id, key],
        );
        const answer = await issuing(server)(key, agent.key);
        assertRefused(answer, { status: 503, code: 'BUSY' });
        assert.match(answer.headers['retry-after'] ?? '', /^[1-9]\d*$/);
        assert.deepEqual(await countsOf(server, agent), { tokens: 0, keys: 0, events: 0 });
        await other.query('rollback');
      } finally {
        await other.end();
      }
      assert.equal((await issuing(server)(key, agent.key)).status, 200);
      assert.deepEqual(await countsOf(server, agent), ONE);
    },
  );

  await t.test('a sweep removes rows of ten minutes and more, and no others', async (t) => {
    const server = await buildTestApp(t);
    const agent = await server.createAgent();
    const issue = issuing(server);
    const [fresh, nearly, old, older] = [aKey(), aKey(), aKey(), aKey()];
    const first = await issue(fresh, agent.key);
    for (const key of [nearly, old, older]) await issue(key, agent.key);
    for (const [key, interval] of [
      [nearly, '9 minutes'],
      [old, '10 minutes'],
      [older, '3 days'],
    ] as const) {
      await server.sql('update idempotency_keys set created_at = now() - $1::interval where key = $2', [
        interval,
        key,
      ]);
    }
    await sweep(server.database, { retentionDays: 30 });
    const left = await server.sql<{ key: string }>('select key from idempotency_keys');
    assert.deepEqual(left.map(({ key }) => key).sort(), [fresh, nearly].sort());
    assert.deepEqual(await countsOf(server, agent), { tokens: 4, keys: 2, events: 4 });
    assertSame(await issue(fresh, agent.key), first);
  });
});
