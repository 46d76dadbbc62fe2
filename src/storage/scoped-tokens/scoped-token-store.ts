/**
 * Scoped tokens. A token's row and its event appear in one statement, or neither does; liveness is derived, so a row
 * says nothing of its agent's.
 */

import { ACCESS_TIERS, type AccessTier } from '../../domain/secrets/access-tier.ts';
import { RESTRICTION_MEMBERS, statedRestrictions } from '../../domain/secrets/token-restrictions.ts';
import type { AuditEvent } from '../../use-cases/audit/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type {
  FoundScopedToken,
  NewScopedToken,
  ScopedTokenRecord,
  ScopedTokenStore,
} from '../../use-cases/scoped-tokens/ports.ts';
import { GROUPED_EVENT_TYPES, groupedEvent, insertGroupedEvents } from '../audit/audit-store.ts';
import { createBatcher, runGuardedBatch, selectApplied } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { AGENT_IS_STOPPED, TOKEN_STATE, WHERE_ISSUER_IS_LIVE } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import {
  columns,
  columnTypes,
  type Expressions,
  insertFrom,
  members,
  recordset,
  selectList,
} from '../engine/table-columns.ts';
import { createTokenList, createTokenRevocation, type HeldTokens } from '../held-tokens.ts';
import { takeAgentLock } from '../principals/agent-lock.ts';
import { scopedTokens } from '../schema.ts';

/** Sent as they are kept. */
const KEPT = ['id', 'agentId', 'keyId', 'scopes', 'description', ...RESTRICTION_MEMBERS] as const;

/** Of the members of `newTokenRow`. */
export const NEW_TOKEN_TYPES: Expressions<keyof NewScopedToken | 'sealHex'> = {
  ...columnTypes(scopedTokens, KEPT),
  tokenHashHex: 'text',
  agentRevision: 'int',
  createdAt: 'float8',
  expiresAt: 'float8',
  sealHex: 'text',
};

/** What only the token of an approval has. */
interface ClaimedGrant {
  readonly tier: AccessTier;
  readonly boundSecrets: readonly string[] | null;
}

const UNCLAIMED: ClaimedGrant = { tier: 'standard', boundSecrets: null };

/**
 * Times in milliseconds, because a date's text costs more than all the rest. What is null is left out, and read as null:
 * its name would be written, sent and parsed for nothing.
 */
export function newTokenRow(
  token: NewScopedToken,
  seals: RowSeals,
  claimed: ClaimedGrant = UNCLAIMED,
): Readonly<Record<keyof NewScopedToken | 'sealHex', unknown>> {
  const row = {
    id: token.id,
    tokenHashHex: token.tokenHashHex,
    agentId: token.agentId,
    keyId: token.keyId,
    agentRevision: token.agentRevision,
    scopes: token.scopes,
    description: token.description ?? undefined,
    createdAt: token.createdAt.getTime(),
    expiresAt: token.expiresAt.getTime(),
    sealHex: seals.hexOf(newTokenMessage(token, claimed)),
  };
  // Not spread into one literal: that makes a hash table of so many members, which costs five times as much.
  return Object.assign(row, statedRestrictions(token));
}

/** The `messageOf` such a row, which a test holds it to; written out, it is made in a third of the time. */
export const newTokenMessage = (
  { id, tokenHashHex, agentId, scopes, maxUses, allowedIps, expiresAt }: NewScopedToken,
  { tier, boundSecrets }: ClaimedGrant = UNCLAIMED,
): string =>
  `["scoped_tokens","${id}","${tokenHashHex}","${agentId}",${textOf(scopes)},${maxUses},${textOf(allowedIps)},"${tier}",${textOf(boundSecrets)},${expiresAt.getTime()}]`;

const textOf = (list: readonly string[] | null): string =>
  list === null ? 'null' : JSON.stringify(JSON.stringify(list));

/** Inserts the rows of `granted`; `claimed` names what only the token of an approval has. */
export const insertNewTokens = (
  claimed: Partial<Expressions<'tier' | 'boundSecrets' | 'approvalId'>> = {},
): string =>
  insertFrom(
    scopedTokens,
    {
      ...members('granted', KEPT),
      tokenHash: `decode(granted."tokenHashHex", 'hex')`,
      createdAt: 'to_timestamp(granted."createdAt" / 1000)',
      expiresAt: 'to_timestamp(granted."expiresAt" / 1000)',
      seal: `decode(granted."sealHex", 'hex')`,
      ...claimed,
    },
    'granted',
  );

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
      select asked.* from ${recordset('$1', 'asked', { ...NEW_TOKEN_TYPES, ...GROUPED_EVENT_TYPES })}
      ${WHERE_ISSUER_IS_LIVE}
    ), token as (
      ${insertNewTokens()}
    ), event as (
      ${insertGroupedEvents({
        eventType: `'token.issued'`,
        actorId: 'granted."agentId"::text',
        resourceType: `'scoped_token'`,
        resourceId: 'granted.id::text',
      })}
    )
    ${selectApplied('id')}`,
};

const LISTED = [
  'id',
  'agentId',
  'scopes',
  'uses',
  'description',
  'createdAt',
  'expiresAt',
  'revokedAt',
  ...RESTRICTION_MEMBERS,
] as const;

const SELECT = `
    select ${selectList<ScopedTokenRecord>({
      ...columns(scopedTokens, 'token', LISTED),
      state: TOKEN_STATE,
    })}
    from scoped_tokens token join agents agent on agent.id = token.agent_id`;

/** With all that is needed to judge both rows. */
const SELECT_JUDGED = SELECT.replace(
  'from scoped_tokens',
  `, ${AGENT_IS_STOPPED} as "isStopped", ${sealList('scoped_tokens', 'token')}, ${sealList('agents', 'agent')} from scoped_tokens`,
);

const FIND: Statement = {
  name: 'find_scoped_token',
  effect: 'read',
  text: `${SELECT_JUDGED} where token.id = $1`,
};

const FIND_BY_HASH: Statement = {
  name: 'find_scoped_token_by_hash',
  effect: 'read',
  text: `${SELECT_JUDGED} where token.token_hash = decode($1, 'hex')`,
};

/** The record alone: the row may hold what was read to judge it. */
function recordOf(row: ScopedTokenRecord): ScopedTokenRecord {
  const record: Record<string, unknown> = {};
  for (const member of [...LISTED, 'state'] as const) record[member] = row[member];
  return record as unknown as ScopedTokenRecord;
}

const HELD: HeldTokens = {
  name: 'scoped_token',
  table: 'scoped_tokens',
  id: 'id',
  select: SELECT,
  state: TOKEN_STATE,
};

const OWNER: Statement = {
  name: 'owner_of_scoped_token',
  effect: 'read',
  text: `select agent_id as "agentId" from scoped_tokens where id = $1`,
};

const TIERS: Statement = {
  name: 'tiers_of_secrets',
  effect: 'read',
  text: `select distinct access_tier as tier from secrets where path = any($1::text[])`,
};

interface Member {
  readonly token: NewScopedToken;
  readonly event: AuditEvent;
}

const revokeToken = createTokenRevocation(HELD);

export function createScopedTokenStore(database: Database, seals: RowSeals): ScopedTokenStore {
  const rowOf = ({ token, event }: Member): object =>
    Object.assign(newTokenRow(token, seals), groupedEvent(event));
  const queue = createBatcher<Member, { issued: boolean }>({
    orderKey: ({ token }) => token.id,
    run: async (members) => {
      const isIssued = await runGuardedBatch<string>(database, ISSUE, members.map(rowOf));
      return members.map(({ token }) => ({ issued: isIssued(token.id) }));
    },
  });
  const findOne = async (statement: Statement, value: unknown): Promise<FoundScopedToken | undefined> => {
    const [row] = await database.query<ScopedTokenRecord & { isStopped: boolean }>(statement, [value]);
    if (row === undefined) return undefined;
    const isWhole =
      row.state !== 'live' ||
      (seals.fits(judgedRow('scoped_tokens', row)) && seals.fits(judgedRow('agents', row)));
    return { ...recordOf(row), isWhole, isStopped: row.isStopped };
  };
  return {
    issue: async (token, event) => (await queue.submit({ token, event })).issued,
    find: (id) => findOne(FIND, id),
    findByHash: (tokenHashHex) => findOne(FIND_BY_HASH, tokenHashHex),
    list: createTokenList<ScopedTokenRecord>(database, HELD),
    revoke: (id, write) =>
      database.transaction(async (session) => {
        const [owner] = await session.query<{ agentId: string }>(OWNER, [id]);
        if (owner !== undefined) await takeAgentLock(session, owner.agentId);
        return revokeToken(session, id, write);
      }),
    highestTier: async (paths) => {
      const rows = await database.query<{ tier: AccessTier }>(TIERS, [paths]);
      const present = new Set(rows.map((row) => row.tier));
      return ACCESS_TIERS.findLast((tier) => present.has(tier));
    },
  };
}
