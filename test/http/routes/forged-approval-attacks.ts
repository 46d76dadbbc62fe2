/** What the owner of a database may write into approvals and their votes past Writ, one entry for each way. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { CreatedAgent, TestAnswer, TestApp } from '../../support/app.ts';
import { resealRows } from '../../support/test-seals.ts';
import type { Attack } from './forged-row-attacks.ts';

/** Of a secret above standard, to whoever was handed no token. */
const NO_TOKEN = { status: 403, code: 'APPROVAL_REQUIRED' };

let made = 0;

interface Asked {
  readonly id: string;
  readonly agent: CreatedAgent;
  readonly approvers: readonly [CreatedAgent, CreatedAgent, CreatedAgent];
  readonly decide: (on: TestApp, as: CreatedAgent, verb?: 'approve' | 'deny') => Promise<TestAnswer>;
  /** What a poll hands over reads the secret; without a token the agent's own key tries. */
  readonly claim: (on: TestApp) => Promise<TestAnswer>;
}

async function asked(app: TestApp, tier: 'sensitive' | 'critical'): Promise<Asked> {
  made += 1;
  const url = `/v1/secrets/asked-${made}/K`;
  const put = { method: 'PUT', url, key: app.adminKey, json: { value: 'v', access_tier: tier } } as const;
  assert.equal((await app.call(put)).status, 201);
  const agent = await app.createAgent({ allowed_scopes: ['secrets:*:*'] });
  const anApprover = () => app.createAgent({ role: 'approver' });
  const json = {
    scopes: [`secrets:read:asked-${made}/K`],
    ttl_seconds: 900,
    max_uses: 5,
    description: 'why',
  };
  const opened = await app.call<{ approval_id: string }>({
    method: 'POST',
    url: '/v1/tokens',
    key: agent.key,
    json,
  });
  assert.equal(opened.status, 202, opened.text);
  const id = opened.body.approval_id;
  return {
    id,
    agent,
    approvers: [await anApprover(), await anApprover(), await anApprover()],
    decide: (on, as, verb = 'approve') =>
      on.call({ method: 'POST', url: `/v1/approvals/${id}/${verb}`, key: as.key, json: {} }),
    claim: async (on) => {
      const poll = { method: 'GET', url: `/v1/approvals/agent/${id}`, key: agent.key } as const;
      const polled = await on.call<{ token?: string }>(poll);
      if (polled.status !== 200) return polled;
      const { token } = polled.body;
      if (token === undefined) return on.call({ method: 'GET', url, key: agent.key });
      return on.call({ method: 'GET', url, headers: { authorization: `Bearer ${token}` } });
    },
  };
}

const ok = async (answer: Promise<TestAnswer>): Promise<void> => {
  const { status, text } = await answer;
  assert.ok(status < 300, text);
};

/** As time would: sealed as Writ would have it. */
async function move(app: TestApp, id: string, set: string): Promise<void> {
  await app.sql(`update approvals set ${set} where id = $1`, [id]);
  await resealRows(app.sql, 'approvals', 'id = $1', [id]);
}

const PAST = `clock_timestamp() - interval '1 second'`;

/** One `update` of the row of an approval; the probe polls for its token. */
const approvalAttack = (
  columns: readonly string[],
  what: string,
  set: string,
  options: {
    tier?: 'sensitive' | 'critical';
    /** Default: everybody that it takes has voted, and a delay runs. */
    before?: (app: TestApp, asked: Asked) => Promise<void>;
    /** Tries to decide it as well. */
    decides?: true;
    /** The digest stops it as well. */
    control?: false;
  } = {},
): Attack => ({
  table: 'approvals',
  columns,
  what,
  prepare: async (app) => {
    const it = await asked(app, options.tier ?? 'critical');
    const { id, approvers, claim, decide } = it;
    const [maria, noor, olga] = approvers;
    if (options.before !== undefined) await options.before(app, it);
    else for (const approver of [maria, noor]) await ok(decide(app, approver));
    return {
      forge: () => app.sql(`update approvals set ${set} where id = $1`, [id]),
      probe: async (on) => {
        if (options.decides === true) {
          const decided = await decide(on, olga);
          if (decided.status !== 200) return decided;
        }
        return claim(on);
      },
      forged: options.control === false ? undefined : ['id = $1', [id]],
    };
  },
});

/** With the end of the delay: what was asked for is bound by the digest too. */
const edited = (column: string, set: string): Attack =>
  approvalAttack([column], `another ${column}`, `${set}, effective_at = ${PAST}`, { control: false });

/**
 * An approval in effect, past its delay, that a vote less keeps shut: that of an approver whose key was revoked and who has
 * another one. `forge` gives it a vote.
 */
const voteAttack = (
  columns: readonly string[],
  what: string,
  forge: (
    app: TestApp,
    on: { id: string; gone: CreatedAgent; other: CreatedAgent; key: string },
  ) => Promise<unknown>,
  /** Where Writ's own seal lets the vote count. */
  control = true,
): Attack => ({
  table: 'approval_votes',
  columns,
  what,
  refused: NO_TOKEN,
  prepare: async (app) => {
    const { id, approvers, decide, claim } = await asked(app, 'critical');
    const [gone, stays, other] = approvers;
    for (const approver of [gone, stays]) await ok(decide(app, approver));
    await move(app, id, `effective_at = ${PAST}`);
    const url = `/v1/agents/${gone.id}/keys`;
    const second = await app.call<{ api_key: string; key_id: string }>({
      method: 'POST',
      url,
      key: app.adminKey,
      json: {},
    });
    assert.equal(second.status, 201, second.text);
    await ok(app.call({ method: 'DELETE', url: `${url}/${gone.keyId}`, key: app.adminKey }));
    return {
      forge: () => forge(app, { id, gone, other, key: second.body.key_id }),
      probe: claim,
      forged: control ? ['approval_id = $1', [id]] : undefined,
    };
  },
});

/** What an administrator does with a voter, through Writ, and what is then written into its row past Writ. */
interface Revival {
  readonly ends: (app: TestApp, voter: CreatedAgent) => Promise<unknown>;
  readonly forge: (app: TestApp, voter: CreatedAgent) => Promise<unknown>;
  /** The forged row, for the control. */
  readonly forged: (voter: CreatedAgent) => readonly [string, readonly unknown[]];
}

const asAdmin = (app: TestApp, url: string): Promise<void> =>
  ok(app.call({ method: 'DELETE', url, key: app.adminKey }));

const ofVoter = (set: string): Pick<Revival, 'forge' | 'forged'> => ({
  forge: (app, { id }) => app.sql(`update agents set ${set} where id = $1`, [id]),
  forged: ({ id }) => ['id = $1', [id]],
});

const ofKey = (set: string): Pick<Revival, 'forge' | 'forged'> => ({
  forge: (app, { keyId }) => app.sql(`update api_keys set ${set} where key_id = $1`, [keyId]),
  forged: ({ keyId }) => ['key_id = $1', [keyId]],
});

const revokeVoter: Revival['ends'] = (app, { id }) => asAdmin(app, `/v1/agents/${id}`);
const revokeKey: Revival['ends'] = (app, { id, keyId }) => asAdmin(app, `/v1/agents/${id}/keys/${keyId}`);

/** A sensitive secret, approved by one vote that then stopped to count: the probe polls for the token. */
const revivedAtClaim = (
  table: 'agents' | 'api_keys',
  columns: readonly string[],
  what: string,
  { ends, forge, forged }: Revival,
): Attack => ({
  table,
  columns,
  what,
  refused: NO_TOKEN,
  prepare: async (app) => {
    const { approvers, decide, claim } = await asked(app, 'sensitive');
    const [voter] = approvers;
    await ok(decide(app, voter));
    await ends(app, voter);
    return { forge: () => forge(app, voter), probe: claim, forged: forged(voter) };
  },
});

/** A critical secret: the vote of whoever is gone is to be one of two, and another approver casts the other. */
const revivedAtVote = (
  table: 'agents' | 'api_keys',
  columns: readonly string[],
  what: string,
  { ends, forge, forged }: Revival,
): Attack => ({
  ...revivedAtClaim(table, columns, what, { ends, forge, forged }),
  prepare: async (app) => {
    const { id, approvers, decide, claim } = await asked(app, 'critical');
    const [voter, stays] = approvers;
    await ok(decide(app, voter));
    await ends(app, voter);
    return {
      forge: () => forge(app, voter),
      probe: async (on) => {
        if ((await app.sql('select 1 from approval_votes where approver_id = $1', [stays.id])).length === 0) {
          // Before the forged row there is nothing to complete.
          const [{ live } = {}] = await app.sql<{ live?: boolean }>(
            `select agent.revoked_at is null and key.revoked_at is null as live
             from agents agent join api_keys key on key.agent_id = agent.id where agent.id = $1`,
            [voter.id],
          );
          if (live === true) {
            await ok(decide(on, stays));
            const [{ effective_at: effectiveAt } = {}] = await app.sql<{ effective_at?: Date | null }>(
              'select effective_at from approvals where id = $1',
              [id],
            );
            assert.equal(effectiveAt, null, 'one vote of two counts');
            await move(app, id, `effective_at = ${PAST}`);
          }
        }
        return claim(on);
      },
      forged: forged(voter),
    };
  },
});

/**
 * A name that an approver would be shown, `before` a decision or a claim; the process that has let the agent in goes on
 * by what it knows of it. The control has the name with a seal of Writ's own.
 */
const renamed = (
  what: string,
  before: (app: TestApp, asked: Asked) => Promise<unknown>,
  probe: (asked: Asked) => (on: TestApp) => Promise<TestAnswer>,
  whose: (asked: Asked) => CreatedAgent = ({ agent }) => agent,
): Attack => ({
  table: 'agents',
  columns: ['name'],
  what,
  opensBefore: true,
  prepare: async (app) => {
    const it = await asked(app, 'sensitive');
    await before(app, it);
    const { id } = whose(it);
    let isForged = false;
    return {
      forge: async () => {
        isForged = true;
        await app.sql(`update agents set name = 'payroll of ' || name where id = $1`, [id]);
      },
      // What is decided once could not be tried again.
      probe: (on) => (isForged ? probe(it)(on) : on.call({ method: 'GET', url: '/health' })),
      forged: ['id = $1', [id]],
    };
  },
});

const NO_SEAL_OF_WRIT = [`'\\x'`, `'\\x00'`, `'\\x${randomBytes(32).toString('hex')}'`];

/** Whose votes count, and who asked: rows on which an approval stands. */
const PRINCIPAL_ATTACKS: readonly Attack[] = [
  renamed(
    'another name of the agent that asked, at a vote',
    async () => undefined,
    ({ decide, approvers: [maria] }) =>
      (on) =>
        decide(on, maria),
  ),
  renamed(
    'another name of the agent that asked, at a denial',
    async () => undefined,
    ({ decide, approvers: [maria] }) =>
      (on) =>
        decide(on, maria, 'deny'),
  ),
  renamed(
    'another name of the agent that asked, at the claim',
    (app, { decide, approvers: [maria] }) => ok(decide(app, maria)),
    ({ claim }) => claim,
  ),
  {
    ...renamed(
      'another name of a voter, at the claim',
      (app, { decide, approvers: [maria] }) => ok(decide(app, maria)),
      ({ claim }) => claim,
      ({ approvers: [maria] }) => maria,
    ),
    refused: NO_TOKEN,
  },
  ...NO_SEAL_OF_WRIT.flatMap((seal) => [
    revivedAtVote('agents', ['revokedAt', 'seal'], `a voter revived with ${seal}, at the next vote`, {
      ends: revokeVoter,
      ...ofVoter(`revoked_at = null, seal = ${seal}`),
    }),
    revivedAtClaim('agents', ['revokedAt', 'seal'], `a voter revived with ${seal}, at the claim`, {
      ends: revokeVoter,
      ...ofVoter(`revoked_at = null, seal = ${seal}`),
    }),
    revivedAtClaim('api_keys', ['revokedAt', 'seal'], `the key of a vote revived with ${seal}`, {
      ends: revokeKey,
      ...ofKey(`revoked_at = null, seal = ${seal}`),
    }),
  ]),
  revivedAtVote('api_keys', ['revokedAt', 'seal'], 'the key of a vote revived, at the next vote', {
    ends: revokeKey,
    ...ofKey(`revoked_at = null, seal = '\\x00'`),
  }),
  revivedAtClaim('agents', ['role'], 'a voter who is an approver again', {
    ends: async (app, { id }) => {
      await app.sql(`update agents set role = 'agent' where id = $1`, [id]);
      await resealRows(app.sql, 'agents', 'id = $1', [id]);
    },
    ...ofVoter(`role = 'approver'`),
  }),
  revivedAtClaim('api_keys', ['expiresAt'], 'the key of a vote, expired, that lives on', {
    ends: async (app, { keyId }) => {
      await app.sql(`update api_keys set expires_at = ${PAST} where key_id = $1`, [keyId]);
      await resealRows(app.sql, 'api_keys', 'key_id = $1', [keyId]);
    },
    ...ofKey(`expires_at = clock_timestamp() + interval '1 day'`),
  }),
  revivedAtClaim('api_keys', ['keyId', 'agentId', 'hash'], 'the key of a vote, deleted, written anew', {
    ends: (app, { keyId }) => app.sql('delete from api_keys where key_id = $1', [keyId]),
    ...ofKey(''),
    forge: (app, { id, keyId }) =>
      app.sql(
        `insert into api_keys (key_id, agent_id, prefix, hash, seal) values ($1, $2, 'x', 'x', '\\x')`,
        [keyId, id],
      ),
  }),
];

const INSERT_VOTE =
  'insert into approval_votes (approval_id, approver_id, key_id, seal) values ($1, $2, $3, $4)';

export const APPROVAL_ATTACKS: readonly Attack[] = [
  approvalAttack(['effectiveAt'], 'a delay that is skipped', `effective_at = ${PAST}`),
  approvalAttack(['effectiveAt'], 'an effect without votes', `effective_at = ${PAST}`, {
    before: async () => undefined,
    control: false,
  }),
  approvalAttack(['effectiveAt'], 'a time to claim that begins anew', `effective_at = ${PAST}`, {
    tier: 'sensitive',
    before: async (app, { id, decide, approvers: [maria] }) => {
      await ok(decide(app, maria));
      await move(app, id, `effective_at = effective_at - interval '2 days'`);
    },
  }),
  approvalAttack(['expiresAt'], 'more time to decide', `expires_at = clock_timestamp() + interval '1 day'`, {
    tier: 'sensitive',
    before: (app, { id }) => move(app, id, `expires_at = ${PAST}`),
    decides: true,
  }),
  approvalAttack(['deniedAt'], 'a denial taken back', 'denied_at = null, reason = null', {
    tier: 'sensitive',
    before: async (app, { decide, approvers: [maria, noor] }) => {
      await ok(decide(app, maria));
      await ok(decide(app, noor, 'deny'));
    },
  }),
  approvalAttack(['claimedAt'], 'a second claim', 'claimed_at = null, token_id = null', {
    tier: 'sensitive',
    before: async (app, { decide, claim, approvers: [maria] }) => {
      await ok(decide(app, maria));
      await ok(claim(app));
    },
  }),
  approvalAttack(['seal'], 'no seal', `seal = null, effective_at = ${PAST}`),
  approvalAttack(
    ['seal'],
    'a seal of random bytes',
    `effective_at = ${PAST}, seal = '\\x${randomBytes(32).toString('hex')}'`,
  ),
  edited('scopes', `scopes = array['secrets:*:*']`),
  edited('ttlSeconds', 'ttl_seconds = 86400'),
  edited('maxUses', 'max_uses = null'),
  edited('allowedIps', `allowed_ips = array['192.0.2.0/24']`),
  edited('description', `description = 'something else'`),
  edited('tier', `access_tier = 'sensitive'`),
  edited(
    'boundSecrets',
    `bound_secrets = (select array_agg('critical ' || secret.id || ' ' || secret.path) from secrets secret)`,
  ),
  edited('delaySeconds', 'delay_seconds = 0'),
  edited('windowSeconds', 'window_seconds = 86400'),
  edited('requestDigest', `request_digest = repeat('ab', 32)`),
  approvalAttack(['approvalsRequired'], 'fewer votes', `approvals_required = 1, effective_at = ${PAST}`, {
    before: (app, { decide, approvers: [maria] }) => ok(decide(app, maria)),
    control: false,
  }),
  {
    ...approvalAttack(['id'], 'another id', ''),
    prepare: async (app) => {
      const [one, other] = [await asked(app, 'sensitive'), await asked(app, 'sensitive')];
      await ok(one.decide(app, one.approvers[0]));
      return {
        forge: async () => {
          await app.sql('delete from approvals where id = $1', [other.id]);
          await app.sql(
            `insert into approvals select (jsonb_populate_record(old, jsonb_build_object('id', $2::text, 'agent_id', $3::text))).*
             from approvals old where id = $1`,
            [one.id, other.id, other.agent.id],
          );
          await app.sql(
            `insert into approval_votes
             select (jsonb_populate_record(old, jsonb_build_object('approval_id', $2::text))).*
             from approval_votes old where approval_id = $1`,
            [one.id, other.id],
          );
        },
        probe: other.claim,
        forged: undefined,
      };
    },
  },
  {
    ...approvalAttack(['agentId'], 'another agent', ''),
    prepare: async (app) => {
      const [one, other] = [await asked(app, 'sensitive'), await asked(app, 'sensitive')];
      await ok(one.decide(app, one.approvers[0]));
      const url = `/v1/approvals/agent/${one.id}`;
      return {
        forge: () => app.sql('update approvals set agent_id = $2 where id = $1', [one.id, other.agent.id]),
        probe: (on) => on.call({ method: 'GET', url, key: other.agent.key }),
        forged: undefined,
      };
    },
  },
  voteAttack(['seal', 'approverId'], 'a vote in the name of an approver', (app, { id, other }) =>
    app.sql(INSERT_VOTE, [id, other.id, other.keyId, null]),
  ),
  voteAttack(['seal'], 'a vote with the seal of another vote', async (app, { id, other }) => {
    const [{ seal } = {}] = await app.sql<{ seal?: Buffer }>(
      'select seal from approval_votes where approval_id = $1 and seal is not null limit 1',
      [id],
    );
    await app.sql(INSERT_VOTE, [id, other.id, other.keyId, seal]);
  }),
  voteAttack(['approverId', 'keyId'], 'a vote given to another approver', (app, { id, gone, other }) =>
    app.sql(
      'update approval_votes set approver_id = $3, key_id = $4 where approval_id = $1 and approver_id = $2',
      [id, gone.id, other.id, other.keyId],
    ),
  ),
  voteAttack(
    ['keyId'],
    'a vote cast with a key that was revoked, under one that lives',
    (app, { id, gone, key }) =>
      app.sql('update approval_votes set key_id = $3 where approval_id = $1 and approver_id = $2', [
        id,
        gone.id,
        key,
      ]),
  ),
  voteAttack(['keyId'], 'a vote as from before keys were kept', (app, { id, gone }) =>
    app.sql('update approval_votes set key_id = null where approval_id = $1 and approver_id = $2', [
      id,
      gone.id,
    ]),
  ),
  voteAttack(['approvalId'], 'the vote on another approval', async (app, { id, other }) => {
    const another = await asked(app, 'critical');
    await ok(another.decide(app, other));
    await app.sql('update approval_votes set approval_id = $1 where approval_id = $2', [id, another.id]);
  }),
  {
    ...voteAttack(['at'], 'the time of a vote', async () => undefined),
    prepare: async (app) => {
      const { id, approvers, decide, claim } = await asked(app, 'critical');
      for (const approver of approvers.slice(0, 2)) await ok(decide(app, approver));
      return {
        forge: async () => {
          await app.sql(`update approval_votes set at = at - interval '1 day' where approval_id = $1`, [id]);
          await move(app, id, `effective_at = ${PAST}`);
        },
        probe: claim,
        forged: ['approval_id = $1', [id]],
      };
    },
  },
  ...PRINCIPAL_ATTACKS,
];
