/** Approvals raced: two server processes on one database, and orders that a test makes with locks that it holds. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { assertRefused, buildTestApp, errorOf, type TestAnswer } from '../../support/app.ts';
import { RACE_ROUNDS } from '../../support/effort.ts';
import { type Answer, errorCodeOf, until } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { startTwoServers } from '../../support/two-servers.ts';

const POLLS = 20;
const TOKEN = /ast_tok_[A-Za-z0-9_-]{43}/g;

interface Decided {
  readonly status: string;
  readonly approvals: readonly unknown[];
  readonly effective_at: string | null;
}

const bodyOf = <Body>({ text }: Answer): Body => JSON.parse(text) as Body;

test('two processes', { skip: postgresSkip }, async (t) => {
  const { adminKey, database, speaker } = await startTwoServers(t, { CRITICAL_DELAY_SECONDS: '0' });
  /** With a scoped token. */
  const bearer = speaker(undefined);
  const admin = speaker(adminKey);
  const made = async (body: object) => {
    const answer = await admin(0, 'POST', '/v1/agents', body);
    assert.equal(answer.status, 201, answer.text);
    const { id, api_key: key } = bodyOf<{ id: string; api_key: string }>(answer);
    const ask = speaker(key);
    // Both know the key before any race begins.
    for (const index of [0, 1]) assert.equal((await ask(index, 'GET', '/v1/me')).status, 200);
    return { id, ask };
  };
  const people = [];
  for (const name of ['maria', 'noor', 'olga']) people.push((await made({ name, role: 'approver' })).ask);
  const [maria, noor, olga] = people as [typeof admin, typeof admin, typeof admin];
  const { ask: agent } = await made({ name: 'deployer', allowed_scopes: ['secrets:*:*'] });
  const secret = { value: 'v', access_tier: 'critical' };
  assert.equal((await admin(0, 'PUT', '/v1/secrets/prod/CRITICAL', secret)).status, 201);

  const opened = async (
    ask = agent,
    asked: object = { require_approval: true, scopes: ['secrets:read:a/b'] },
  ) => {
    const answer = await ask(0, 'POST', '/v1/tokens', asked);
    assert.equal(answer.status, 202, answer.text);
    return bodyOf<{ approval_id: string }>(answer).approval_id;
  };
  const count = async (text: string, values: readonly unknown[]) =>
    (await database.query<{ n: number }>(`select count(*)::int as n from ${text}`, [...values])).rows[0]?.n;
  const books = async (id: string) => ({
    tokens: await count('scoped_tokens where approval_id = $1', [id]),
    votes: await count('approval_votes where approval_id = $1', [id]),
    granted: await count(`audit_events where resource_id = $1 and event_type = 'approval.granted'`, [id]),
    denied: await count(`audit_events where resource_id = $1 and event_type = 'approval.denied'`, [id]),
    claimed: await count(`audit_events where resource_id = $1 and event_type = 'approval.claimed'`, [id]),
  });
  const statusOf = async (id: string) => bodyOf<Decided>(await admin(0, 'GET', `/v1/approvals/${id}`)).status;
  const tokensIn = (answers: readonly Answer[]) => answers.flatMap(({ text }) => text.match(TOKEN) ?? []);
  const polls = (id: string, many = POLLS) =>
    Array.from({ length: many }, (_, index) => agent(index, 'GET', `/v1/approvals/agent/${id}`));

  for (let round = 1; round <= RACE_ROUNDS; round += 1) {
    await t.test(`round ${round}: ${POLLS} polls at once are answered with one token`, async () => {
      const id = await opened();
      assert.equal((await maria(round, 'POST', `/v1/approvals/${id}/approve`)).status, 200);
      const answers = await Promise.all(polls(id));
      assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
      const [token = '', ...others] = tokensIn(answers);
      assert.match(token, /^ast_tok_/);
      assert.deepEqual(others, [], 'no other answer holds one');
      for (const { text } of answers) {
        assert.equal((JSON.parse(text) as Decided).status, text.includes(token) ? 'approved' : 'claimed');
      }
      assert.deepEqual(await books(id), { tokens: 1, votes: 1, granted: 1, denied: 0, claimed: 1 });
      // What was handed out is what is stored, and works on both.
      for (const index of [0, 1]) {
        const headers = { authorization: `Bearer ${token}` };
        const answer = await bearer(index, 'POST', '/v1/tokens/introspect', undefined, headers);
        assert.equal(bodyOf<{ active: boolean }>(answer).active, true, answer.text);
      }
    });

    await t.test(
      `round ${round}: denials and polls at once end in one of the two, never in both`,
      async () => {
        const id = await opened();
        await maria(0, 'POST', `/v1/approvals/${id}/approve`);
        const deny = () => [maria, noor].map((ask, index) => ask(index, 'POST', `/v1/approvals/${id}/deny`));
        // Now the one has a start, now the other.
        const [first, second] = round % 2 === 0 ? [deny(), polls(id, 6)] : [polls(id, 6), deny()];
        const [denials, answers] = round % 2 === 0 ? [first, second] : [second, first];
        const tokens = tokensIn(await Promise.all(answers));
        const refused = (await Promise.all(denials)).filter(({ status }) => status !== 200);
        const denied = denials.length - refused.length;
        assert.equal(tokens.length + denied, 1, 'exactly one of them was first');
        for (const answer of refused) {
          assert.deepEqual([answer.status, errorCodeOf(answer)], [409, 'APPROVAL_ALREADY_DECIDED']);
        }
        assert.equal(await statusOf(id), denied === 1 ? 'denied' : 'claimed');
        const { length } = tokens;
        assert.deepEqual(await books(id), { tokens: length, votes: 1, granted: 1, denied, claimed: length });
      },
    );

    await t.test(
      `round ${round}: two approvers at once are two votes, and the third is one too many`,
      async () => {
        const id = await opened(agent, { scopes: ['secrets:read:prod/CRITICAL'] });
        const answers = await Promise.all(
          [maria, noor, olga].map((ask, index) => ask(index + round, 'POST', `/v1/approvals/${id}/approve`)),
        );
        const codes = answers.map((answer) => (answer.status === 200 ? 'voted' : errorCodeOf(answer)));
        assert.deepEqual(codes.sort(), ['APPROVAL_ALREADY_DECIDED', 'voted', 'voted']);
        assert.deepEqual(await books(id), { tokens: 0, votes: 2, granted: 2, denied: 0, claimed: 0 });
        assert.equal(await statusOf(id), 'approved', 'the second vote took effect');
        assert.equal(tokensIn(await Promise.all(polls(id, 4))).length, 1);
      },
    );

    await t.test(`round ${round}: one approver who votes ten times at once has one vote`, async () => {
      const id = await opened(agent, { scopes: ['secrets:read:prod/CRITICAL'] });
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => maria(index, 'POST', `/v1/approvals/${id}/approve`)),
      );
      const codes = answers.map((answer) => (answer.status === 200 ? 'voted' : errorCodeOf(answer)));
      assert.deepEqual(codes.sort(), [...Array<string>(9).fill('APPROVAL_ALREADY_DECIDED'), 'voted']);
      assert.deepEqual(await books(id), { tokens: 0, votes: 1, granted: 1, denied: 0, claimed: 0 });
      assert.equal(await statusOf(id), 'pending');
    });

    await t.test(
      `round ${round}: a vote, a denial and the end of its time at once: one outcome`,
      async () => {
        const id = await opened();
        // As time passes: a row that has expired is not judged, and one that took effect before has a seal that fits.
        const lapse = database
          .query(`begin; update approvals set expires_at = clock_timestamp() where id = '${id}'`)
          .then(() =>
            resealRows(
              async (...query) => (await database.query(query[0], [...query[1]])).rows,
              'approvals',
              'id = $1',
              [id],
            ),
          )
          .then(() => database.query('commit'));
        const [vote, denial] = await Promise.all([
          maria(round, 'POST', `/v1/approvals/${id}/approve`),
          noor(round + 1, 'POST', `/v1/approvals/${id}/deny`),
          lapse,
        ]);
        const [voted, denied] = [vote, denial].map(({ status }) => (status === 200 ? 1 : 0)) as [
          number,
          number,
        ];
        const tokens = tokensIn(await Promise.all(polls(id, 4))).length;
        assert.equal(tokens, voted === 1 && denied === 0 ? 1 : 0, `${vote.text} ${denial.text}`);
        assert.deepEqual(await books(id), { tokens, votes: voted, granted: voted, denied, claimed: tokens });
        assert.equal(await statusOf(id), denied === 1 ? 'denied' : voted === 1 ? 'claimed' : 'expired');
        for (const answer of [vote, denial].filter(({ status }) => status !== 200)) {
          assert.match(
            `${answer.status} ${errorCodeOf(answer)}`,
            /^409 APPROVAL_ALREADY_DECIDED$|^410 APPROVAL_EXPIRED$/,
          );
        }
      },
    );

    await t.test(
      `round ${round}: an approver is revoked while what it approved is claimed: one of the two was first`,
      async () => {
        const { id: approver, ask } = await made({ name: `passing-${round}`, role: 'approver' });
        const id = await opened();
        assert.equal((await ask(0, 'POST', `/v1/approvals/${id}/approve`)).status, 200);
        const revoke = () => admin(round, 'DELETE', `/v1/agents/${approver}`);
        const [answers, revoked] =
          round % 2 === 0
            ? await Promise.all([Promise.all(polls(id, 6)), revoke()])
            : await Promise.all([revoke(), Promise.all(polls(id, 6))]).then(
                ([one, all]) => [all, one] as const,
              );
        assert.equal(revoked.status, 204, revoked.text);
        const tokens = tokensIn(answers).length;
        const claimedBefore = await count(
          `approvals approval join agents agent on agent.id = $2
           where approval.id = $1 and approval.claimed_at < agent.revoked_at`,
          [id, approver],
        );
        assert.equal(tokens, claimedBefore, 'only a claim before the revocation is handed a token');
        assert.equal(await statusOf(id), tokens === 1 ? 'claimed' : 'pending');
        assert.deepEqual(tokensIn(await Promise.all(polls(id, 2))), [], 'and none is after');
      },
    );

    await t.test(
      `round ${round}: an approver is revoked while another votes: its vote is no basis afterwards`,
      async () => {
        const { id: approver, ask } = await made({ name: `leaving-${round}`, role: 'approver' });
        const id = await opened(agent, { scopes: ['secrets:read:prod/CRITICAL'] });
        assert.equal((await ask(0, 'POST', `/v1/approvals/${id}/approve`)).status, 200);
        const [voted, revoked] = await Promise.all([
          maria(round, 'POST', `/v1/approvals/${id}/approve`),
          admin(round + 1, 'DELETE', `/v1/agents/${approver}`),
        ]);
        assert.deepEqual([voted.status, revoked.status], [200, 204]);
        assert.equal(await statusOf(id), 'pending');
        assert.deepEqual(tokensIn(await Promise.all(polls(id, 4))), []);
        assert.equal((await noor(round, 'POST', `/v1/approvals/${id}/approve`)).status, 200);
        assert.equal(tokensIn(await Promise.all(polls(id, 4))).length, 1, 'two who are live');
      },
    );

    await t.test(
      `round ${round}: of secrets that are made while it is asked for, those open that the approver was shown`,
      async () => {
        const write = (name: string) =>
          admin(name.length + round, 'PUT', `/v1/secrets/made-${round}/${name}`, {
            value: 'v',
            access_tier: 'sensitive',
          });
        const make = () => ['A', 'BB', 'C', 'DD', 'E', 'FF'].map(write);
        // Sensitive is what is approved, whichever of the others are made in time.
        assert.equal((await write('0')).status, 201);
        const before = round % 2 === 0 ? make() : [];
        const id = await opened(agent, {
          require_approval: true,
          scopes: [`secrets:read:made-${round}/*`],
        });
        const after = round % 2 === 0 ? [] : make();
        const voting = maria(round, 'POST', `/v1/approvals/${id}/approve`);
        await Promise.all([...before, ...after, voting, write('MADE'), write('LATER')]);
        const { secrets } = bodyOf<{ secrets: readonly { path: string }[] }>(
          await admin(0, 'GET', `/v1/approvals/${id}`),
        );
        const [token = ''] = tokensIn(await Promise.all(polls(id, 1)));
        const opens = [];
        for (const key of ['0', 'A', 'BB', 'C', 'DD', 'E', 'FF', 'LATER', 'MADE']) {
          const path = `made-${round}/${key}`;
          const headers = { authorization: `Bearer ${token}` };
          const answer = await bearer(round, 'GET', `/v1/secrets/${path}`, undefined, headers);
          if (answer.status === 200) opens.push({ path, access_tier: 'sensitive' });
          else assert.equal(errorCodeOf(answer), 'APPROVAL_REQUIRED', answer.text);
        }
        assert.deepEqual(
          opens,
          [...secrets].sort((a, b) => (a.path < b.path ? -1 : 1)),
        );
      },
    );

    await t.test(`round ${round}: of ten requests at once for the last place of 20, one has it`, async () => {
      const { id, ask } = await made({ name: `busy-${round}`, allowed_scopes: ['secrets:*:*'] });
      for (let opening = 1; opening < 20; opening += 1) await opened(ask);
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          ask(index, 'POST', '/v1/tokens', { require_approval: true, scopes: ['secrets:read:a/b'] }),
        ),
      );
      const codes = answers.map((answer) => (answer.status === 202 ? 'opened' : errorCodeOf(answer)));
      assert.deepEqual(codes.sort(), [...Array<string>(9).fill('RATE_LIMITED'), 'opened']);
      assert.equal(await count('approvals where agent_id = $1', [id]), 20);
      assert.equal(
        await count(`audit_events where actor_id = $1 and event_type = 'approval.requested'`, [id]),
        20,
      );
    });
  }
});

/** The most that a test has waiting at once. */
const SESSIONS = 4;

/** One process, whose sessions wait, and a row that the test holds. */
async function heldUp(t: TestContext) {
  const app = await buildTestApp(t, { DATABASE_POOL_MAX: String(SESSIONS), CRITICAL_DELAY_SECONDS: '0' });
  const { call, createAgent, adminKey, sql } = app;
  const secret = { value: 'v', access_tier: 'critical' };
  await call({ method: 'PUT', url: '/v1/secrets/prod/CRITICAL', key: adminKey, json: secret });
  const agent = await createAgent({ allowed_scopes: ['secrets:*:*'] });
  const [maria, noor] = [await createAgent({ role: 'approver' }), await createAgent({ role: 'approver' })];
  const send = (key: string, method: string, url: string, json?: unknown) =>
    call<Record<string, unknown>>({ method, url, key, ...(json === undefined ? {} : { json }) });
  // The keys are known, so that nothing but the approval is waited for.
  for (const { key } of [agent, maria, noor]) assert.equal((await send(key, 'GET', '/v1/me')).status, 200);
  const open = async (scopes: readonly string[]) => {
    const answer = await send(agent.key, 'POST', '/v1/tokens', { require_approval: true, scopes });
    assert.equal(answer.status, 202, answer.text);
    return String(answer.body['approval_id']);
  };
  const holder = new pg.Client({ connectionString: app.databaseUrl });
  holder.on('error', () => undefined);
  await holder.connect();
  t.after(() => holder.end());
  return {
    sql,
    open,
    agent,
    maria,
    noor,
    approve: (by: { key: string }, id: string) => send(by.key, 'POST', `/v1/approvals/${id}/approve`),
    deny: (by: { key: string }, id: string) => send(by.key, 'POST', `/v1/approvals/${id}/deny`),
    poll: (id: string) => send(agent.key, 'GET', `/v1/approvals/agent/${id}`),
    view: async (id: string) => (await send(adminKey, 'GET', `/v1/approvals/${id}`)).body,
    revoke: (id: string) => send(adminKey, 'DELETE', `/v1/agents/${id}`),
    revokeKey: (id: string, keyId: string) => send(adminKey, 'DELETE', `/v1/agents/${id}/keys/${keyId}`),
    revokeOwnKey: (by: { key: string }, keyId: string) =>
      send(by.key, 'POST', `/api-keys/${keyId}/revoke`, {}),
    anotherKey: async (id: string) => {
      const { body } = await send(adminKey, 'POST', `/v1/agents/${id}/keys`);
      return { key: String(body['api_key']), keyId: String(body['id']) };
    },
    /** Runs `asked` against an approval that is held, until all of them wait; then `meanwhile`, then lets go. */
    whileHeld: async <Answers extends readonly Promise<TestAnswer<Record<string, unknown>>>[]>(
      id: string,
      ask: () => Answers,
      meanwhile: (holder: pg.Client) => Promise<unknown> = async () => undefined,
      hold = 'select 1 from approvals where id = $1 for update',
    ) => {
      await holder.query('begin');
      await holder.query(hold, [id]);
      const asked = ask();
      await until('all of them wait', async () => {
        const [row] = await sql<{ n: number }>(
          `select count(*)::int as n from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return row?.n === asked.length;
      });
      await meanwhile(holder);
      await holder.query('commit');
      return Promise.all(asked);
    },
  };
}

const ANY = ['secrets:read:a/b'];
const CRITICAL = ['secrets:read:prod/CRITICAL'];

test('two votes that wait for one another are both counted: the second takes effect', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, view, poll, maria, noor, whileHeld } = await heldUp(t);
  const id = await open(CRITICAL);
  const answers = await whileHeld(id, () => [approve(maria, id), approve(noor, id)]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200],
  );
  const { status, approvals, effective_at: effectiveAt } = await view(id);
  assert.deepEqual([status, (approvals as unknown[]).length], ['approved', 2]);
  assert.notEqual(effectiveAt, null);
  assert.match(String((await poll(id)).body['token']), /^ast_tok_/);
});

test('one approver’s two votes that wait for one another are one', { skip: postgresSkip }, async (t) => {
  const { open, approve, view, maria, whileHeld } = await heldUp(t);
  const id = await open(CRITICAL);
  const answers = await whileHeld(id, () => [approve(maria, id), approve(maria, id)]);
  const codes = answers.map((answer) => (answer.status === 200 ? 'voted' : errorOf(answer).code));
  assert.deepEqual(codes.sort(), ['APPROVAL_ALREADY_DECIDED', 'voted']);
  const { status, approvals } = await view(id);
  assert.deepEqual([status, (approvals as unknown[]).length], ['pending', 1]);
});

test('a vote in the last moment that waits until the time is over is refused', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, deny, view, sql, maria, whileHeld } = await heldUp(t);
  for (const decide of [approve, deny]) {
    const id = await open(ANY);
    // Nobody changes the row while it is waited for: it is the clock alone that goes on.
    await sql(`update approvals set expires_at = clock_timestamp() + interval '700 ms' where id = $1`, [id]);
    await resealRows(sql, 'approvals', 'id = $1', [id]);
    const isOver = async () => {
      const [now] = await sql<{ over: boolean }>(
        'select expires_at <= clock_timestamp() as over from approvals where id = $1',
        [id],
      );
      return now?.over;
    };
    const [answer] = await whileHeld(
      id,
      () => [decide(maria, id)],
      () => until('its time is over', isOver),
    );
    assert.ok(answer !== undefined, 'there was an answer');
    assertRefused(answer, { status: 410, code: 'APPROVAL_EXPIRED' });
    assert.deepEqual([(await view(id))['status'], (await view(id))['effective_at']], ['expired', null]);
  }
});

test('a vote before the end of the time counts, and what is approved does not end with it', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, poll, sql, maria } = await heldUp(t);
  const id = await open(ANY);
  await sql(`update approvals set expires_at = clock_timestamp() + interval '5 minutes' where id = $1`, [id]);
  await resealRows(sql, 'approvals', 'id = $1', [id]);
  assert.equal((await approve(maria, id)).body['status'], 'approved');
  await sql(`update approvals set expires_at = clock_timestamp() - interval '1 second' where id = $1`, [id]);
  await resealRows(sql, 'approvals', 'id = $1', [id]);
  assert.match(String((await poll(id)).body['token']), /^ast_tok_/);
});

test('a poll that waits while the row is edited is handed nothing', { skip: postgresSkip }, async (t) => {
  const { open, approve, poll, sql, maria, whileHeld } = await heldUp(t);
  const id = await open(ANY);
  await approve(maria, id);
  const edit = 'update approvals set scopes = $2, request_digest = $3 where id = $1';
  const [answer] = await whileHeld(
    id,
    () => [poll(id)],
    (holder) => holder.query(edit, [id, ['secrets:*:*'], 'ab'.repeat(32)]),
  );
  assert.ok(answer !== undefined, 'there was an answer');
  assertRefused(answer, { status: 500, code: 'INTEGRITY_ERROR' });
  assert.deepEqual(await sql('select 1 from scoped_tokens where approval_id = $1', [id]), []);
});

test('polls that wait for a denial are handed nothing', { skip: postgresSkip }, async (t) => {
  const { open, approve, poll, sql, maria, whileHeld } = await heldUp(t);
  const id = await open(ANY);
  await approve(maria, id);
  const answers = await whileHeld(
    id,
    () => [poll(id), poll(id)],
    (holder) => holder.query('update approvals set denied_at = clock_timestamp() where id = $1', [id]),
  );
  for (const { body, text } of answers) {
    assert.equal(body['status'], 'denied');
    assert.doesNotMatch(text, TOKEN);
  }
  assert.deepEqual(await sql('select id from scoped_tokens where approval_id = $1', [id]), []);
  assert.deepEqual(await sql(`select id from audit_events where event_type = 'approval.claimed'`), []);
});

test('a denial that waits for a claim is refused', { skip: postgresSkip }, async (t) => {
  const { open, approve, deny, view, maria, whileHeld } = await heldUp(t);
  const id = await open(ANY);
  await approve(maria, id);
  const [answer] = await whileHeld(
    id,
    () => [deny(maria, id)],
    (holder) => holder.query('update approvals set claimed_at = clock_timestamp() where id = $1', [id]),
  );
  assert.ok(answer !== undefined, 'there was an answer');
  assertRefused(answer, { status: 409, code: 'APPROVAL_ALREADY_DECIDED' });
  assert.deepEqual([(await view(id))['status'], (await view(id))['denied_at']], ['claimed', null]);
});

test('a request that is edited while its poll waits is handed out as it was approved, or not at all', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, poll, sql, maria, whileHeld } = await heldUp(t);
  for (const edit of [
    `scopes = array['secrets:*:*']`,
    `access_tier = 'critical'`,
    `bound_secrets = array['critical 0190c0de-0000-7000-8000-00000000000a prod/CRITICAL']`,
    `max_uses = 9`,
    `ttl_seconds = 86400`,
  ]) {
    const id = await open(ANY);
    await approve(maria, id);
    const [answer] = await whileHeld(
      id,
      () => [poll(id)],
      (holder) => holder.query(`update approvals set ${edit} where id = $1`, [id]),
    );
    assert.ok(answer !== undefined, 'there was an answer');
    if (answer.status !== 200) assertRefused(answer, { status: 500, code: 'INTEGRITY_ERROR' }, edit);
    const made = await sql(
      `select scopes, access_tier, bound_secrets, max_uses, extract(epoch from expires_at - created_at)::int as ttl
       from scoped_tokens where approval_id = $1`,
      [id],
    );
    const approved = { scopes: ANY, access_tier: 'standard', bound_secrets: [], max_uses: null, ttl: 3600 };
    assert.deepEqual(made, answer.body['token'] === undefined ? [] : [approved], edit);
  }
});

const REVOKING = 'update agents set revoked_at = clock_timestamp(), revision = revision + 1 where id = $1';
const nothing = async () => undefined;

test('a poll that waits for the revocation of who approved is handed nothing', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, poll, sql, maria, whileHeld } = await heldUp(t);
  const id = await open(ANY);
  await approve(maria, id);
  const [answer] = await whileHeld(maria.id, () => [poll(id)], nothing, REVOKING);
  assert.equal(answer?.body['status'], 'pending', answer?.text);
  assert.deepEqual(await sql('select 1 from scoped_tokens where approval_id = $1', [id]), []);
});

test('a vote that waits for the revocation of who voted before is not the last', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, view, sql, maria, noor, whileHeld } = await heldUp(t);
  const id = await open(CRITICAL);
  await approve(maria, id);
  const [answer] = await whileHeld(maria.id, () => [approve(noor, id)], nothing, REVOKING);
  assert.equal(answer?.status, 200, answer?.text);
  assert.equal((await view(id))['effective_at'], null);
  const [event] = await sql<{ votes: number }>(
    `select (metadata->>'votes')::int as votes from audit_events
     where event_type = 'approval.granted' order by created_at desc limit 1`,
  );
  assert.equal(event?.votes, 1);
});

test('who ends an approver or its key waits for the claim that counts on it', {
  skip: postgresSkip,
}, async (t) => {
  const { open, approve, poll, sql, noor, maria, revoke, revokeKey, revokeOwnKey, anotherKey, whileHeld } =
    await heldUp(t);
  const second = await anotherKey(maria.id);
  const last = await anotherKey(noor.id);
  assert.equal((await revokeOwnKey(second, 'ffffffffffffffff')).status, 404, 'it is known');
  const ends = [
    [maria, () => revokeOwnKey(second, maria.keyId)],
    [second, () => revokeKey(maria.id, second.keyId)],
    [last, () => revoke(noor.id)],
  ] as const;
  for (const [voter, end] of ends) {
    const id = await open(ANY);
    assert.equal((await approve(voter, id)).status, 200);
    // Held like this the claim has its principals, and waits for the approval: what ends them comes after it.
    const [claim, ended] = await whileHeld(id, () => [poll(id), afterThe(sql, end)]);
    assert.match(String(claim?.body['token']), /^ast_tok_/, claim?.text);
    assert.ok([200, 204].includes(ended?.status ?? 0), ended?.text);
    const [books] = await sql<{ first: boolean }>(
      `select claimed_at < (
         select coalesce(key.revoked_at, agent.revoked_at)
         from approval_votes vote join agents agent on agent.id = vote.approver_id
         join api_keys key on key.key_id = vote.key_id where vote.approval_id = approval.id
       ) as first from approvals approval where id = $1`,
      [id],
    );
    assert.equal(books?.first, true, 'the claim was first');
  }
});

/** Once another one waits for a lock. */
async function afterThe<Done>(
  sql: Awaited<ReturnType<typeof heldUp>>['sql'],
  next: () => Promise<Done>,
): Promise<Done> {
  await until('the first of them waits', async () => {
    const [row] = await sql<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return row?.n === 1;
  });
  return next();
}
