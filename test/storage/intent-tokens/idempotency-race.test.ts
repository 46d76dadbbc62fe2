/**
 * Two server processes on one database are raced with one `Idempotency-Key`: one token, one event, one answer, and none
 * that begins after what it rests on has ended.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RACE_ROUNDS, READS_IN_FLIGHT } from '../../support/effort.ts';
import { type Answer, errorCodeOf } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { startTwoServers } from '../../support/two-servers.ts';

const REQUESTS = 24;
const body = (n: number): string =>
  `{"plan":{"goal":"race","steps":[{"action":"look","n":${n}}]},"expires_in":300}`;

test('two processes and one key', { skip: postgresSkip }, async (t) => {
  const { adminKey, database, speaker } = await startTwoServers(t);
  const owner = speaker(adminKey);
  const counts = async (): Promise<{ tokens: number; events: number; keys: number }> => {
    const { rows } = await database.query(
      `select (select count(*)::int from intent_tokens) as tokens, (select count(*)::int from idempotency_keys) as keys,
         (select count(*)::int from audit_events where event_type = 'intent.issued') as events`,
    );
    return rows[0];
  };
  const race = async (key: string, bodyOf: (index: number) => string): Promise<Answer[]> => {
    const headers = { 'idempotency-key': key };
    return Promise.all(
      Array.from({ length: REQUESTS }, (_, index) =>
        owner(index, 'POST', '/token/issue', bodyOf(index), headers),
      ),
    );
  };
  // Both know the key before the race begins.
  for (const index of [0, 1]) assert.equal((await owner(index, 'GET', '/v1/me')).status, 200);

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
          [0, 1].map(async (server) => {
            const headers = { 'idempotency-key': key };
            return { key, answer: await owner(server, 'POST', '/token/issue', body(index), headers) };
          }),
        ),
      );
      for (const key of keys) {
        const texts = answers
          .filter((each) => each.key === key)
          .map(({ answer }) => `${answer.status} ${answer.text}`);
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

  const created = async (path: string, json: object): Promise<{ id: string; key: string }> => {
    const answer = await owner(0, 'POST', path, json);
    assert.equal(answer.status, 201, answer.text);
    const { id, api_key: key } = JSON.parse(answer.text) as { id: string; api_key: string };
    return { id, key };
  };

  /** An agent with two keys, the first of which has issued a token, and who asks with the second. */
  async function anIssued(key: string) {
    const agent = await created('/v1/agents', { name: key });
    const second = await created(`/v1/agents/${agent.id}/keys`, {});
    const ask = (apiKey: string) => {
      const send = speaker(apiKey);
      return (index: number) => send(index, 'POST', '/token/issue', body(0), { 'idempotency-key': key });
    };
    const issued = await ask(agent.key)(0);
    assert.equal(issued.status, 200, issued.text);
    const { token_id: jti } = JSON.parse(issued.text) as { token_id: string };
    const { rows } = await database.query('select key_id from intent_tokens where jti = $1', [jti]);
    return { agent, jti, keyId: String(rows[0]?.key_id), repeat: ask(second.key), text: issued.text };
  }
  type Issued = Awaited<ReturnType<typeof anIssued>>;

  const endings: Readonly<Record<string, (issued: Issued) => Promise<Answer>>> = {
    'the key that it was issued to': ({ agent, keyId }) =>
      owner(0, 'DELETE', `/v1/agents/${agent.id}/keys/${keyId}`),
    'the token': ({ jti }) => owner(0, 'POST', '/token/revoke', { token_id: jti }),
    'what the policy allows': ({ agent }) =>
      owner(0, 'PATCH', `/v1/agents/${agent.id}`, { policy: { allow: [] } }),
  };
  for (const [what, end] of Object.entries(endings)) {
    await t.test(`no repeat that begins after the end of ${what} is answered`, async () => {
      const issued = await anIssued(`ended-${Object.keys(endings).indexOf(what)}`);
      const { readers, around } = READS_IN_FLIGHT;
      const answered: Answer[] = [];
      const late: Answer[] = [];
      let ending: Promise<void> | undefined;
      let isEnded = false;
      const endNow = async (): Promise<void> => {
        const answer = await end(issued);
        assert.ok(answer.status < 300, answer.text);
        isEnded = true;
      };
      const reader = async (index: number): Promise<void> => {
        while (late.length < around) {
          const beganLate = isEnded;
          const answer = await issued.repeat(index);
          (beganLate ? late : answered).push(answer);
          if (answered.length >= around) ending ??= endNow();
        }
      };
      await Promise.all(Array.from({ length: readers }, (_, index) => reader(index)));
      await ending;
      const granted = answered.filter(({ status }) => status === 200);
      assert.ok(granted.length > 0);
      assert.deepEqual([...new Set(granted.map(({ text }) => text))], [issued.text]);
      for (const { status, text } of late) assert.ok(status === 409 || status === 403, text);
      const { rows } = await database.query(
        "select count(*)::int as n from audit_events where event_type = 'intent.repeated' and resource_id = $1",
        [issued.jti],
      );
      assert.equal(rows[0]?.n, granted.length, 'each that was answered is on record, and no other');
    });
  }

  await t.test('the header sent twice is no key', async () => {
    const twice = { 'idempotency-key': ['one', 'two'] } as unknown as Record<string, string>;
    const answer = await owner(0, 'POST', '/token/issue', body(0), twice);
    assert.deepEqual([answer.status, errorCodeOf(answer)], [400, 'VALIDATION_ERROR']);
  });
});
