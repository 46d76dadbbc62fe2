/** The record of an intent token. Its row, its idempotency row and its audit event appear in one statement, or none does. */

import type { AuditEvent } from '../../use-cases/audit/ports.ts';
import type {
  IdempotencyRecord,
  IdempotencyScope,
  IntentTokenRecord,
  IntentTokenStore,
  RepeatableToken,
} from '../../use-cases/intent-tokens/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import {
  GROUPED_EVENT_TYPES,
  groupedEvent,
  insertEventOf,
  insertGroupedEvents,
} from '../audit/audit-store.ts';
import { createBatcher, runGuardedBatch, selectApplied } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import {
  fromLiveActor,
  INTENT_TOKEN_IS_LIVE,
  INTENT_TOKEN_STATE,
  isOfSigner,
  KEY_IS_LIVE,
  REPEATABLE_FOR,
  WHERE_ISSUER_IS_LIVE,
} from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import { orUndone, Rollback } from '../engine/storage-errors.ts';
import {
  assignments,
  columns,
  columnTypes,
  type Expressions,
  insertFrom,
  members,
  recordset,
  selectList,
} from '../engine/table-columns.ts';
import { idempotencyKeys, intentTokens } from '../schema.ts';

/** Sent as they are kept. */
const KEPT = [
  'jti',
  'planId',
  'agentId',
  'keyId',
  'kid',
  'planHashHex',
  'merkleRootHex',
  'treeSize',
  'policyText',
  'actionsText',
] as const;
const RECORD_TYPES: Expressions<keyof IntentTokenRecord> = {
  ...columnTypes(intentTokens, KEPT),
  agentRevision: 'int',
  issuedAtSeconds: 'float8',
  expiresAtSeconds: 'float8',
};

/** Kept with an idempotency key: what is the token's as well, and what is only of the key's. */
const OF_TOKEN = ['jti', 'planId', 'keyId', 'kid'] as const;
const OF_KEY = ['bodySha256Hex', 'jwtSha256Hex', 'issuer', 'audience'] as const;
const IDEMPOTENCY_TYPES = columnTypes(idempotencyKeys, ['path', 'key', ...OF_KEY]);

const timesOf = (row: string) => ({
  issuedAt: `to_timestamp(${row}."issuedAtSeconds")`,
  expiresAt: `to_timestamp(${row}."expiresAtSeconds")`,
});

/**
 * Closes the race between two requests under one idempotency key: the insert of its row yields to an earlier one, and
 * who yields is not written.
 */
const IDEMPOTENCY = `
    idempotency as (
      ${insertFrom(
        idempotencyKeys,
        { ...members('live', ['agentId', 'path', 'key', ...OF_TOKEN, ...OF_KEY]), ...timesOf('live') },
        'live where live.key is not null',
      )}
      on conflict (agent_id, path, key) do update set
        ${assignments(
          idempotencyKeys,
          columns(idempotencyKeys, 'excluded', [...OF_TOKEN, ...OF_KEY, 'issuedAt', 'expiresAt']),
        )}, created_at = clock_timestamp()
      where idempotency_keys.created_at <= clock_timestamp() - ${REPEATABLE_FOR}
      returning jti
    ), granted as (
      select * from live where live.key is null or jti in (select jti from idempotency)
    ), `;

const ISSUE_IDEMPOTENCY: Statement = {
  name: 'issue_intent_tokens_once',
  effect: 'write',
  text: issueText(true),
};

/** For groups in which nobody sent an idempotency key: six columns and one join fewer. */
const ISSUE: Statement = { name: 'issue_intent_tokens', effect: 'write', text: issueText(false) };

/**
 * `$1` is a list of `rowOf`: one JSON text costs Postgres what eighteen arrays cost it, and us a third. Closes the race
 * between issuing and revoking: a member is written only while its key and its agent are live and the agent is as it
 * was when the policy was decided (`revision`). And that between signing and a change of signing keys.
 */
function issueText(idempotency: boolean): string {
  const types = { ...RECORD_TYPES, ...GROUPED_EVENT_TYPES, ...(idempotency ? IDEMPOTENCY_TYPES : {}) };
  return `
    with live as (
      select asked.* from ${recordset('$1', 'asked', types)} ${WHERE_ISSUER_IS_LIVE}
        and ${isOfSigner('asked.kid')}
    ), ${idempotency ? IDEMPOTENCY : 'granted as (select * from live), '}token as (
      ${insertFrom(
        intentTokens,
        { ...members('granted', KEPT), ...timesOf('granted'), rootJti: 'granted.jti' },
        'granted',
      )}
    ), event as (
      ${insertGroupedEvents({
        eventType: `'intent.issued'`,
        actorId: 'granted."agentId"::text',
        resourceType: `'intent_token'`,
        resourceId: 'granted.jti::text',
      })}
    )
    ${selectApplied('jti')}`;
}

const HELD_IS_REPEATABLE = `held.agent_id = $1 and held.path = $2 and held.key = $3
      and held.created_at > clock_timestamp() - ${REPEATABLE_FOR}`;

/** The token of a held idempotency key, with its agent. */
const OF_HELD = `from intent_tokens token join agents agent on agent.id = token.agent_id
          where token.jti = held.jti and agent.id = held.agent_id`;

/** The key that it was issued to, which another key of the principal may ask for it with. */
const KEY_OF_HELD_IS_LIVE = `exists (
          select from api_keys key where key.key_id = held.key_id and key.agent_id = held.agent_id and ${KEY_IS_LIVE})`;

/** What the seals of that key and of its agent are judged by; both are there where they are live. */
const JUDGED = `${sealList('api_keys', 'issuing_key')}, ${sealList('agents', 'issuing_agent')}`;
const joinJudged = (row: string): string => `
    left join api_keys issuing_key on issuing_key.key_id = ${row}.key_id
    left join agents issuing_agent on issuing_agent.id = issuing_key.agent_id`;

const FIND_ISSUED: Statement = {
  name: 'find_idempotency_key',
  effect: 'read',
  text: `
    select ${selectList<RepeatableToken>({
      ...columns(idempotencyKeys, 'held', [...OF_TOKEN, ...OF_KEY]),
      issuedAtSeconds: 'extract(epoch from held.issued_at)::float8',
      expiresAtSeconds: 'extract(epoch from held.expires_at)::float8',
      standing: `coalesce(
        (select nullif(${INTENT_TOKEN_STATE}, 'live') ${OF_HELD}),
        case when not exists (select ${OF_HELD}) then 'revoked' when not ${KEY_OF_HELD_IS_LIVE} then 'key_ended' else 'live' end)`,
    })}, ${JUDGED}
    from idempotency_keys held ${joinJudged('held')}
    where ${HELD_IS_REPEATABLE}`,
};

/**
 * Closes the race between a repeat and a revocation: what is handed out again is judged as what is issued, in the
 * statement of its event. The seals of the rows that this rests on are judged before it is committed.
 */
const REPEAT: Statement = {
  name: 'repeat_intent_token',
  effect: 'write',
  text: `
    with granted as (
      select held.jti, held.key_id from idempotency_keys held
      where ${HELD_IS_REPEATABLE} and held.jti = $4 and ${KEY_OF_HELD_IS_LIVE}
        and exists (select ${OF_HELD} and ${INTENT_TOKEN_IS_LIVE})
        and exists (select ${fromLiveActor('$5')} and agent.id = held.agent_id and agent.revision = $6)
    ), event as (
      ${insertEventOf('granted', '$7')}
    )
    select ${JUDGED} from granted ${joinJudged('granted')}`,
};

interface Member {
  readonly record: IntentTokenRecord;
  readonly event: AuditEvent;
  readonly idempotency: { readonly scope: IdempotencyScope; readonly record: IdempotencyRecord } | undefined;
}

export function createIntentTokenStore(database: Database, seals: RowSeals): IntentTokenStore {
  const queue = createBatcher<Member, { issued: boolean }>({
    // Rows of idempotency keys are the only ones that two statements can contend for: theirs is the order.
    orderKey: ({ record, idempotency }) =>
      idempotency === undefined
        ? record.jti
        : `${idempotency.scope.agentId} ${idempotency.scope.path} ${idempotency.scope.key}`,
    run: async (members) => {
      const anyIdempotency = members.some(({ idempotency }) => idempotency !== undefined);
      const isIssued = await runGuardedBatch<string>(
        database,
        anyIdempotency ? ISSUE_IDEMPOTENCY : ISSUE,
        members.map(rowOf),
      );
      return members.map(({ record }) => ({ issued: isIssued(record.jti) }));
    },
  });
  /** Both are looked at, so that both are reported. */
  const isWhole = (row: object): boolean => {
    const [key, agent] = [seals.fits(judgedRow('api_keys', row)), seals.fits(judgedRow('agents', row))];
    return key && agent;
  };
  return {
    issue: async (record, event, idempotency) => (await queue.submit({ record, event, idempotency })).issued,
    findIssued: async ({ agentId, path, key }) => {
      const [row] = await database.query<RepeatableToken>(FIND_ISSUED, [agentId, path, key]);
      if (row === undefined) return undefined;
      const isForged = row.standing === 'live' && !isWhole(row);
      return { ...recordOf(row), standing: isForged ? 'forged' : row.standing };
    },
    recordRepeat: async ({ scope, jti, callerKeyId, agentRevision, event }) => {
      const { agentId, path, key } = scope;
      const values = [agentId, path, key, jti, callerKeyId, agentRevision, JSON.stringify([event])];
      return orUndone(false, () =>
        database.transaction(async (session) => {
          const [row] = await session.query(REPEAT, values);
          if (row !== undefined && !isWhole(row)) throw new Rollback();
          return row !== undefined;
        }),
      );
    },
  };
}

/** What an idempotency key adds is in its record or in its scope; the rest of both is the token's as well. */
function rowOf({ record, event, idempotency }: Member): object {
  return Object.assign({}, idempotency?.record, idempotency?.scope, record, groupedEvent(event));
}

/** The record alone: the row holds what was read to judge it as well. */
function recordOf(row: IdempotencyRecord): IdempotencyRecord {
  const kept = [...OF_TOKEN, ...OF_KEY, 'issuedAtSeconds', 'expiresAtSeconds'] as const;
  return Object.fromEntries(kept.map((member) => [member, row[member]])) as unknown as IdempotencyRecord;
}
