/**
 * Scoped tokens. A token's row and its event appear in one statement, or neither does; liveness is derived, so a row
 * says nothing of its agent's.
 */

import { ACCESS_TIERS, type AccessTier } from '../../domain/secrets/access-tier.ts';
import type { TokenState } from '../../domain/secrets/secret-authorization.ts';
import type { AuditEvent } from '../../use-cases/audit/ports.ts';
import type {
  NewScopedToken,
  ScopedTokenRecord,
  ScopedTokenStore,
} from '../../use-cases/scoped-tokens/ports.ts';
import { AUDIT_COLUMNS, auditValues } from '../audit/audit-store.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { runGuardedBatch, selectApplied } from '../engine/guarded-batch.ts';
import { AGENT_IS_LIVE, isNotRevoked, KEY_IS_LIVE, TOKEN_STATE } from '../engine/liveness-sql.ts';
import { takeAgentLock } from '../principals/agent-lock.ts';

/**
 * `$1` is a list of `rowOf`, which costs a third of as many arrays.
 *
 * Closes the race between issuing and revoking or narrowing: a member is written only while its key and its agent are
 * live and the agent is as it was when the scopes were decided (`revision`).
 */
const ISSUE: Statement = {
  name: 'issue_scoped_tokens',
  effect: 'write',
  text: `
    with granted as (
      select asked.*
      from json_to_recordset($1::json) as asked (
        id uuid, token_hash text, agent_id uuid, key_id text, revision int, scopes text[], allowed_ips text[],
        max_uses int, description text, created_ms float8, expires_ms float8,
        event_id uuid, actor_type text, metadata jsonb, ip_address text, request_id text
      )
      join api_keys key on key.key_id = asked.key_id and key.agent_id = asked.agent_id
      join agents agent on agent.id = asked.agent_id and agent.revision = asked.revision
      where ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}
    ), token as (
      insert into scoped_tokens (
        id, token_hash, agent_id, key_id, scopes, allowed_ips, max_uses, description, created_at, expires_at
      )
      select id, decode(token_hash, 'hex'), agent_id, key_id, scopes, allowed_ips, max_uses, description,
        to_timestamp(created_ms / 1000), to_timestamp(expires_ms / 1000)
      from granted
    ), event as (
      insert into audit_events (${AUDIT_COLUMNS})
      select event_id, 'token.issued', agent_id::text, actor_type, 'scoped_token', id::text, metadata,
        ip_address, request_id
      from granted
    )
    ${selectApplied('id')}`,
};

const SELECT = `
    select token.id, token.agent_id, token.scopes, token.allowed_ips, token.max_uses, token.uses, token.description,
      token.created_at, token.expires_at, token.revoked_at, ${TOKEN_STATE} as state
    from scoped_tokens token join agents agent on agent.id = token.agent_id`;

const FIND: Statement = {
  name: 'find_scoped_token',
  effect: 'read',
  text: `${SELECT} where token.id = $1`,
};

const FIND_BY_HASH: Statement = {
  name: 'find_scoped_token_by_hash',
  effect: 'read',
  text: `${SELECT} where token.token_hash = decode($1, 'hex')`,
};

/** Two statements, so that each has the index that fits. */
const LIST_ALL: Statement = { name: 'list_scoped_tokens', effect: 'read', text: listText('true') };

const LIST_OWN: Statement = {
  name: 'list_own_scoped_tokens',
  effect: 'read',
  text: listText('token.agent_id = $4'),
};

function listText(whose: string): string {
  return `${SELECT}
    where ${whose} and token.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      and ($2::text is null or ${TOKEN_STATE} = $2)
    order by token.id desc limit $3`;
}

const OWNER: Statement = {
  name: 'owner_of_scoped_token',
  effect: 'read',
  text: `select agent_id from scoped_tokens where id = $1`,
};

/** Closes the race between two revocations: one of them writes the event. */
const REVOKE: Statement = {
  name: 'revoke_scoped_token',
  effect: 'write',
  text: `
    with actor as (
      select agent.id, agent.role from api_keys key join agents agent on agent.id = key.agent_id
      where key.key_id = $2 and ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}
    ), revoked as (
      update scoped_tokens token set revoked_at = clock_timestamp()
      from actor
      where token.id = $1 and ${isNotRevoked('token')} and (actor.role = 'admin' or actor.id = token.agent_id)
      returning token.id
    ), event as (
      insert into audit_events (${AUDIT_COLUMNS})
      select $3::uuid, $4, $5, $6, $7, $8, $9::jsonb, $10, $11 from revoked
    )
    select exists (select from actor) as live, exists (select from revoked) as revoked`,
};

const TIERS: Statement = {
  name: 'tiers_of_secrets',
  effect: 'read',
  text: `select distinct access_tier from secrets where path = any($1::text[])`,
};

interface Row {
  id: string;
  agent_id: string;
  scopes: string[];
  allowed_ips: string[] | null;
  max_uses: number | null;
  uses: number;
  description: string | null;
  created_at: Date;
  expires_at: Date;
  revoked_at: Date | null;
  state: TokenState;
}

interface Member {
  readonly token: NewScopedToken;
  readonly event: AuditEvent;
}

export function createScopedTokenStore(database: Database): ScopedTokenStore {
  const queue = createBatcher<Member, { issued: boolean }>({
    orderKey: ({ token }) => token.id,
    run: async (members) => {
      const isIssued = await runGuardedBatch<string>(database, ISSUE, members.map(rowOf));
      return members.map(({ token }) => ({ issued: isIssued(token.id) }));
    },
  });
  const findOne = async (statement: Statement, value: unknown): Promise<ScopedTokenRecord | undefined> => {
    const [row] = await database.query<Row>(statement, [value]);
    return row === undefined ? undefined : recordOf(row);
  };
  return {
    issue: async (token, event) => (await queue.submit({ token, event })).issued,
    find: (id) => findOne(FIND, id),
    findByHash: (tokenHashHex) => findOne(FIND_BY_HASH, tokenHashHex),
    list: async ({ agentId, state, limit, before }) => {
      const filter = [before ?? null, state ?? null, limit];
      const rows =
        agentId === undefined
          ? await database.query<Row>(LIST_ALL, filter)
          : await database.query<Row>(LIST_OWN, [...filter, agentId]);
      return rows.map(recordOf);
    },
    revoke: (id, { actorKeyId, event }) =>
      database.transaction(async (session) => {
        const [owner] = await session.query<{ agent_id: string }>(OWNER, [id]);
        if (owner !== undefined) await takeAgentLock(session, owner.agent_id);
        const values = [id, actorKeyId, ...auditValues(event)];
        const [outcome] = await session.query<{ live: boolean; revoked: boolean }>(REVOKE, values);
        if (outcome?.live !== true) return 'actor_not_live';
        return outcome.revoked ? 'revoked' : 'unchanged';
      }),
    highestTier: async (paths) => {
      const rows = await database.query<{ access_tier: AccessTier }>(TIERS, [paths]);
      const present = new Set(rows.map((row) => row.access_tier));
      return ACCESS_TIERS.findLast((tier) => present.has(tier));
    },
  };
}

function recordOf(row: Row): ScopedTokenRecord {
  return {
    id: row.id,
    agentId: row.agent_id,
    scopes: row.scopes,
    allowedIps: row.allowed_ips,
    maxUses: row.max_uses,
    uses: row.uses,
    description: row.description,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    state: row.state,
  };
}

/** What is undefined is not written; as a column it is null. */
function rowOf({ token, event }: Member) {
  return {
    id: token.id,
    token_hash: token.tokenHashHex,
    agent_id: token.agentId,
    key_id: token.keyId,
    revision: token.agentRevision,
    scopes: token.scopes,
    allowed_ips: token.allowedIps ?? undefined,
    max_uses: token.maxUses ?? undefined,
    description: token.description ?? undefined,
    created_ms: token.createdAt.getTime(),
    expires_ms: token.expiresAt.getTime(),
    event_id: event.id,
    actor_type: event.actorType,
    metadata: event.metadata,
    ip_address: event.ipAddress,
    request_id: event.requestId,
  };
}
