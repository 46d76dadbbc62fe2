/** The requester's side of an approval (contract section 7): exactly what was approved, once, and nothing edited. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, errorOf, openTestApp, type TestAnswer } from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { buildApprovalCalls, type PollView } from './approval-calls.ts';

const MINUTE_MS = 60_000;
const TOKEN = /^ast_tok_[A-Za-z0-9_-]{43}$/;
const REQUIRED = { status: 403, code: 'APPROVAL_REQUIRED' };

test('what is claimed', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, poll, opened, view, eventsOf, sql, ask, aSecret, adminKey } = calls;
  const [maria, noor] = approvers;
  const agent = await calls.anAgent('secrets:*:*');
  const tiers = { STANDARD: 'standard', SENSITIVE: 'sensitive', CRITICAL: 'critical' } as const;
  for (const [key, tier] of Object.entries(tiers)) await aSecret(`prod/${key}`, { access_tier: tier });

  /** Approved by as many as it takes, its delay over. */
  const approved = async (asked: Record<string, unknown>, by = agent.key): Promise<string> => {
    const id = await opened(by, asked);
    const { access_tier: tier } = await view(id);
    await approve(maria.key, id);
    if (tier === 'critical') {
      await approve(noor.key, id);
      await calls.passDelay(id);
    }
    assert.equal((await view(id)).status, 'approved');
    return id;
  };
  const claimed = async (id: string, by = agent.key): Promise<string> => {
    const { body, text } = await poll(by, id);
    assert.match(body.token ?? '', TOKEN, text);
    return body.token ?? '';
  };

  await t.test('opens up to the tier that was approved, and nothing beyond', async () => {
    for (const [scopes, opens] of [
      [['secrets:read:prod/STANDARD'], ['STANDARD']],
      [['secrets:read:prod/SENSITIVE'], ['SENSITIVE']],
      [['secrets:read:prod/CRITICAL'], ['CRITICAL']],
      [['secrets:read:prod/S*'], ['STANDARD', 'SENSITIVE']],
      [['secrets:read:prod/*'], ['STANDARD', 'SENSITIVE', 'CRITICAL']],
      [['secrets:read:prod/STANDARD', 'secrets:write:prod/SENSITIVE'], ['STANDARD']],
    ] as const) {
      const token = await claimed(await approved({ scopes }));
      for (const key of Object.keys(tiers)) {
        const answer = await ask(token, `GET /v1/secrets/prod/${key}`);
        if ((opens as readonly string[]).includes(key))
          assert.equal(answer.status, 200, `${scopes} ${answer.text}`);
        else assertRefused(answer, { status: 403, code: 'SCOPE_DENIED' }, `${scopes} ${key}`);
      }
    }
    // What was approved for a secret that was standard then does not open what is sensitive now.
    const standard = await approved({ scopes: ['secrets:read:prod/LATER', 'secrets:read:prod/STANDARD'] });
    await aSecret('prod/LATER', { access_tier: 'sensitive' });
    const token = await claimed(standard);
    assertRefused(await ask(token, 'GET /v1/secrets/prod/LATER'), REQUIRED);
    assert.equal((await ask(token, 'GET /v1/secrets/prod/STANDARD')).status, 200);
  });

  await t.test(
    'keeps to the tier of the day it was asked for: raised before or after, it is shut out',
    async () => {
      const path = 'raised/K';
      await aSecret(path, { access_tier: 'sensitive' });
      const scopes = [`secrets:*:${path}`];
      const early = await claimed(await approved({ scopes, max_uses: 9 }));
      const late = await approved({ scopes });
      assert.equal((await ask(early, `GET /v1/secrets/${path}`)).status, 200);
      await aSecret(path, { access_tier: 'critical' });
      const afterwards = await claimed(late);
      for (const token of [early, afterwards]) {
        for (const [line, json] of [
          [`GET /v1/secrets/${path}`],
          [`GET /v1/secrets/${path}?version=1`],
          [`PUT /v1/secrets/${path}`, { value: 'x' }],
          [`POST /v1/secrets/${path}/rotate`],
          [`DELETE /v1/secrets/${path}`],
        ] as const) {
          assertRefused(await ask(token, line, { json }), REQUIRED, line);
        }
      }
      const { uses_remaining: left } = (
        await ask<{ uses_remaining: number }>(early, 'POST /v1/tokens/introspect')
      ).body;
      assert.equal(left, 8, 'no refusal took a use');
      await ask(adminKey, `PUT /v1/secrets/${path}`, { json: { value: 'v', access_tier: 'sensitive' } });
      assert.equal((await ask(early, `GET /v1/secrets/${path}`)).status, 200);
    },
  );

  await t.test('is exactly what was asked, its time starting at the claim', async () => {
    const asked = {
      scopes: ['secrets:read:prod/SENSITIVE', 'secrets:write:prod/*'],
      ttl_seconds: 600,
      max_uses: 2,
      allowed_ips: ['127.0.0.1', '10.0.0.0/8'],
      description: 'deploy',
    };
    const id = await approved(asked);
    await sql(
      `update approvals set created_at = created_at - interval '30 minutes', effective_at = effective_at - interval '20 minutes'
       where id = $1`,
      [id],
    );
    await resealRows(sql, 'approvals', 'id = $1', [id]);
    const { body, text } = await poll(agent.key, id);
    const {
      token = '',
      token_id: tokenId = '',
      token_expires_at: expires = '',
      expires_at,
      approved_at,
      ...rest
    } = body;
    assert.match(token, TOKEN, text);
    assert.deepEqual(rest, { id, status: 'approved', scopes: asked.scopes });
    assert.equal(Date.parse(expires_at) - Date.parse(approved_at ?? ''), 60 * MINUTE_MS);
    const item = await ask<Record<string, unknown>>(agent.key, `GET /v1/tokens/${tokenId}`);
    const { created_at: createdAt, ...facts } = item.body;
    const { scopes, ...others } = asked;
    assert.deepEqual(facts, {
      token_id: tokenId,
      scope: scopes.join(' '),
      scopes,
      ...others,
      expires_at: expires,
      uses_remaining: 2,
      agent_id: agent.id,
      requires_approval: facts['requires_approval'],
      status: 'active',
      revoked_at: null,
    });
    assert.equal(Date.parse(expires) - Date.parse(String(createdAt)), 600_000);
    assert.ok(
      Date.parse(String(createdAt)) > Date.parse(approved_at ?? '') + 19 * MINUTE_MS,
      'made at the claim',
    );
    for (const expected of [200, 200, 401]) {
      assert.equal((await ask(token, 'GET /v1/secrets/prod/SENSITIVE')).status, expected);
    }
    const away = await calls.call({
      method: 'GET',
      url: '/v1/secrets/prod/SENSITIVE',
      headers: { authorization: `Bearer ${token}` },
      remoteAddress: '192.0.2.1',
    });
    assertRefused(away, { status: 403, code: 'IP_NOT_ALLOWED' });
  });

  await t.test(
    'is in one answer, and neither it nor a value is in any other, nor in the database',
    async () => {
      const id = await approved({ scopes: ['secrets:read:prod/SENSITIVE'], description: 'the deploy' });
      let token = '';
      const events = await eventsOf(async () => {
        token = await claimed(id);
      });
      assert.deepEqual(
        events.map((event) => [
          event.event_type,
          event.actor_id,
          event.resource_id,
          event.metadata['key_id'],
        ]),
        [
          ['approval.claimed', agent.id, id, agent.keyId],
          ['token.issued', agent.id, events[0]?.metadata['token_id'], agent.keyId],
        ],
      );
      const { approval_id, description } = events[1]?.metadata ?? {};
      assert.deepEqual([approval_id, description], [id, 'the deploy']);
      const again = await eventsOf(async () => {
        for (let count = 0; count < 3; count += 1) {
          const { status, body, text } = await poll(agent.key, id);
          assert.deepEqual(
            [status, body.status, body.token, body.token_expires_at],
            [200, 'claimed', undefined, undefined],
          );
          assert.equal(body.token_id, events[0]?.metadata['token_id']);
          assert.ok(!text.includes('ast_tok_'), text);
        }
      });
      assert.deepEqual(again, []);
      for (const line of [
        'GET /v1/approvals',
        `GET /v1/approvals/${id}`,
        'GET /v1/tokens',
        'GET /v1/audit?limit=200',
      ]) {
        assert.ok(!(await ask(adminKey, line)).text.includes('ast_tok_'), line);
      }
      const random = token.slice('ast_tok_'.length);
      for (const table of [
        'approvals',
        'approval_votes',
        'scoped_tokens',
        'audit_events',
        'webhook_outbox',
      ]) {
        const hits = await sql<{ row: string }>(
          `select row_to_json(row)::text as row from ${table} row where row_to_json(row)::text like '%' || $1 || '%'`,
          [random],
        );
        assert.deepEqual(hits, [], table);
      }
    },
  );

  await t.test('is for the requester: any of its live keys, and nobody else’s', async () => {
    const id = await approved({ scopes: ['secrets:read:prod/SENSITIVE'] });
    const other = await calls.anAgent('secrets:*:*');
    const token = (await calls.aToken({ by: agent.key })).token;
    for (const [as, status, code] of [
      [other.key, 404, 'NOT_FOUND'],
      [maria.key, 404, 'NOT_FOUND'],
      [adminKey, 404, 'NOT_FOUND'],
      [token, 401, 'UNAUTHORIZED'],
      [undefined, 401, 'UNAUTHORIZED'],
    ] as const) {
      assertRefused(await ask(as, `GET /v1/approvals/agent/${id}`), { status, code });
    }
    const second = await ask<{ api_key: string; id: string }>(adminKey, `POST /v1/agents/${agent.id}/keys`);
    const third = await ask<{ api_key: string; id: string }>(adminKey, `POST /v1/agents/${agent.id}/keys`);
    const keyId = /^ak_(?:live|test)_([0-9a-f]{16})/.exec(second.body.api_key)?.[1];
    assert.equal((await poll(second.body.api_key, 'apr_aaaaaaaa')).status, 404, 'it is remembered as live');
    assert.equal((await ask(adminKey, `DELETE /v1/agents/${agent.id}/keys/${keyId}`)).status, 204);
    assertRefused(await poll(second.body.api_key, id), { status: 401, code: 'UNAUTHORIZED' });
    assert.equal((await view(id)).status, 'approved');
    await claimed(id, third.body.api_key);
  });

  await t.test('follows its agent: narrowed meanwhile, it opens less; revoked, nothing', async () => {
    const narrow = await calls.anAgent('secrets:*:*');
    const ids = [];
    for (let count = 0; count < 2; count += 1) {
      ids.push(
        await approved({ scopes: ['secrets:read:prod/SENSITIVE', 'secrets:read:prod/STANDARD'] }, narrow.key),
      );
    }
    const [first = '', second = ''] = ids;
    await calls.rescope(narrow, 'secrets:read:prod/STANDARD');
    const token = await claimed(first, narrow.key);
    assertRefused(await ask(token, 'GET /v1/secrets/prod/SENSITIVE'), { status: 403, code: 'SCOPE_DENIED' });
    assert.equal((await ask(token, 'GET /v1/secrets/prod/STANDARD')).status, 200);
    await ask(adminKey, `DELETE /v1/agents/${narrow.id}`);
    assertRefused(await ask(token, 'GET /v1/secrets/prod/STANDARD'), { status: 401, code: 'TOKEN_REVOKED' });
    assertRefused(await poll(narrow.key, second), { status: 401, code: 'UNAUTHORIZED' });
    assert.deepEqual(await sql('select id from scoped_tokens where approval_id = $1', [second]), []);
  });
});

/** What was asked and what it takes: each column, with SQL for another value. */
const EDITS: Readonly<Record<string, readonly string[]>> = {
  agent_id: ['$2::uuid'],
  scopes: [`array['secrets:*:*']`, `scopes || array['secrets:read:prod/*']`, `'{}'::text[]`],
  ttl_seconds: ['86400', 'ttl_seconds - 1'],
  max_uses: ['null', 'max_uses + 1'],
  allowed_ips: ['null', `array['0.0.0.0/0']`],
  description: ['null', `description || '.'`],
  access_tier: [`'standard'`, `'sensitive'`],
  bound_secrets: [`bound_secrets || array['critical ' || gen_random_uuid() || ' prod/K']`, `array['x']`],
  approvals_required: ['1', 'approvals_required + 1', '0'],
  delay_seconds: ['0', 'delay_seconds + 1'],
  window_seconds: ['604800', 'window_seconds + 1'],
  request_digest: [`repeat('ab', 32)`, `''`],
};

test('a request that was edited in the database', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, deny, poll, opened, eventsOf, sql, aSecret } = calls;
  const [maria, noor] = approvers;
  const agent = await calls.anAgent('secrets:*:*');
  const thief = await calls.anAgent('secrets:read:none/*');
  await aSecret('prod/K', { access_tier: 'sensitive' });
  // With two votes required and a delay, so that an edit of either could matter.
  const strict = await openTestApp(t, calls.databaseUrl, { CRITICAL_APPROVALS: '2' });
  await aSecret('prod/CRITICAL', { access_tier: 'critical' });
  const asked = (scope: string) => ({
    scopes: [`secrets:read:${scope}`],
    ttl_seconds: 900,
    max_uses: 3,
    allowed_ips: ['127.0.0.1'],
    description: 'deploy',
  });
  const rowOf = async (id: string) => {
    const [row] = await sql(
      `select approvals.*, (select count(*)::int from approval_votes where approval_id = id) as votes,
         (select count(*)::int from scoped_tokens where approval_id = approvals.id) as tokens
       from approvals where id = $1`,
      [id],
    );
    return row;
  };

  const states: Record<string, () => Promise<string>> = {
    pending: () => opened(agent.key, asked('prod/CRITICAL')),
    'one vote short': async () => {
      const id = await opened(agent.key, asked('prod/CRITICAL'));
      await approve(maria.key, id);
      return id;
    },
    approved: async () => {
      const id = await opened(agent.key, asked('prod/CRITICAL'));
      for (const { key } of [maria, noor]) await approve(key, id);
      await calls.passDelay(id);
      return id;
    },
  };

  for (const [column, values] of Object.entries(EDITS)) {
    await t.test(`in ${column} is neither approved, nor denied, nor handed out`, async () => {
      for (const value of values) {
        for (const [state, arrive] of Object.entries(states)) {
          const id = await arrive();
          const text = `update approvals set ${column} = ${value} where id = $1`;
          await sql(text, column === 'agent_id' ? [id, thief.id] : [id]);
          const before = await rowOf(id);
          const events = await eventsOf(async () => {
            const answers: Record<string, TestAnswer> = {
              approve: await approve(approvers[2].key, id),
              deny: await deny(approvers[2].key, id),
              'approve elsewhere': await strict.call({
                method: 'POST',
                url: `/v1/approvals/${id}/approve`,
                key: approvers[2].key,
              }),
            };
            if (state === 'approved') {
              answers['claim'] = await poll(column === 'agent_id' ? thief.key : agent.key, id);
            }
            for (const [act, answer] of Object.entries(answers)) {
              const about = `${act} when ${state}, ${column} = ${value}`;
              assertRefused(answer, { status: 500, code: 'INTEGRITY_ERROR' }, about);
              assert.doesNotMatch(answer.text, /ast_tok_|digest [0-9a-f]|HMAC/);
            }
            if (column === 'agent_id') assert.equal((await poll(agent.key, id)).status, 404);
          });
          assert.deepEqual(
            events.filter(({ event_type }) => event_type.startsWith('approval.')),
            [],
          );
          assert.deepEqual(await rowOf(id), before);
        }
        await calls.closeAll();
      }
    });
  }

  await t.test('is listed and shown, so that people see that it is not what was asked', async () => {
    const id = await opened(agent.key, asked('prod/K'));
    await sql(`update approvals set scopes = array['secrets:*:*'] where id = $1`, [id]);
    assert.deepEqual((await calls.view(id)).scopes, ['secrets:*:*']);
    await calls.closeAll();
  });

  await t.test('into another’s, digest and all, is neither', async () => {
    const [one, other] = [
      await opened(agent.key, asked('prod/K')),
      await opened(agent.key, { scopes: ['secrets:read:none/K'] }),
    ];
    await sql(
      `update approvals set (scopes, ttl_seconds, max_uses, allowed_ips, description, access_tier, request_digest)
         = (select scopes, ttl_seconds, max_uses, allowed_ips, description, access_tier, request_digest
            from approvals where id = $1) where id = $2`,
      [one, other],
    );
    assertRefused(await approve(maria.key, other), { status: 500, code: 'INTEGRITY_ERROR' });
    assert.equal((await approve(maria.key, one)).status, 200);
    assertRefused(await approve(noor.key, one), { status: 409, code: 'APPROVAL_ALREADY_DECIDED' });
  });

  await t.test(
    'to have taken effect without the votes it needs is neither decided nor handed out',
    async () => {
      const id = await opened(agent.key, asked('prod/CRITICAL'));
      await approve(maria.key, id);
      await sql('update approvals set effective_at = created_at where id = $1', [id]);
      const events = await eventsOf(async () => {
        for (const answer of [
          await poll(agent.key, id),
          await approve(noor.key, id),
          await deny(noor.key, id),
        ]) {
          assertRefused(answer, { status: 500, code: 'INTEGRITY_ERROR' });
          assert.doesNotMatch(answer.text, /ast_tok_|votes/);
        }
      });
      assert.deepEqual(
        events.filter(({ event_type }) => event_type.startsWith('approval.')),
        [],
      );
      await calls.closeAll();
    },
  );

  await t.test('to be what it was, is what was asked again', async () => {
    const id = await opened(agent.key, asked('prod/K'));
    await sql('update approvals set ttl_seconds = 901 where id = $1', [id]);
    assert.equal(errorOf(await approve(maria.key, id)).code, 'INTEGRITY_ERROR');
    await sql('update approvals set ttl_seconds = 900 where id = $1', [id]);
    assert.equal((await approve(maria.key, id)).status, 200);
    const { body }: TestAnswer<PollView> = await poll(agent.key, id);
    assert.match(body.token ?? '', TOKEN);
  });
});
