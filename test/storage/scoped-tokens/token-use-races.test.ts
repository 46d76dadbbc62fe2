/**
 * A token opens secrets exactly as often as it says: readers on two server processes are raced for the last uses, and
 * many requests are put through one process's queue.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createSecretUses } from '../../../src/storage/secrets/secret-use-store.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { storedAgent } from '../builders.ts';
import { rows } from '../opened.ts';
import { aTokenUse, storedSecret, storedToken } from '../secret-builders.ts';
import {
  type Asked,
  anAgentWith,
  aSecretOf,
  assertNamespacesCounted,
  aTokenOf,
  bookOf,
  openSite,
  type Reply,
  type Site,
  type TokenOfTest,
  tally,
  toPut,
  toRead,
} from '../secrets/secret-books.ts';

const READERS = 64;
const SCOPES = ['secrets:read:*', 'secrets:write:*'];

/** The answers to one token: as many values as it may give out, the rest refused, and the books say the same. */
async function assertExactly(site: Site, token: TokenOfTest, replies: readonly Reply[], values: number) {
  const refused = replies.length - values;
  assert.deepEqual(tally(replies), {
    ...(values > 0 ? { '200': values } : {}),
    ...(refused > 0 ? { '401 TOKEN_EXHAUSTED': refused } : {}),
  });
  const given = replies.filter(({ status }) => status === 200);
  assert.ok(replies.every(({ status, text }) => (status === 200) === text.includes('a value of its own')));
  assert.deepEqual(await bookOf(site, token.id), {
    uses: values,
    maxUses: token.maxUses,
    reads: values,
    requestIds: given.map(({ requestId }) => requestId).sort(),
  });
}

test('two processes and the uses of a limited token', { skip: postgresSkip }, async (t) => {
  const site = await openSite(t);
  const agent = await anAgentWith(site, SCOPES);
  const { path } = await aSecretOf(site, { value: 'a value of its own' });
  const limitedTo = (maxUses: number) => aTokenOf(site, agent.key, { scopes: ['secrets:read:*'], maxUses });

  for (const maxUses of [1, 2, 7]) {
    for (let round = 1; round <= RACE_ROUNDS; round += 1) {
      await t.test(
        `round ${round}: of ${READERS} readers exactly ${maxUses} get the value, and the rest learn why not`,
        async () => {
          const token = await limitedTo(maxUses);
          const replies = await site.race(READERS, () => toRead(path, token.text));
          await assertExactly(site, token, replies, maxUses);
        },
      );
    }
  }

  await t.test('64 requests through one process’s queue for 40 uses: 40 values and 40 events', async () => {
    for (const process of [0, 1]) {
      const token = await limitedTo(40);
      const asked = Array.from({ length: READERS }, () => site.ask(toRead(path, token.text), process));
      await assertExactly(site, token, await Promise.all(asked), 40);
    }
  });

  await t.test('a token for as many uses as there are readers refuses none of them', async () => {
    const token = await limitedTo(READERS);
    await assertExactly(site, token, await site.race(READERS, () => toRead(path, token.text)), READERS);
  });

  await t.test('several limited tokens and unlimited ones at once: each has its own count', async () => {
    const limits = [1, 2, 7, 11, undefined, undefined];
    const tokens = await Promise.all(
      limits.map((maxUses) => aTokenOf(site, agent.key, { scopes: ['secrets:read:*'], maxUses })),
    );
    // Neighbours ask with different tokens, and every token through both processes.
    const perToken = 16;
    const asking = (index: number): TokenOfTest => tokens[index % tokens.length] ?? assert.fail();
    const replies = await Promise.all(
      Array.from({ length: perToken * tokens.length }, async (_, index) => ({
        token: asking(index),
        reply: await site.ask(toRead(path, asking(index).text), Math.floor(index / tokens.length)),
      })),
    );
    for (const token of tokens) {
      const own = replies.filter((each) => each.token === token).map(({ reply }) => reply);
      assert.equal(own.length, perToken);
      if (token.maxUses !== undefined) await assertExactly(site, token, own, token.maxUses);
      else {
        assert.deepEqual(tally(own), { '200': perToken });
        const { uses, reads } = await bookOf(site, token.id);
        assert.deepEqual([uses, reads], [0, perToken], 'nothing is counted where nothing is limited');
      }
    }
  });

  await t.test('lists, reads and refusals of one token at once: only what was given counts', async () => {
    const token = await aTokenOf(site, agent.key, {
      scopes: [`secrets:read:${path.split('/')[0]}/*`],
      maxUses: 9,
    });
    const kinds: readonly Asked[] = [
      toRead(path, token.text),
      { method: 'GET', path: `/v1/secrets/${path.split('/')[0]}`, by: token.text },
      toRead(`${path.split('/')[0]}/ABSENT`, token.text),
      toRead('elsewhere/KEY', token.text),
      toRead('..%2Fa/KEY', token.text),
    ];
    const replies = await site.race(
      60,
      (index) => kinds[Math.floor(index / 2) % kinds.length] ?? assert.fail(),
    );
    const given = replies.filter(({ status }) => status === 200);
    assert.equal(given.length, 9);
    const refused = Object.keys(tally(replies)).filter((name) => name !== '200');
    const documented = [
      '401 TOKEN_EXHAUSTED',
      '403 SCOPE_DENIED',
      '404 SECRET_NOT_FOUND',
      '400 INVALID_PATH',
    ];
    assert.deepEqual(
      refused.filter((name) => !documented.includes(name)),
      [],
    );
    const { uses, requestIds } = await bookOf(site, token.id);
    assert.deepEqual([uses, requestIds], [9, given.map(({ requestId }) => requestId).sort()]);
  });

  await t.test('reads and writes of one token never take more uses together than it has', async () => {
    const MAX_USES = 10;
    const token = await aTokenOf(site, agent.key, { scopes: SCOPES, maxUses: MAX_USES });
    const target = await aSecretOf(site);
    const replies = await site.race(48, (index) =>
      index % 4 < 2 ? toRead(target.path, token.text) : toPut(target.path, `written ${index}`, token.text),
    );
    const given = replies.filter(({ status }) => status === 200);
    const others = tally(replies.filter(({ status }) => status !== 200));
    assert.deepEqual(
      Object.keys(others).filter((name) => !['401 TOKEN_EXHAUSTED', '503 BUSY'].includes(name)),
      [],
    );
    const first = await bookOf(site, token.id);
    assert.ok(given.length <= MAX_USES);
    assert.deepEqual(
      [first.uses, first.requestIds],
      [given.length, given.map((reply) => reply.requestId).sort()],
    );
    // What the documented BUSY left over is still there, and not one more.
    let more = 0;
    while ((await site.ask(toRead(target.path, token.text))).status === 200) more += 1;
    assert.equal(given.length + more, MAX_USES);
    const last = await bookOf(site, token.id);
    assert.deepEqual([last.uses, last.requestIds.length], [MAX_USES, MAX_USES]);
    const puts = given.filter(({ body }) => !('value' in body)).length;
    const [stored] = await site.sql<{ n: number }>(
      'select count(*)::int as n from secret_versions where secret_id = $1',
      [target.id],
    );
    assert.equal(stored?.n, 1 + puts, 'a write that was refused left no version');
    await assertNamespacesCounted(site);
  });
});

async function twoPools(t: TestContext) {
  const { url } = await createTestDatabase(t);
  const open = async () => {
    const database = await openPatiently(url, 4);
    t.after(() => database.close());
    return database;
  };
  return [await open(), await open()] as const;
}

test('two queues that use the same tokens in opposite orders neither deadlock nor lose a use', {
  skip: postgresSkip,
}, async (t) => {
  const [one, two] = await twoPools(t);
  const agent = await storedAgent(one);
  const secret = await storedSecret(one, agent);
  const limits = [1, 5, 20, 60, 200, undefined];
  const tokens = await Promise.all(
    limits.map((maxUses) => storedToken(one, agent, { maxUses: maxUses ?? null })),
  );
  const backwards = [...tokens].reverse();
  const queues = [createSecretUses(one, TEST_SEALS), createSecretUses(two, TEST_SEALS)];
  const asked = Array.from({ length: 600 }, (_, index) => {
    const order = index % 2 === 0 ? tokens : backwards;
    const token = order[Math.floor(index / 2) % order.length] ?? assert.fail();
    const queue = queues[index % 2] ?? assert.fail();
    return { token, outcome: queue.record(aTokenUse(agent, token, { released: secret.released })) };
  });
  const outcomes = await Promise.all(
    asked.map(async ({ token, outcome }) => ({ token, granted: await outcome })),
  );
  for (const token of tokens) {
    const own = outcomes.filter((each) => each.token === token);
    const given = own.filter(({ granted }) => granted).length;
    assert.equal(given, Math.min(own.length, token.maxUses ?? own.length));
    const [row] = await rows<{ uses: number }>(one, 'select uses from scoped_tokens where id = $1', [
      token.id,
    ]);
    assert.equal(row?.uses, token.maxUses === null ? 0 : given);
    const events = await rows(one, `select 1 from audit_events where metadata ->> 'token_id' = $1`, [
      token.id,
    ]);
    assert.equal(events.length, given);
  }
});
