/** Two server processes on one database are raced with one `Idempotency-Key`: one token, one event, one answer. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { type Answer, createClient, errorCodeOf, insist } from '../../support/issuing.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';

const REQUESTS = 24;
const body = (n: number): string =>
  `{"plan":{"goal":"race","steps":[{"action":"look","n":${n}}]},"expires_in":300}`;

test('two processes and one key', { skip: postgresSkip }, async (t) => {
  const { url: databaseUrl } = await createTestDatabase(t);
  const adminKey = generateApiKey().text;
  const env = {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: '5a'.repeat(32),
    BOOTSTRAP_ADMIN_KEY: adminKey,
    ISSUER_URL: 'https://writ.example',
    PORT: '0',
    RATE_LIMIT_MAX: '0',
    LOG_LEVEL: 'warn',
    ACCEPT_UNSAFE_DURABILITY: '1',
  };
  const servers = [await startServer(t, env), await startServer(t, env)];
  const clients = servers.map(({ url }) => createClient(url, adminKey));
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  t.after(() => {
    for (const client of clients) client.close();
    return database.end();
  });
  const counts = async (): Promise<{ tokens: number; events: number; keys: number }> => {
    const { rows } = await database.query(
      `select (select count(*)::int from intent_tokens) as tokens, (select count(*)::int from idempotency_keys) as keys,
         (select count(*)::int from audit_events where event_type = 'intent.issued') as events`,
    );
    return rows[0];
  };
  const race = async (key: string, bodyOf: (index: number) => string): Promise<Answer[]> => {
    const headers = { 'idempotency-key': key };
    const answers = await Promise.all(
      Array.from({ length: REQUESTS }, (_, index) =>
        insist(async () => clients[index % 2]?.send('POST', '/token/issue', bodyOf(index), headers)),
      ),
    );
    return answers.filter((answer) => answer !== undefined);
  };
  // Both know the key before the race begins.
  for (const client of clients) assert.equal((await client.send('GET', '/v1/me'))?.status, 200);

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(`round ${round}: the same request, every answer is the same token`, async () => {
      const before = await counts();
      const answers = await race(`race-${round}`, () => body(round));
      assert.equal(answers.length, REQUESTS);
      assert.deepEqual(
        [...new Set(answers.map(({ status }) => status))],
        [200],
        answers.find(({ status }) => status !== 200)?.text,
      );
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
      const after = await counts();
      assert.deepEqual(after, {
        tokens: before.tokens + 1,
        events: before.events + 1,
        keys: before.keys + 1,
      });
    });

    await t.test(
      `round ${round}: two requests under one key, one wins and the other is refused`,
      async () => {
        const before = await counts();
        const answers = await race(`torn-${round}`, (index) => body(index < REQUESTS / 2 ? 1 : 2));
        assert.equal(answers.length, REQUESTS);
        const granted = answers.filter(({ status }) => status === 200);
        const refused = answers.filter(({ status }) => status !== 200);
        assert.deepEqual([granted.length, refused.length], [REQUESTS / 2, REQUESTS / 2]);
        assert.equal(new Set(granted.map(({ text }) => text)).size, 1);
        for (const answer of refused) {
          assert.deepEqual([answer.status, errorCodeOf(answer)], [409, 'IDEMPOTENCY_KEY_REUSED']);
        }
        const after = await counts();
        assert.deepEqual(after, {
          tokens: before.tokens + 1,
          events: before.events + 1,
          keys: before.keys + 1,
        });
      },
    );
  }

  await t.test(
    'many keys at once, each on both processes: one token each, and nobody is refused',
    async () => {
      const before = await counts();
      const keys = Array.from({ length: 40 }, (_, index) => `many-${index}`);
      const answers = await Promise.all(
        keys.flatMap((key, index) =>
          clients.map(async (client) => {
            const headers = { 'idempotency-key': key };
            const answer = await insist(() => client.send('POST', '/token/issue', body(index), headers));
            return { key, answer };
          }),
        ),
      );
      for (const key of keys) {
        const texts = answers
          .filter((each) => each.key === key)
          .map(({ answer }) => `${answer?.status} ${answer?.text}`);
        assert.equal(new Set(texts).size, 1, texts.join('\n'));
        assert.match(texts[0] ?? '', /^200 /);
      }
      const after = await counts();
      assert.deepEqual(after, {
        tokens: before.tokens + keys.length,
        events: before.events + keys.length,
        keys: before.keys + keys.length,
      });
    },
  );

  await t.test('the header sent twice is no key', async () => {
    const [client] = clients;
    const twice = { 'idempotency-key': ['one', 'two'] } as unknown as Record<string, string>;
    const answer = await client?.send('POST', '/token/issue', body(0), twice);
    assert.ok(answer !== undefined);
    assert.deepEqual([answer.status, errorCodeOf(answer)], [400, 'VALIDATION_ERROR']);
  });
});
