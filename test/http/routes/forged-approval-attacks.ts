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
];
