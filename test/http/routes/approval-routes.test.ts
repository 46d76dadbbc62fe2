/** The life of an approval (contract section 7): what opens one, who may do what to it when, and what is on record. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertRefused,
  type CreatedAgent,
  errorOf,
  openTestApp,
  type TestAnswer,
} from '../../support/app.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { postgresSkip } from '../../support/postgres.ts';
import {
  type ApprovalCalls,
  type ApprovalView,
  buildApprovalCalls,
  type OpenedView,
} from './approval-calls.ts';
import type { AuditRow } from './secret-calls.ts';

const MINUTE_MS = 60_000;
const GUARDED = ['secrets:read:guarded/SENSITIVE'];
const CRITICAL = ['secrets:read:guarded/CRITICAL'];

const voter = ({ id, name, keyId }: CreatedAgent) => ({
  approver_id: id,
  approver_name: name,
  key_id: keyId,
  counts: true,
});

/** What is guarded, and the tiers that tests name. */
async function withSecrets(calls: ApprovalCalls): Promise<void> {
  await calls.aSecret('plain/K');
  await calls.aSecret('guarded/STANDARD');
  await calls.aSecret('guarded/SENSITIVE', { access_tier: 'sensitive', value: 'PLANTED' });
  await calls.aSecret('guarded/CRITICAL', { access_tier: 'critical', value: 'PLANTED' });
}

/** Status, error code or `-`, status afterwards, the events. */
type Cell = readonly [number, string, string, readonly string[]];
type Event =
  | 'approve, new'
  | 'approve, voted'
  | 'approve, requester'
  | 'approve, other digest'
  | 'deny, new'
  | 'deny, voted'
  | 'deny, requester'
  | 'poll, requester'
  | 'poll, another agent'
  | 'poll, approver'
  | 'poll, admin';

interface Life {
  readonly scopes: readonly string[];
  /** By the first approver, then the second. */
  readonly votes: 0 | 1 | 2;
  /** What happened to it after the votes. */
  readonly afterwards?: (calls: ApprovalCalls, id: string, requester: CreatedAgent) => Promise<unknown>;
  /** Who asked is revoked, so that its key is none. */
  readonly revoked?: true;
  readonly cells: Readonly<Record<Exclude<Event, 'approve, voted' | 'deny, voted'>, Cell>> &
    Partial<Record<'approve, voted' | 'deny, voted', Cell>>;
}

const DECIDED = 'APPROVAL_ALREADY_DECIDED';
const EXPIRED = 'APPROVAL_EXPIRED';
const SELF = 'SELF_APPROVAL_FORBIDDEN';

/** Nobody but who asked learns anything; what it is stays as it is. */
const polledByOthers = (status: string) => {
  const cell: Cell = [404, 'NOT_FOUND', status, ['auth.denied NOT_FOUND']];
  return { 'poll, another agent': cell, 'poll, approver': cell, 'poll, admin': cell };
};
const decidedByRequester = (status: string) => {
  const cell: Cell = [403, SELF, status, [`auth.denied ${SELF}`]];
  return { 'approve, requester': cell, 'deny, requester': cell };
};
const notAnyMore = (httpStatus: number, code: string, status: string) => {
  const cell: Cell = [httpStatus, code, status, []];
  return { 'approve, new': cell, 'approve, voted': cell, 'approve, other digest': cell };
};
const noDenial = (httpStatus: number, code: string, status: string) => {
  const cell: Cell = [httpStatus, code, status, []];
  return { 'deny, new': cell, 'deny, voted': cell };
};
const ok = (status: string, ...events: string[]): Cell => [200, '-', status, events];

const LIVES: Readonly<Record<string, Life>> = {
  'pending, one vote required': {
    scopes: GUARDED,
    votes: 0,
    cells: {
      'approve, new': ok('approved', 'approval.granted 1/1 in effect'),
      'approve, other digest': [409, 'VERSION_CONFLICT', 'pending', []],
      'deny, new': ok('denied', 'approval.denied'),
      'poll, requester': ok('pending'),
      ...decidedByRequester('pending'),
      ...polledByOthers('pending'),
    },
  },
  'pending, two votes required': {
    scopes: CRITICAL,
    votes: 0,
    cells: {
      'approve, new': ok('pending', 'approval.granted 1/2'),
      'approve, other digest': [409, 'VERSION_CONFLICT', 'pending', []],
      'deny, new': ok('denied', 'approval.denied'),
      'poll, requester': ok('pending'),
      ...decidedByRequester('pending'),
      ...polledByOthers('pending'),
    },
  },
  'pending with one of two votes': {
    scopes: CRITICAL,
    votes: 1,
    cells: {
      'approve, new': ok('pending', 'approval.granted 2/2 in effect'),
      'approve, voted': [409, DECIDED, 'pending', []],
      'approve, other digest': [409, 'VERSION_CONFLICT', 'pending', []],
      'deny, new': ok('denied', 'approval.denied'),
      'deny, voted': ok('denied', 'approval.denied'),
      'poll, requester': ok('pending'),
      ...decidedByRequester('pending'),
      ...polledByOthers('pending'),
    },
  },
  'pending in the delay': {
    scopes: CRITICAL,
    votes: 2,
    cells: {
      ...notAnyMore(409, DECIDED, 'pending'),
      'deny, new': ok('denied', 'approval.denied'),
      'deny, voted': ok('denied', 'approval.denied'),
      'poll, requester': ok('pending'),
      ...decidedByRequester('pending'),
      ...polledByOthers('pending'),
    },
  },
  'pending in the delay, when the time to decide is over': {
    scopes: CRITICAL,
    votes: 2,
    afterwards: ({ lapse }, id) => lapse(id),
    cells: {
      ...notAnyMore(409, DECIDED, 'pending'),
      'deny, new': ok('denied', 'approval.denied'),
      'deny, voted': ok('denied', 'approval.denied'),
      'poll, requester': ok('pending'),
      ...decidedByRequester('pending'),
      ...polledByOthers('pending'),
    },
  },
  'approved by one': {
    scopes: GUARDED,
    votes: 1,
    cells: {
      ...notAnyMore(409, DECIDED, 'approved'),
      'deny, new': ok('denied', 'approval.denied'),
      'deny, voted': ok('denied', 'approval.denied'),
      'poll, requester': ok('claimed', 'approval.claimed', 'token.issued'),
      ...decidedByRequester('approved'),
      ...polledByOthers('approved'),
    },
  },
  'approved by two, after the delay, when the time to decide is over': {
    scopes: CRITICAL,
    votes: 2,
    afterwards: async ({ lapse, passDelay }, id) => {
      await lapse(id);
      await passDelay(id);
    },
    cells: {
      ...notAnyMore(409, DECIDED, 'approved'),
      'deny, new': ok('denied', 'approval.denied'),
      'deny, voted': ok('denied', 'approval.denied'),
      'poll, requester': ok('claimed', 'approval.claimed', 'token.issued'),
      ...decidedByRequester('approved'),
      ...polledByOthers('approved'),
    },
  },
  'denied after a vote': {
    scopes: CRITICAL,
    votes: 1,
    afterwards: ({ deny, approvers }, id) => deny(approvers[1].key, id),
    cells: {
      ...notAnyMore(409, DECIDED, 'denied'),
      ...noDenial(409, DECIDED, 'denied'),
      'poll, requester': ok('denied'),
      ...decidedByRequester('denied'),
      ...polledByOthers('denied'),
    },
  },
  'denied after the last vote, when all times are over': {
    scopes: GUARDED,
    votes: 1,
    afterwards: async ({ deny, lapse, endWindow, approvers }, id) => {
      await deny(approvers[0].key, id);
      await lapse(id);
      await endWindow(id);
    },
    cells: {
      ...notAnyMore(409, DECIDED, 'denied'),
      ...noDenial(409, DECIDED, 'denied'),
      'poll, requester': ok('denied'),
      ...decidedByRequester('denied'),
      ...polledByOthers('denied'),
    },
  },
  'expired before a decision': {
    scopes: CRITICAL,
    votes: 1,
    afterwards: ({ lapse }, id) => lapse(id),
    cells: {
      ...notAnyMore(410, EXPIRED, 'expired'),
      ...noDenial(410, EXPIRED, 'expired'),
      'poll, requester': ok('expired'),
      ...decidedByRequester('expired'),
      ...polledByOthers('expired'),
    },
  },
  'expired after approval': {
    scopes: GUARDED,
    votes: 1,
    afterwards: ({ endWindow }, id) => endWindow(id),
    cells: {
      ...notAnyMore(410, EXPIRED, 'expired'),
      ...noDenial(410, EXPIRED, 'expired'),
      'poll, requester': ok('expired'),
      ...decidedByRequester('expired'),
      ...polledByOthers('expired'),
    },
  },
  'claimed, also when all times are over': {
    scopes: GUARDED,
    votes: 1,
    afterwards: async ({ poll, lapse, endWindow }, id, requester) => {
      assert.match((await poll(requester.key, id)).body.token ?? '', /^ast_tok_/);
      await lapse(id);
      await endWindow(id);
    },
    cells: {
      ...notAnyMore(409, DECIDED, 'claimed'),
      ...noDenial(409, DECIDED, 'claimed'),
      'poll, requester': ok('claimed'),
      ...decidedByRequester('claimed'),
      ...polledByOthers('claimed'),
    },
  },
  'whose requester was revoked, with one of two votes': {
    scopes: CRITICAL,
    votes: 1,
    revoked: true,
    cells: {
      ...notAnyMore(409, DECIDED, 'expired'),
      ...noDenial(409, DECIDED, 'expired'),
      'poll, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      'approve, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      'deny, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      ...polledByOthers('expired'),
    },
  },
  'whose requester was revoked after it was approved': {
    scopes: GUARDED,
    votes: 1,
    revoked: true,
    cells: {
      ...notAnyMore(409, DECIDED, 'expired'),
      ...noDenial(409, DECIDED, 'expired'),
      'poll, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      'approve, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      'deny, requester': [401, 'UNAUTHORIZED', 'expired', ['auth.denied AUTH_INVALID_KEY']],
      ...polledByOthers('expired'),
    },
  },
};

test('the life of an approval: every state by every event', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, deny, poll, opened, view, sql, ask, adminKey } = calls;
  await withSecrets(calls);
  const other = await calls.anAgent('secrets:*:*');
  // Administrators ask as well: only they could even try to decide what they asked for.
  const requester = await calls.createAgent({ role: 'admin' });
  const agent = await calls.anAgent('secrets:*:*');

  const acts: Record<Event, (id: string, by: CreatedAgent) => Promise<TestAnswer>> = {
    'approve, new': (id) => approve(approvers[2].key, id),
    'approve, voted': (id) => approve(approvers[0].key, id),
    'approve, requester': (id, by) => approve(by.key, id),
    'approve, other digest': (id) => approve(approvers[2].key, id, { request_digest: 'ab'.repeat(32) }),
    'deny, new': (id) => deny(approvers[2].key, id, { reason: 'no' }),
    'deny, voted': (id) => deny(approvers[0].key, id),
    'deny, requester': (id, by) => deny(by.key, id),
    'poll, requester': (id, by) => poll(by.key, id),
    'poll, another agent': (id) => poll(other.key, id),
    'poll, approver': (id) => poll(approvers[0].key, id),
    'poll, admin': (id) => poll(adminKey, id),
  };

  /** By id: one process makes them in order. */
  const eventsOf = async (effect: () => Promise<void>): Promise<readonly AuditRow[]> => {
    const [last] = await sql<{ id: string }>('select id from audit_events order by id desc limit 1');
    await effect();
    return sql<AuditRow>('select * from audit_events where id > $1 order by id', [last?.id]);
  };

  const arrive = async (life: Life, by: CreatedAgent): Promise<string> => {
    const id = await opened(by.key, { scopes: life.scopes });
    for (const approver of approvers.slice(0, life.votes)) {
      assert.equal((await approve(approver.key, id)).status, 200);
    }
    if (life.revoked) {
      assert.equal((await ask(adminKey, `DELETE /v1/agents/${by.id}`)).status, 204);
    }
    await life.afterwards?.(calls, id, by);
    return id;
  };

  // Which state refuses what is decided by a function whose table is whole; a short run shows each outcome once.
  const shown = new Set<string>();
  for (const [state, life] of Object.entries(LIVES)) {
    for (const [event, [status, code, after, events]] of Object.entries(life.cells) as [Event, Cell][]) {
      const outcome = [event, status, code, after, ...events].join(' ');
      if (onlyInFullRun !== false && shown.has(outcome)) continue;
      shown.add(outcome);
      await t.test(`${state}: ${event} → ${code === '-' ? after : code}`, async () => {
        const decides = event === 'approve, requester' || event === 'deny, requester';
        const by = life.revoked ? await calls.createAgent({ role: 'admin' }) : decides ? requester : agent;
        const id = await arrive(life, by);
        const before = await view(id);
        let answer: TestAnswer | undefined;
        const written = await eventsOf(async () => {
          answer = await acts[event](id, by);
        });
        assert.deepEqual(
          [answer?.status, errorOf(answer as TestAnswer).code ?? '-'],
          [status, code],
          answer?.text,
        );
        assert.deepEqual(written.map(inShort), events);
        for (const row of written.filter(({ event_type }) => event_type.startsWith('approval.'))) {
          assert.deepEqual([row.resource_type, row.resource_id], ['approval', id]);
          assert.equal(row.metadata['request_digest'], before.request_digest);
        }
        const now = await view(id);
        assert.equal(now.status, after);
        // What was refused, and what only looks, changes nothing at all.
        if (events.length === 0 || status !== 200) assert.deepEqual(now, before);
        const [tokens] = await sql<{ n: number }>(
          'select count(*)::int as n from scoped_tokens where approval_id = $1',
          [id],
        );
        assert.equal(tokens?.n, after === 'claimed' ? 1 : 0);
        assert.equal(answer?.text.includes('ast_tok_'), events.includes('approval.claimed'));
        await calls.closeAll();
      });
    }
  }

  await t.test('no cell is left out', () => {
    for (const [state, { votes, cells }] of Object.entries(LIVES)) {
      const events = Object.keys(acts).filter((event) => votes > 0 || !event.endsWith('voted'));
      assert.deepEqual(Object.keys(cells).sort(), events.sort(), state);
    }
  });
});

function inShort(event: { event_type: string; metadata: Readonly<Record<string, unknown>> }): string {
  const { code, votes, required, effective_at: effectiveAt } = event.metadata;
  const parts = [
    event.event_type,
    code,
    votes === undefined ? undefined : `${votes}/${required}`,
    effectiveAt === undefined ? undefined : 'in effect',
  ];
  return parts.filter((part) => part !== undefined).join(' ');
}

test('an approval', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, deny, poll, opened, view, eventsOf, sql, ask, adminKey } = calls;
  await withSecrets(calls);
  const agent = await calls.anAgent('secrets:*:*');
  const request = (json: Record<string, unknown>, by = agent.key) =>
    ask<OpenedView & { token?: string }>(by, 'POST /v1/tokens', { json });

  await t.test(
    'is opened by a wish or by a scope that names a guarded secret, and holds no token',
    async () => {
      for (const [asked, tier] of [
        [{ scopes: GUARDED }, 'sensitive'],
        [{ scope: GUARDED[0] }, 'sensitive'],
        [{ scopes: CRITICAL }, 'critical'],
        [{ scopes: ['secrets:write:guarded/SENSITIVE'] }, 'sensitive'],
        [{ scopes: ['secrets:delete:guarded/CRITICAL'] }, 'critical'],
        [{ scopes: ['secrets:*:guarded/CRITICAL'] }, 'critical'],
        [{ scopes: [...GUARDED, ...CRITICAL] }, 'critical'],
        [{ scopes: ['secrets:read:plain/*', ...GUARDED] }, 'sensitive'],
        // Highest among all that the scopes match, not only what is named.
        [{ scopes: ['secrets:read:guarded/*', ...GUARDED] }, 'critical'],
        [{ scopes: ['secrets:*:*'], require_approval: true }, 'critical'],
        [{ scopes: ['secrets:read:*/SENSITIVE'], require_approval: true }, 'sensitive'],
        [{ scopes: ['secrets:read:plain/K'], require_approval: true }, 'standard'],
        [{ scopes: ['secrets:read:no/such'], require_approval: true }, 'standard'],
        [{ scopes: ['namespaces:read'], require_approval: true }, 'standard'],
      ] as const) {
        const what = JSON.stringify(asked);
        let answer: TestAnswer<OpenedView> | undefined;
        const events = await eventsOf(async () => {
          answer = await request(asked);
        });
        assert.equal(answer?.status, 202, `${what} ${answer?.text}`);
        const { approval_id: id, expires_at: expiresAt } = answer.body;
        assert.match(id, /^apr_[a-z2-7]{8}$/);
        assert.deepEqual(answer.body, {
          requires_approval: true,
          approval_id: id,
          status: 'pending',
          expires_at: expiresAt,
          poll: `/v1/approvals/agent/${id}`,
        });
        assert.doesNotMatch(answer.text, /ast_tok_|PLANTED/);
        const opened = await view(id);
        assert.deepEqual(
          [opened.access_tier, opened.status, opened.expires_at],
          [tier, 'pending', expiresAt],
          what,
        );
        assert.equal(opened.approvals_required, tier === 'critical' ? 2 : 1, what);
        assert.deepEqual(
          events.map((event) => [event.event_type, event.resource_id, event.actor_id]),
          [['approval.requested', id, agent.id]],
        );
        assert.doesNotMatch(JSON.stringify(events), /ast_tok_|PLANTED/);
        assert.equal((await poll(agent.key, id)).body.token, undefined);
      }
      const [tokens] = await sql<{ n: number }>('select count(*)::int as n from scoped_tokens');
      assert.equal(tokens?.n, 0, 'no token was made');
      await calls.closeAll();
    },
  );

  await t.test(
    'is not opened by a scope with *, nor by one that names what is standard or absent',
    async () => {
      for (const scopes of [
        ['secrets:*:*'],
        ['secrets:read:guarded/*'],
        ['secrets:read:guarded/SENSITIVE*'],
        ['secrets:read:guarded/*SENSITIVE'],
        ['secrets:read:*/CRITICAL'],
        ['secrets:read:guarded/STANDARD'],
        ['secrets:read:no/such'],
        // Paths are case-sensitive.
        ['secrets:read:guarded/sensitive'],
        ['namespaces:read'],
      ]) {
        const events = await eventsOf(async () => {
          const answer = await request({ scopes, require_approval: false });
          assert.equal(answer.status, 201, answer.text);
          const guarded = await ask(answer.body.token, 'GET /v1/secrets/guarded/SENSITIVE');
          assert.ok([403].includes(guarded.status), guarded.text);
        });
        assert.deepEqual(
          events.map(({ event_type }) => event_type),
          ['token.issued', 'token.denied'],
        );
      }
      const expired = await calls.aSecret('guarded/PAST', { access_tier: 'critical' });
      await calls.expire(expired.path);
      assert.equal(
        (await request({ scopes: ['secrets:read:guarded/PAST'] })).status,
        202,
        'an expired one keeps its tier',
      );
      await calls.closeAll();
    },
  );

  await t.test('is not opened where a token would be refused: what is asked is judged first', async () => {
    const narrow = await calls.anAgent('secrets:read:plain/*');
    const [before] = await sql<{ n: number }>('select count(*)::int as n from approvals');
    for (const [json, status, code] of [
      [{ scopes: GUARDED }, 403, 'SCOPE_DENIED'],
      [{ scopes: ['secrets:write:plain/K'] }, 403, 'SCOPE_DENIED'],
      [{ scopes: ['secrets:read:plain'] }, 400, 'INVALID_SCOPE'],
      [{ scopes: [] }, 400, 'INVALID_SCOPE'],
      [{}, 400, 'INVALID_SCOPE'],
      [{ scopes: ['secrets:read:plain/K'], ttl_seconds: 299 }, 400, 'TTL_OUT_OF_RANGE'],
      [{ scopes: ['secrets:read:plain/K'], ttl_seconds: '600' }, 400, 'INVALID_TTL'],
      [{ scopes: ['secrets:read:plain/K'], max_uses: 0 }, 400, 'INVALID_MAX_USES'],
      [{ scopes: ['secrets:read:plain/K'], allowed_ips: ['nowhere'] }, 400, 'INVALID_IP_ALLOWLIST'],
      [{ scopes: ['secrets:read:plain/K'], approvers: ['me'] }, 400, 'VALIDATION_ERROR'],
    ] as const) {
      const answer = await request({ ...json, require_approval: true }, narrow.key);
      assertRefused(answer, { status, code }, JSON.stringify(json));
    }
    for (const wish of ['true', 1, [true]]) {
      const answer = await request({ scopes: ['secrets:read:plain/K'], require_approval: wish }, narrow.key);
      assertRefused(answer, {
        status: 400,
        code: 'VALIDATION_ERROR',
        details: { pointer: '/require_approval' },
      });
    }
    assertRefused(await request({ scopes: GUARDED }, approvers[0].key), { status: 403, code: 'FORBIDDEN' });
    const [after] = await sql<{ n: number }>('select count(*)::int as n from approvals');
    assert.deepEqual(after, before);
  });

  await t.test('shows what was asked, who voted and what it takes, and never a token', async () => {
    const asked = {
      scopes: ['secrets:read:guarded/CRITICAL', 'secrets:write:plain/*'],
      ttl_seconds: 900,
      max_uses: 3,
      allowed_ips: ['10.0.0.0/8', '::1'],
      description: 'schema <change> "ü"',
    };
    const id = await opened(agent.key, asked);
    await approve(approvers[0].key, id, { reason: 'agreed in standup' });
    const answer = await approve(approvers[1].key, id, { request_digest: (await view(id)).request_digest });
    assert.equal(answer.status, 200, answer.text);
    const { request_digest: digest, approvals, created_at, expires_at, effective_at, ...rest } = answer.body;
    assert.deepEqual(rest, {
      id,
      agent_id: agent.id,
      agent_name: agent.name,
      access_tier: 'critical',
      secret_count: 1,
      secrets: [{ path: 'guarded/CRITICAL', access_tier: 'critical' }],
      status: 'pending',
      ...asked,
      approvals_required: 2,
      denied_at: null,
      reason: null,
    });
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.deepEqual(
      approvals.map(({ at: _at, ...vote }) => vote),
      [
        { ...voter(approvers[0]), reason: 'agreed in standup' },
        { ...voter(approvers[1]), reason: null },
      ],
    );
    const at = Date.parse(approvals[1]?.at ?? '');
    const effective = Date.parse(effective_at ?? '');
    assert.ok(effective - at >= 5 * MINUTE_MS - 5000, 'the delay runs from the last vote');
    assert.equal(
      Date.parse(expires_at),
      effective + 60 * MINUTE_MS,
      'the claim window starts with the effect',
    );
    assert.ok(Date.parse(created_at) <= at, 'asked before it was voted on');
    assert.deepEqual(await view(id), answer.body);
    const denied = await deny(approvers[2].key, id, { reason: 'not today' });
    assert.deepEqual(
      [denied.body.status, denied.body.reason, denied.body.approvals.length],
      ['denied', 'not today', 2],
    );
    assert.notEqual(denied.body.denied_at, null);
    const polled = await poll(agent.key, id);
    assert.deepEqual(
      [polled.body.status, polled.body.reason, polled.body.denied_at, polled.body.approved_at],
      ['denied', 'not today', denied.body.denied_at, undefined],
    );
    await calls.closeAll();
  });

  await t.test(
    'is decided by approvers and admins, by no agent, and by nobody with another credential',
    async () => {
      const id = await opened(agent.key, { scopes: CRITICAL });
      const before = await view(id);
      const other = await calls.anAgent('secrets:*:*');
      const token = await calls.aToken();
      for (const verb of ['approve', 'deny']) {
        for (const by of [agent.key, other.key]) {
          const events = await eventsOf(async () => {
            const answer = await ask(by, `POST /v1/approvals/${id}/${verb}`);
            assertRefused(answer, { status: 403, code: 'FORBIDDEN' });
          });
          assert.ok(
            events.length <= 1 && events.every((event) => event.event_type === 'auth.denied'),
            'on record',
          );
        }
        for (const by of [token.token, undefined]) {
          const answer = await ask(by, `POST /v1/approvals/${id}/${verb}`);
          assertRefused(answer, { status: 401, code: 'UNAUTHORIZED' });
        }
      }
      for (const line of ['GET /v1/approvals', `GET /v1/approvals/${id}`]) {
        assertRefused(await ask(agent.key, line), { status: 403, code: 'FORBIDDEN' }, line);
        assertRefused(await ask(token.token, line), { status: 401, code: 'UNAUTHORIZED' }, line);
      }
      assertRefused(await ask(token.token, `GET /v1/approvals/agent/${id}`), {
        status: 401,
        code: 'UNAUTHORIZED',
      });
      assert.deepEqual(await view(id), before);
      assert.equal((await approve(adminKey, id)).status, 200);
      assert.equal((await approve(approvers[0].key, id)).status, 200);
      await calls.closeAll();
    },
  );

  await t.test('an approver whose key or person was revoked decides and sees nothing more', async () => {
    const id = await opened(agent.key, { scopes: CRITICAL });
    const gone = await calls.createAgent({ role: 'approver' });
    const keyless = await calls.createAgent({ role: 'approver' });
    for (const { key } of [gone, keyless])
      assert.equal((await ask(key, `GET /v1/approvals/${id}`)).status, 200);
    assert.equal((await approve(gone.key, id)).status, 200);
    await ask(adminKey, `DELETE /v1/agents/${gone.id}`);
    await ask(adminKey, `DELETE /v1/agents/${keyless.id}/keys/${keyless.keyId}`);
    for (const { key } of [gone, keyless]) {
      for (const line of [
        `POST /v1/approvals/${id}/approve`,
        `POST /v1/approvals/${id}/deny`,
        `GET /v1/approvals/${id}`,
        'GET /v1/approvals',
        `GET /v1/approvals/agent/${id}`,
      ]) {
        assertRefused(await ask(key, line), { status: 401, code: 'UNAUTHORIZED' }, line);
      }
    }
    // The vote was given by somebody who could: it stands, with the name.
    const { approvals, status } = await view(id);
    assert.deepEqual([status, approvals.map((vote) => vote.approver_name)], ['pending', [gone.name]]);
    await calls.closeAll();
  });

  await t.test('keeps the numbers of the day it was opened, whatever the operator sets later', async () => {
    const old = await opened(agent.key, { scopes: CRITICAL });
    const later = await openTestApp(t, calls.databaseUrl, {
      CRITICAL_APPROVALS: '3',
      CRITICAL_DELAY_SECONDS: '0',
      APPROVAL_TTL_SECONDS: '60',
    });
    const there = <Body>(key: string, method: string, url: string, json?: unknown) =>
      later.call<Body>({ method, url, key, ...(json === undefined ? {} : { json }) });
    const fresh = await there<OpenedView>(agent.key, 'POST', '/v1/tokens', { scopes: CRITICAL });
    assert.equal(fresh.status, 202, fresh.text);
    const freshView = await view(fresh.body.approval_id);
    assert.equal(freshView.approvals_required, 3);
    const open = Date.parse(freshView.expires_at) - Date.parse(freshView.created_at);
    assert.ok(Math.abs(open - MINUTE_MS) < MINUTE_MS / 2, `a minute, not ${open} ms`);

    const votes = [];
    for (const approver of approvers.slice(0, 2)) {
      votes.push(await there<ApprovalView>(approver.key, 'POST', `/v1/approvals/${old}/approve`));
    }
    const last = votes.at(-1)?.body;
    assert.deepEqual([last?.status, last?.approvals_required], ['pending', 2], 'its delay runs');
    assert.notEqual(last?.effective_at, null);
    assert.equal(
      Date.parse(last?.expires_at ?? '') - Date.parse(last?.effective_at ?? ''),
      60 * MINUTE_MS,
      'the window is the old one',
    );
    // And the other way round: what the new one asked for is decided by its numbers, also here.
    for (const [index, approver] of approvers.entries()) {
      const { body } = await approve(approver.key, fresh.body.approval_id);
      assert.equal(body.status, index === 2 ? 'approved' : 'pending');
    }
    assert.match((await poll(agent.key, fresh.body.approval_id)).body.token ?? '', /^ast_tok_/);
    await calls.closeAll();
  });

  await t.test('ends with its agent, and another of the same name has no part in it', async () => {
    const doomed = await calls.createAgent({ name: 'doomed', allowed_scopes: ['secrets:*:*'] });
    const [pending, granted] = [await opened(doomed.key), await opened(doomed.key, { scopes: GUARDED })];
    assert.equal((await approve(approvers[0].key, granted)).body.status, 'approved');
    await ask(adminKey, 'DELETE /v1/agents/doomed');
    const heir = await calls.createAgent({ name: 'doomed', allowed_scopes: ['secrets:*:*'] });
    for (const id of [pending, granted]) {
      assert.equal((await view(id)).status, 'expired');
      assertRefused(await poll(heir.key, id), { status: 404, code: 'NOT_FOUND' });
      assertRefused(await poll(doomed.key, id), { status: 401, code: 'UNAUTHORIZED' });
      assertRefused(await approve(approvers[1].key, id), { status: 409, code: DECIDED });
    }
    await calls.closeAll();
  });

  await t.test('is one of at most 20 that are pending, whatever opened them', async () => {
    const busy = await calls.anAgent('secrets:*:*');
    const ids = [];
    for (let count = 0; count < 20; count += 1) {
      ids.push(await opened(busy.key, count % 2 === 0 ? {} : { scopes: CRITICAL }));
    }
    const tooMany = async () => {
      const events = await eventsOf(async () => {
        for (const json of [
          { scopes: GUARDED },
          { scopes: ['secrets:read:plain/K'], require_approval: true },
        ]) {
          const answer = await request(json, busy.key);
          assertRefused(answer, { status: 429, code: 'RATE_LIMITED' });
          assert.match(answer.headers['retry-after'] ?? '', /^[1-9][0-9]*$/);
        }
      });
      return events.map((event) => [event.event_type, event.metadata['code'], event.actor_id]);
    };
    const stillTooMany = async () => {
      for (const [type] of await tooMany()) assert.equal(type, 'token.denied');
    };
    // Equal refusals within a minute are one event.
    assert.deepEqual(await tooMany(), [['token.denied', 'RATE_LIMITED', busy.id]]);
    const [first = '', second = '', third = ''] = ids;
    // In its delay it is pending still.
    for (const approver of approvers.slice(0, 2)) await approve(approver.key, second);
    await stillTooMany();
    assert.equal(
      (await request({ scopes: ['secrets:read:plain/K'] }, busy.key)).status,
      201,
      'not an approval',
    );
    assert.equal((await request({ scopes: GUARDED })).status, 202, 'another agent');
    for (const end of [
      () => deny(approvers[0].key, first),
      () => calls.passDelay(second),
      () => calls.lapse(third),
    ]) {
      await end();
      assert.equal((await request({ scopes: GUARDED }, busy.key)).status, 202);
      await stillTooMany();
    }
    await calls.closeAll();
  });

  await t.test('that is not there is 404 for every caller and every spelling of an id', async () => {
    const id = await opened(agent.key);
    for (const wrong of [
      'apr_aaaaaaaa',
      id.toUpperCase(),
      `${id}a`,
      id.slice(0, -1),
      id.slice(4),
      'agent',
      'apr_',
      'apr_%00aaaaaaa',
      '%27%20or%201=1--',
      agent.id,
      'x'.repeat(90),
    ]) {
      for (const line of [
        `GET /v1/approvals/${wrong}`,
        `POST /v1/approvals/${wrong}/approve`,
        `POST /v1/approvals/${wrong}/deny`,
        `GET /v1/approvals/agent/${wrong}`,
      ]) {
        assertRefused(await ask(adminKey, line), { status: 404, code: 'NOT_FOUND' }, line);
      }
    }
    // Another's, and one that is not there, are told apart by nobody.
    const other = await calls.anAgent('secrets:*:*');
    const [absent, foreign] = [await poll(other.key, 'apr_aaaaaaaa'), await poll(other.key, id)];
    assert.deepEqual(errorOf(absent), errorOf(foreign));
    await calls.closeAll();
  });

  await t.test('takes no body but what is documented, and a refused one decides nothing', async () => {
    const id = await opened(agent.key);
    const before = await view(id);
    const [approver] = approvers;
    for (const verb of ['approve', 'deny']) {
      const line = `POST /v1/approvals/${id}/${verb}`;
      for (const [json, pointer] of [
        [{ surprise: 1 }, '/surprise'],
        [{ constructor: 1 }, '/constructor'],
        [{ reason: 7 }, '/reason'],
        [{ reason: ['ok'] }, '/reason'],
        [{ reason: 'x'.repeat(501) }, '/reason'],
        [{ reason: 'a\u0000b' }, '/reason'],
        [{ reason: 'a\u001bb' }, '/reason'],
        [{ reason: 'a\u202eb' }, '/reason'],
        [{ reason: 'a\u200bb' }, '/reason'],
        [{ request_digest: 7 }, '/request_digest'],
        [{ approver_id: agent.id }, '/approver_id'],
        ...(verb === 'deny' ? [[{ request_digest: before.request_digest }, '/request_digest'] as const] : []),
      ] as const) {
        const answer = await ask(approver.key, line, { json });
        assertRefused(
          answer,
          { status: 400, code: 'VALIDATION_ERROR', details: { pointer } },
          JSON.stringify(json),
        );
      }
      for (const [raw, reason] of [
        ['{"reason":"a","reason":"b"}', 'duplicate_member'],
        ['{"__proto__":{"reason":"x"}}', 'forbidden_member'],
      ] as const) {
        const answer = await ask(approver.key, line, { raw });
        assertRefused(answer, { status: 400, code: 'INVALID_JSON' }, `${reason} ${answer.text}`);
      }
      for (const raw of ['[]', '"x"', '7', 'null']) {
        assert.equal((await ask(approver.key, line, { raw })).status, 400, raw);
      }
      assertRefused(await ask(approver.key, `${line}?reason=x`), { status: 400, code: 'VALIDATION_ERROR' });
      const form = { raw: 'reason=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
      assertRefused(await ask(approver.key, line, form), { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
    }
    for (const digest of ['', before.request_digest.toUpperCase(), `${before.request_digest} `]) {
      const answer = await approve(approver.key, id, { request_digest: digest });
      assertRefused(answer, { status: 409, code: 'VERSION_CONFLICT' }, digest);
    }
    assert.deepEqual(await view(id), before);
    // The vendor's clients send no body, also with a content type; null is absent.
    const empty = await ask(approver.key, `POST /v1/approvals/${id}/approve`, {
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(empty.status, 200, empty.text);
    assert.equal((await deny(approver.key, id, { reason: null })).status, 200);
    await calls.closeAll();
  });
});

test('the list of approvals', { skip: postgresSkip }, async (t) => {
  const calls = await buildApprovalCalls(t);
  const { approvers, approve, deny, poll, opened, ask, adminKey, view } = calls;
  await withSecrets(calls);
  const agent = await calls.anAgent('secrets:*:*');
  const doomed = await calls.anAgent('secrets:*:*');
  const [maria] = approvers;
  const made: Record<string, string> = {};
  for (const name of ['pending', 'approved', 'denied', 'expired', 'claimed', 'lapsed']) {
    made[name] = await opened(agent.key, { scopes: GUARDED });
  }
  made['delayed'] = await opened(agent.key, { scopes: CRITICAL });
  made['revoked'] = await opened(doomed.key);
  const { approved = '', denied = '', expired = '', claimed = '', lapsed = '', delayed = '' } = made;
  for (const id of [approved, claimed, lapsed]) await approve(maria.key, id);
  await deny(maria.key, denied);
  await calls.lapse(expired);
  await calls.endWindow(lapsed);
  await poll(agent.key, claimed);
  for (const { key } of approvers.slice(0, 2)) await approve(key, delayed);
  await ask(adminKey, `DELETE /v1/agents/${doomed.id}`);
  const newestFirst = Object.values(made).reverse();
  const list = (query = '', as = maria.key) =>
    ask<{ items: ApprovalView[]; next_cursor: string | null }>(as, `GET /v1/approvals${query}`);
  const idsOf = (items: readonly ApprovalView[]) => items.map(({ id }) => id);

  await t.test('holds all of them, newest first, each as its view, for approvers and admins', async () => {
    for (const as of [maria.key, adminKey]) {
      const { body, text } = await list('', as);
      assert.deepEqual(idsOf(body.items), newestFirst);
      assert.equal(body.next_cursor, null);
      assert.doesNotMatch(text, /ast_tok_|PLANTED/);
      for (const item of body.items) assert.deepEqual(item, await view(item.id));
    }
  });

  await t.test('is narrowed to one status, which follows from the times', async () => {
    for (const [status, names] of [
      ['pending', ['delayed', 'pending']],
      ['approved', ['approved']],
      ['denied', ['denied']],
      ['expired', ['revoked', 'lapsed', 'expired']],
      ['claimed', ['claimed']],
    ] as const) {
      const { body } = await list(`?status=${status}`);
      assert.deepEqual(
        idsOf(body.items),
        names.map((name) => made[name]),
        status,
      );
      for (const item of body.items) assert.equal(item.status, status);
    }
  });

  await t.test('comes in pages that lose and repeat nothing, also when it grows meanwhile', async () => {
    for (const limit of [1, 3, 8, 1000]) {
      const seen: string[] = [];
      let cursor: string | null = '';
      while (cursor !== null) {
        const next: TestAnswer<{ items: ApprovalView[]; next_cursor: string | null }> = await list(
          `?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
        );
        assert.equal(next.status, 200, next.text);
        assert.ok(next.body.items.length <= limit && next.body.items.length > 0, 'a page that is not empty');
        seen.push(...idsOf(next.body.items));
        cursor = next.body.next_cursor;
        if (limit === 3) await opened(adminKey);
      }
      const ours = new Set(newestFirst);
      assert.deepEqual(
        seen.filter((id) => ours.has(id)),
        newestFirst,
        `${limit} at a time`,
      );
      assert.equal(new Set(seen).size, seen.length);
    }
    const page = await list('?status=expired&limit=2');
    assert.deepEqual(idsOf(page.body.items), [made['revoked'], made['lapsed']]);
    const rest = await list(`?status=expired&limit=2&cursor=${page.body.next_cursor}`);
    assert.deepEqual([idsOf(rest.body.items), rest.body.next_cursor], [[made['expired']], null]);
  });

  await t.test('goes on behind an approval that has been swept meanwhile', async () => {
    const { sql } = calls;
    const [, second] = (await list('?limit=2')).body.items;
    await opened(adminKey);
    const page = await list('?limit=1');
    const swept = idsOf(page.body.items);
    await sql('delete from approvals where id = any($1)', [swept]);
    const rest = await list(`?limit=2&cursor=${page.body.next_cursor}`);
    assert.equal(rest.status, 200, rest.text);
    assert.equal(idsOf(rest.body.items)[1], second?.id);
  });

  await t.test('of one moment is paged by id', async () => {
    const { sql } = calls;
    await sql(`update approvals set created_at = '2020-01-01T00:00:00Z' where id = any($1)`, [newestFirst]);
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const next: TestAnswer<{ items: ApprovalView[]; next_cursor: string | null }> = await list(
        `?limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...idsOf(next.body.items));
      cursor = next.body.next_cursor;
    }
    const ours = new Set(newestFirst);
    assert.deepEqual(
      seen.filter((id) => ours.has(id)),
      [...newestFirst].sort().reverse(),
    );
  });

  await t.test('refuses every other query', async () => {
    for (const query of [
      'status=',
      'status=open',
      'status=Pending',
      'status=pending,denied',
      'status=pending&status=denied',
      'limit=0',
      'limit=1001',
      'limit=-1',
      'limit=1e2',
      'limit=ten',
      'cursor=',
      'cursor=x',
      'cursor=apr_aaaaaaaa',
      `cursor=${Buffer.from("apr_' or 1=1").toString('base64url')}`,
      `cursor=${Buffer.from('apr_aaaaaaaa\n').toString('base64url')}`,
      `cursor=${'A'.repeat(600)}`,
      'agent_id=x',
      'surprise=1',
      '__proto__=1',
    ]) {
      assertRefused(await list(`?${query}`), { status: 400, code: 'VALIDATION_ERROR' }, query);
    }
    for (const url of [
      `/v1/approvals/${approved}?surprise=1`,
      `/v1/approvals/agent/${approved}?surprise=1`,
    ]) {
      assertRefused(await ask(adminKey, `GET ${url}`), { status: 400, code: 'VALIDATION_ERROR' }, url);
    }
  });
});
