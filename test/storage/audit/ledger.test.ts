/**
 * The ledger: whatever a client was told has happened is on record exactly once, and whatever is on record has
 * happened, under a random load of everything over two processes of which one is killed (contract section 8).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { generateApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { LEDGER_ANSWERS } from '../../support/effort.ts';
import {
  A_PLAN,
  type Answer,
  type Client,
  createClient,
  errorCodeOf,
  insist,
  mayAskAgain,
  until,
} from '../../support/issuing.ts';
import { createEmptyTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { startServer } from '../../support/processes.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';

const WORKERS = 32;
const { beforeKill: BEFORE_KILL, inAll: IN_ALL } = LEDGER_ANSWERS;

interface Told {
  readonly requestId: string;
  readonly did: string;
  readonly events: readonly string[];
  /** Where the answer names it. */
  readonly resource: string | undefined;
}

/** One request: what was asked, and which event there has to be if it succeeded. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly as: string;
  readonly json?: unknown;
  /** Of a success: none where nothing was done. */
  readonly events: (body: Body) => readonly string[];
  readonly resource?: (body: Body) => string | undefined;
  readonly keep?: (body: Body) => void;
}
type Body = Readonly<Record<string, string | undefined>>;

/** Reproducible, as far as several clients are: mulberry32. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface People {
  readonly admin: string;
  readonly agents: readonly string[];
  readonly approvers: readonly string[];
}

/** Each thing is taken out before it is ended, so that nothing is ended twice. */
function operations({ admin, agents, approvers }: People, random: (below: number) => number) {
  const tokens: { id: string; token: string }[] = [];
  const approvals: { id: string; as: string }[] = [];
  const grown: string[] = [];
  const keys: { agent: string; key: string }[] = [];
  let made = 0;
  const oneOf = <T>(list: readonly T[]): T => list[random(list.length)] ?? assert.fail('of nothing');
  const take = <T>(list: T[]): T | undefined => list.splice(random(Math.max(1, list.length)), 1)[0];
  const path = () => `team${random(2)}/app/K${random(12)}`;
  const bearer = () => (tokens.length > 0 && random(2) === 0 ? oneOf(tokens).token : oneOf(agents));
  const always = (type: string) => () => [type];

  const kinds: readonly (readonly [number, () => Asked | undefined])[] = [
    [
      14,
      () => ({
        method: 'POST',
        path: '/token/issue',
        as: oneOf(agents),
        json: { plan: A_PLAN },
        events: always('intent.issued'),
        resource: (body) => body['token_id'],
      }),
    ],
    [
      12,
      () => ({
        method: 'POST',
        path: '/v1/tokens',
        as: oneOf(agents),
        json: {
          scopes: ['secrets:*:*', 'namespaces:read'],
          ...(random(2) === 0 ? { max_uses: 1 + random(4) } : {}),
        },
        events: always('token.issued'),
        resource: (body) => body['token_id'],
        keep: ({ token_id: id = '', token = '' }) => void tokens.push({ id, token }),
      }),
    ],
    [
      4,
      () => {
        const token = tokens.length > 5 ? take(tokens) : undefined;
        return (
          token && {
            method: 'DELETE',
            path: `/v1/tokens/${token.id}`,
            as: admin,
            events: always('token.revoked'),
            resource: () => token.id,
          }
        );
      },
    ],
    [
      14,
      () => ({
        method: 'PUT',
        path: `/v1/secrets/${path()}`,
        as: bearer(),
        json: { value: 'v' },
        events: () => ['secret.created', 'secret.updated'],
      }),
    ],
    [
      20,
      () => ({ method: 'GET', path: `/v1/secrets/${path()}`, as: bearer(), events: always('secret.read') }),
    ],
    [
      6,
      () => ({
        method: 'POST',
        path: `/v1/secrets/${path()}/rotate`,
        as: bearer(),
        events: always('secret.rotated'),
      }),
    ],
    [
      5,
      () => ({
        method: 'DELETE',
        path: `/v1/secrets/${path()}`,
        as: bearer(),
        events: always('secret.deleted'),
      }),
    ],
    [
      4,
      () => ({
        method: 'POST',
        path: '/v1/secrets/import',
        as: bearer(),
        json: { namespace: `team${random(2)}/app`, content: `K${random(6)}=a\nK${6 + random(6)}=b` },
        events: always('secret.imported'),
      }),
    ],
    [
      3,
      () => ({
        method: 'GET',
        path: `/v1/secrets/team${random(2)}%2Fapp`,
        as: bearer(),
        events: always('secret.listed'),
      }),
    ],
    [2, () => ({ method: 'GET', path: '/v1/namespaces', as: bearer(), events: always('namespace.listed') })],
    [
      8,
      () => {
        const as = oneOf(agents);
        return {
          method: 'POST',
          path: '/v1/tokens',
          as,
          json: { scopes: [`secrets:read:vault/${oneOf(['sensitive', 'critical'])}`], max_uses: 2 },
          events: always('approval.requested'),
          resource: (body) => body['approval_id'],
          keep: ({ approval_id: id = '' }) => void approvals.push({ id, as }),
        };
      },
    ],
    [
      10,
      () =>
        approvals.length === 0
          ? undefined
          : {
              method: 'POST',
              path: `/v1/approvals/${oneOf(approvals).id}/approve`,
              as: oneOf(approvers),
              events: always('approval.granted'),
              resource: (body) => body['id'],
            },
    ],
    [
      3,
      () =>
        approvals.length === 0
          ? undefined
          : {
              method: 'POST',
              path: `/v1/approvals/${oneOf(approvals).id}/deny`,
              as: oneOf(approvers),
              events: always('approval.denied'),
              resource: (body) => body['id'],
            },
    ],
    [
      10,
      () => {
        const approval = approvals.length === 0 ? undefined : oneOf(approvals);
        return (
          approval && {
            method: 'GET',
            path: `/v1/approvals/agent/${approval.id}`,
            as: approval.as,
            events: ({ token }) => (token === undefined ? [] : ['approval.claimed']),
            resource: ({ token }) => (token === undefined ? undefined : approval.id),
            keep: ({ token, token_id: id = '' }) => void (token !== undefined && tokens.push({ id, token })),
          }
        );
      },
    ],
    [
      1,
      () => {
        made += 1;
        return {
          method: 'POST',
          path: '/v1/agents',
          as: admin,
          json: { name: `grown-${made}`, allowed_scopes: ['secrets:read:*'] },
          events: always('agent.created'),
          resource: (body) => body['id'],
          keep: ({ id = '' }) => void grown.push(id),
        };
      },
    ],
    [
      2,
      () =>
        grown.length === 0
          ? undefined
          : {
              method: 'PATCH',
              path: `/v1/agents/${oneOf(grown)}`,
              as: admin,
              json: { description: `changed ${random(1000)}` },
              events: always('agent.updated'),
              resource: (body) => body['id'],
            },
    ],
    [
      1,
      () => {
        const agent = grown.length === 0 ? undefined : oneOf(grown);
        return agent === undefined
          ? undefined
          : {
              method: 'POST',
              path: `/v1/agents/${agent}/keys`,
              as: admin,
              json: { name: 'another' },
              events: always('key.created'),
              resource: (body) => body['id'],
              keep: ({ id: key = '' }) => void keys.push({ agent, key }),
            };
      },
    ],
    [
      1,
      () => {
        const key = take(keys);
        return (
          key && {
            method: 'DELETE',
            path: `/v1/agents/${key.agent}/keys/${key.key}`,
            as: admin,
            events: always('key.revoked'),
            resource: () => key.key,
          }
        );
      },
    ],
    [
      1,
      () => {
        const agent = grown.length > 2 ? take(grown) : undefined;
        return agent === undefined
          ? undefined
          : {
              method: 'DELETE',
              path: `/v1/agents/${agent}`,
              as: admin,
              events: always('agent.revoked'),
              resource: () => agent,
            };
      },
    ],
  ];
  const drawn = kinds.flatMap(([weight, kind]) => Array.from({ length: weight }, () => kind));
  return (): Asked => {
    for (;;) {
      const asked = oneOf(drawn)();
      if (asked !== undefined) return asked;
    }
  };
}

/** Each row is a mismatch, so there must be none. `event` holds every event, its metadata unfolded as far as needed. */
const BOOKS: Readonly<Record<string, string>> = {
  'one event per request': `
    select request_id, count(*) from audit_events
    where request_id is not null and event_type !~ 'denied$' and not metadata ? 'approval_id'
    group by request_id having count(*) > 1`,
  'intent tokens': both(
    `select jti::text as thing from intent_tokens`,
    `select resource_id as thing from audit_events where event_type = 'intent.issued'`,
  ),
  'scoped tokens': both(
    `select id::text as thing from scoped_tokens`,
    `select resource_id as thing from audit_events where event_type = 'token.issued'`,
  ),
  'claimed tokens': both(
    `select id || ' ' || approval_id || ' ' || coalesce(description, '') as thing from scoped_tokens
     where approval_id is not null`,
    `select resource_id || ' ' || (metadata ->> 'approval_id') || ' ' || coalesce(metadata ->> 'description', '') as thing
     from audit_events where event_type = 'token.issued' and metadata ? 'approval_id'`,
  ),
  'revoked scoped tokens': both(
    `select id::text as thing from scoped_tokens where revoked_at is not null`,
    `select resource_id as thing from audit_events where event_type = 'token.revoked'`,
  ),
  'uses of limited tokens': `
    select token.id, uses, counted from scoped_tokens token cross join lateral (
      select count(*)::int as counted from audit_events
      where metadata ->> 'token_id' = token.id::text and event_type ~ '^(secret|namespace)[.]' and event_type !~ 'denied$'
    ) as event
    where max_uses is not null and (uses <> counted or uses > max_uses)`,
  approvals: both(
    `select id || ' ' || access_tier as thing from approvals`,
    `select resource_id || ' ' || (metadata ->> 'access_tier') as thing from audit_events
     where event_type = 'approval.requested'`,
  ),
  votes: both(
    `select approval_id || ' ' || approver_id as thing from approval_votes`,
    `select resource_id || ' ' || actor_id as thing from audit_events where event_type = 'approval.granted'`,
  ),
  'approvals in effect': both(
    `select id as thing from approvals where effective_at is not null`,
    `select resource_id as thing from audit_events where event_type = 'approval.granted' and metadata ? 'effective_at'`,
  ),
  denials: both(
    `select id as thing from approvals where denied_at is not null`,
    `select resource_id as thing from audit_events where event_type = 'approval.denied'`,
  ),
  claims: both(
    `select approval.id || ' ' || approval.token_id as thing from approvals approval
     join scoped_tokens token on token.id = approval.token_id and token.approval_id = approval.id
     where claimed_at is not null`,
    `select resource_id || ' ' || (metadata ->> 'token_id') as thing from audit_events
     where event_type = 'approval.claimed'`,
  ),
  'claims of what was denied or not in effect': `
    select id from approvals where claimed_at is not null and (denied_at is not null or effective_at is null)`,
  'versions of secrets that are there': both(
    `select secret_id || ' ' || version as thing from secret_versions`,
    `select secret_id || ' ' || version as thing from written
     where exists (select from secrets where secrets.id::text = written.secret_id)`,
  ),
  'versions of secrets that are gone': `
    select secret_id, max(version), count(*) from written group by secret_id
    having max(version) <> count(*) or min(version) <> 1`,
  deletions: both(
    `select distinct secret_id as thing from written
     where not exists (select from secrets where secrets.id::text = written.secret_id)`,
    `select metadata ->> 'secret_id' as thing from audit_events where event_type = 'secret.deleted'`,
  ),
  'reads of what was never written': `
    select metadata from audit_events where event_type = 'secret.read' and not exists (
      select from written where written.secret_id = metadata ->> 'secret_id'
        and written.version = (metadata ->> 'version')::int
    )`,
  agents: both(
    `select id::text as thing from agents`,
    `select resource_id as thing from audit_events where event_type = 'agent.created'`,
  ),
  'revoked agents': both(
    `select id::text as thing from agents where revoked_at is not null`,
    `select resource_id as thing from audit_events where event_type = 'agent.revoked'`,
  ),
  'changes of agents': `
    select agent.id, revision, counted from agents agent cross join lateral (
      select count(*)::int as counted from audit_events
      where (resource_id = agent.id::text and event_type in ('agent.updated', 'agent.revoked'))
        or (event_type = 'key.revoked' and resource_id in (select key_id from api_keys where agent_id = agent.id))
    ) as event
    where (revision = 1) <> (counted = 0)`,
  'API keys': both(
    `select key_id as thing from api_keys`,
    `select case event_type when 'key.created' then resource_id else metadata ->> 'key_id' end as thing
     from audit_events where event_type in ('key.created', 'agent.created')`,
  ),
  'revoked API keys': both(
    `select key_id as thing from api_keys where revoked_at is not null`,
    `select resource_id as thing from audit_events where event_type = 'key.revoked'`,
  ),
};

/** Every write of a secret's version that is on record. */
const WRITTEN = `
  create temporary view written as
  select metadata ->> 'secret_id' as secret_id, (metadata ->> 'version')::int as version from audit_events
  where event_type in ('secret.created', 'secret.updated', 'secret.rotated')
  union all
  select entry ->> 'secret_id', (entry ->> 'version')::int
  from audit_events cross join jsonb_array_elements(metadata -> 'secrets') as entry
  where event_type = 'secret.imported'`;

/** What is in one of the two and not in the other, or not as often. */
function both(effects: string, events: string): string {
  return `
    select coalesce(effect.thing, event.thing) as thing, effect.times as effects, event.times as events
    from (select thing, count(*) as times from (${effects}) as e group by thing) as effect
    full join (select thing, count(*) as times from (${events}) as v group by thing) as event using (thing)
    where effect.times is distinct from event.times or effect.times <> 1 or event.times <> 1`;
}

test('every success that a client saw has one event, and every event its effect, in spite of kill -9', {
  skip: postgresSkip,
}, async (t) => {
  const { url: databaseUrl } = await createEmptyTestDatabase(t);
  const { text: admin } = generateApiKey();
  const env = {
    DATABASE_URL: databaseUrl,
    MASTER_KEY: TEST_MASTER_KEY,
    BOOTSTRAP_ADMIN_KEY: admin,
    ACCEPT_UNSAFE_DURABILITY: '1',
    CRITICAL_DELAY_SECONDS: '0',
    PORT: '0',
    LOG_LEVEL: 'error',
    RATE_LIMIT_MAX: '0',
    AUTH_FAILURE_MAX: '0',
  };
  const doomed = await startServer(t, env);
  const survivor = await startServer(t, env);
  const clients = new Map<string, Client>();
  t.after(() => {
    for (const client of clients.values()) client.close();
  });
  const clientOf = (url: string, as: string): Client => {
    const known = clients.get(url + as) ?? createClient(url, as.startsWith('ast_tok_') ? undefined : as);
    clients.set(url + as, known);
    return known;
  };
  const send = (url: string, { method, path, as, json }: Omit<Asked, 'events'>) =>
    clientOf(url, as).send(
      method,
      path,
      json,
      as.startsWith('ast_tok_') ? { authorization: `Bearer ${as}` } : {},
    );

  const create = async (json: object): Promise<string> => {
    const answer = await insist(() =>
      send(survivor.url, { method: 'POST', path: '/v1/agents', as: admin, json }),
    );
    assert.equal(answer.status, 201, answer.text);
    return bodyOf(answer)['api_key'] ?? '';
  };
  const agents: string[] = [];
  const approvers: string[] = [];
  for (const n of [1, 2, 3]) {
    agents.push(await create({ name: `agent-${n}`, allowed_scopes: ['secrets:*:*'] }));
    approvers.push(await create({ name: `approver-${n}`, role: 'approver' }));
  }
  for (const access_tier of ['sensitive', 'critical']) {
    const answer = await insist(() =>
      send(survivor.url, {
        method: 'PUT',
        path: `/v1/secrets/vault/${access_tier}`,
        as: admin,
        json: { value: 'v', access_tier },
      }),
    );
    assert.equal(answer.status, 201, answer.text);
  }

  const seed = 20_261_122;
  const next = operations({ admin, agents, approvers }, randomFrom(seed));
  const told: Told[] = [];
  const failures: Answer[] = [];
  const seen = new Set<string>();
  let answered = 0;
  // A load that left something out would prove nothing of it, and what is rare comes late now and then.
  const isIncomplete = () => answered < 4 * IN_ALL && EVERYTHING.some((event) => !seen.has(event));
  let broken = 0;
  let inFlight = 0;
  let killed = false;
  const work = async (worker: number): Promise<void> => {
    while (answered < IN_ALL || isIncomplete()) {
      const asked = next();
      const url = !killed && worker % 2 === 0 ? doomed.url : survivor.url;
      inFlight += 1;
      const answer = await send(url, asked);
      inFlight -= 1;
      if (answer === undefined) {
        broken += 1;
        assert.equal(url, doomed.url, 'only the killed process breaks connections');
        await delay(5);
        continue;
      }
      answered += 1;
      if (answer.status >= 500) failures.push(answer);
      if (answer.status >= 300) continue;
      const body = bodyOf(answer);
      asked.keep?.(body);
      for (const event of asked.events(body)) seen.add(event);
      told.push({
        requestId: String(answer.headers['x-request-id']),
        did: `${asked.method} ${asked.path}`,
        events: asked.events(body),
        resource: asked.resource?.(body),
      });
    }
  };
  const workers = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
  // A worker that fails is reported here, and not as a rejection that nobody handles.
  workers.catch(() => undefined);
  await Promise.race([
    workers,
    until(
      `${BEFORE_KILL} answers and 20 requests in flight`,
      () => answered >= BEFORE_KILL && inFlight >= 20,
      600_000,
    ),
  ]);
  assert.ok(inFlight >= 20, `${inFlight} in flight`);
  assert.equal(broken, 0);
  const gone = doomed.kill();
  killed = true;
  await gone;
  await workers;
  assert.ok(broken > 0, 'the kill broke no request');
  assert.equal(await survivor.stop(), 0, survivor.stderr());

  for (const failure of failures) {
    assert.ok(mayAskAgain({ status: failure.status, code: errorCodeOf(failure) }), failure.text);
  }
  assert.ok(answered >= IN_ALL, `${answered} answers`);
  assert.ok(told.length > answered / 2, `${told.length} successes of ${answered}`);

  const direct = new pg.Client({ connectionString: databaseUrl });
  direct.on('error', () => undefined);
  await direct.connect();
  try {
    const { rows } = await direct.query<{ request_id: string; event_type: string; resource_id: string }>(
      // The token of a claim has an event of its own beside that of the claim.
      "select request_id, event_type, resource_id from audit_events where request_id is not null and not metadata ? 'approval_id'",
    );
    const recorded = new Map<string, typeof rows>();
    for (const row of rows) recorded.set(row.request_id, [...(recorded.get(row.request_id) ?? []), row]);
    const happened = new Set<string>();
    for (const { requestId, did, events, resource } of told) {
      const found = recorded.get(requestId) ?? [];
      assert.equal(found.length, events.length === 0 ? 0 : 1, `${did}: ${JSON.stringify(found)}`);
      const [event] = found;
      if (event === undefined) continue;
      assert.ok(events.includes(event.event_type), `${did}: ${event.event_type}`);
      if (resource !== undefined) assert.equal(event.resource_id, resource, did);
      happened.add(event.event_type);
    }
    assert.deepEqual([...happened].sort(), EVERYTHING);
    await direct.query(WRITTEN);
    for (const [book, mismatches] of Object.entries(BOOKS)) {
      assert.deepEqual((await direct.query(mismatches)).rows, [], book);
    }
  } finally {
    await direct.end();
  }
});

const EVERYTHING = [
  'agent.created',
  'agent.revoked',
  'agent.updated',
  'approval.claimed',
  'approval.denied',
  'approval.granted',
  'approval.requested',
  'intent.issued',
  'key.created',
  'key.revoked',
  'namespace.listed',
  'secret.created',
  'secret.deleted',
  'secret.imported',
  'secret.listed',
  'secret.read',
  'secret.rotated',
  'secret.updated',
  'token.issued',
  'token.revoked',
];

function bodyOf(answer: Answer | undefined): Body {
  return answer === undefined || answer.text === '' ? {} : (JSON.parse(answer.text) as Body);
}
