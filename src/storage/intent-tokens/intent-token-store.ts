/** The record of an intent token. Its row, its idempotency row and its audit event appear in one statement, or none does. */

import type { AuditEvent } from '../../use-cases/audit/ports.ts';
import type {
  IdempotencyRecord,
  IdempotencyScope,
  IntentTokenRecord,
  IntentTokenStore,
} from '../../use-cases/intent-tokens/ports.ts';
import { AUDIT_COLUMNS } from '../audit/audit-store.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { runGuardedBatch, selectApplied } from '../engine/guarded-batch.ts';
import { AGENT_IS_LIVE, KEY_IS_LIVE } from '../engine/liveness-sql.ts';

/**
 * Closes the race between issuing and revoking: a member is written only while its key and its agent are live and
 * the agent is as it was when the policy was decided (`revision`). Closes the race between two requests under one
 * idempotency key: the insert of its row yields to an earlier one, and who yields is not written.
 */
const IDEMPOTENCY = `
    idempotency as (
      insert into idempotency_keys as held (
        agent_id, path, key, body_sha256, jwt_sha256, jti, plan_id, key_id, kid, iss, aud, issued_at, expires_at
      )
      select agent_id, idempotency_path, idempotency_key, body_sha256, jwt_sha256, jti, plan_id, key_id, kid, iss, aud,
        to_timestamp(issued_at), to_timestamp(expires_at)
      from live where idempotency_key is not null
      on conflict (agent_id, path, key) do update set
        body_sha256 = excluded.body_sha256, jwt_sha256 = excluded.jwt_sha256, jti = excluded.jti,
        plan_id = excluded.plan_id, key_id = excluded.key_id, kid = excluded.kid, iss = excluded.iss,
        aud = excluded.aud, issued_at = excluded.issued_at, expires_at = excluded.expires_at,
        created_at = clock_timestamp()
      where held.created_at <= clock_timestamp() - interval '10 minutes'
      returning jti
    ), granted as (
      select * from live where idempotency_key is null or jti in (select jti from idempotency)
    ), `;

const ISSUE_IDEMPOTENCY: Statement = {
  name: 'issue_intent_tokens_once',
  effect: 'write',
  text: issueText(true),
};

/** For groups in which nobody sent an idempotency key: six columns and one join fewer. */
const ISSUE: Statement = { name: 'issue_intent_tokens', effect: 'write', text: issueText(false) };

/** `$1` is a list of `rowOf`: one JSON text costs Postgres what eighteen arrays cost it, and us a third. */
function issueText(idempotency: boolean): string {
  return `
    with live as (
      select asked.*
      from json_to_recordset($1::json) as asked (
        jti uuid, plan_id uuid, agent_id uuid, key_id text, revision int, kid text, plan_hash text, merkle_root text,
        tree_size int, policy text, actions text, issued_at float8, expires_at float8,
        event_id uuid, actor_type text, metadata jsonb, ip_address text, request_id text
        ${idempotency ? ', idempotency_path text, idempotency_key text, body_sha256 text, jwt_sha256 text, iss text, aud text' : ''}
      )
      join api_keys key on key.key_id = asked.key_id and key.agent_id = asked.agent_id
      join agents agent on agent.id = asked.agent_id and agent.revision = asked.revision
      where ${AGENT_IS_LIVE} and ${KEY_IS_LIVE}
    ), ${idempotency ? IDEMPOTENCY : 'granted as (select * from live), '}token as (
      insert into intent_tokens (
        jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions, issued_at, expires_at, root_jti
      )
      select jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
        to_timestamp(issued_at), to_timestamp(expires_at), jti
      from granted
    ), event as (
      insert into audit_events (${AUDIT_COLUMNS})
      select event_id, 'intent.issued', agent_id::text, actor_type, 'intent_token', jti::text, metadata,
        ip_address, request_id
      from granted
    )
    ${selectApplied('jti')}`;
}

const FIND_ISSUED: Statement = {
  name: 'find_idempotency_key',
  effect: 'read',
  text: `
    select body_sha256 as "bodySha256Hex", jwt_sha256 as "jwtSha256Hex", jti, plan_id as "planId", key_id as "keyId",
      kid, iss as issuer, aud as audience,
      extract(epoch from issued_at)::float8 as "issuedAtSeconds",
      extract(epoch from expires_at)::float8 as "expiresAtSeconds"
    from idempotency_keys
    where agent_id = $1 and path = $2 and key = $3 and created_at > clock_timestamp() - interval '10 minutes'`,
};

interface Member {
  readonly record: IntentTokenRecord;
  readonly event: AuditEvent;
  readonly idempotency: { readonly scope: IdempotencyScope; readonly record: IdempotencyRecord } | undefined;
}

export function createIntentTokenStore(database: Database): IntentTokenStore {
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
  return {
    issue: async (record, event, idempotency) => (await queue.submit({ record, event, idempotency })).issued,
    findIssued: async ({ agentId, path, key }) => {
      const [row] = await database.query<IdempotencyRecord>(FIND_ISSUED, [agentId, path, key]);
      return row;
    },
  };
}

/** Columns that are not there are null. */
function rowOf({ record, event, idempotency }: Member) {
  return {
    jti: record.jti,
    plan_id: record.planId,
    agent_id: record.agentId,
    key_id: record.keyId,
    revision: record.agentRevision,
    kid: record.kid,
    plan_hash: record.planHashHex,
    merkle_root: record.merkleRootHex,
    tree_size: record.treeSize,
    policy: record.policyText,
    actions: record.actionsText,
    issued_at: record.issuedAtSeconds,
    expires_at: record.expiresAtSeconds,
    event_id: event.id,
    actor_type: event.actorType,
    metadata: event.metadata,
    ip_address: event.ipAddress,
    request_id: event.requestId,
    idempotency_path: idempotency?.scope.path,
    idempotency_key: idempotency?.scope.key,
    body_sha256: idempotency?.record.bodySha256Hex,
    jwt_sha256: idempotency?.record.jwtSha256Hex,
    iss: idempotency?.record.issuer,
    aud: idempotency?.record.audience,
  };
}
