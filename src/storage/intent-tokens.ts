/** The record of an intent token. Its row and its audit event appear in one statement, or neither does. */

import type { AuditEvent, IntentTokenRecord, IntentTokenStore } from '../use-cases/ports.ts';
import { AUDIT_COLUMNS, auditValues, columnsOf } from './audit-events.ts';
import type { Database, Statement } from './database.ts';
import { createWriteQueue } from './write-queue.ts';

/**
 * Closes the race between issuing and revoking: a member is written only while its key and its agent are live and
 * the agent is as it was when the policy was decided (`revision`).
 */
const ISSUE: Statement = {
  name: 'issue_intent_tokens',
  effect: 'write',
  text: `
    with live as (
      select asked.*
      from unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::int[],
        $10::text[], $11::text[], $12::float8[], $13::float8[],
        $14::uuid[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[]
      ) as asked (
        jti, plan_id, agent_id, key_id, revision, kid, plan_hash, merkle_root, tree_size,
        policy, actions, issued_at, expires_at, ${AUDIT_COLUMNS}
      )
      join api_keys key on key.key_id = asked.key_id and key.agent_id = asked.agent_id
      join agents agent on agent.id = asked.agent_id and agent.revision = asked.revision
      where agent.revoked_at is null and key.revoked_at is null
        and (key.expires_at is null or key.expires_at > clock_timestamp())
    ), token as (
      insert into intent_tokens (
        jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions, issued_at, expires_at, root_jti
      )
      select jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
        to_timestamp(issued_at), to_timestamp(expires_at), jti
      from live
    ), event as (
      insert into audit_events (${AUDIT_COLUMNS})
      select id, event_type, actor_id, actor_type, resource_type, resource_id, metadata::jsonb, ip_address, request_id
      from live
    )
    select jti from live`,
};

interface Member {
  readonly record: IntentTokenRecord;
  readonly event: AuditEvent;
}

export function createIntentTokenStore(database: Database): IntentTokenStore {
  const queue = createWriteQueue<Member, { issued: boolean }>({
    orderKey: (member) => member.record.jti,
    run: async (members) => {
      const rows = await database.query<{ jti: string }>(ISSUE, columnsOf(members.map(valuesOf)));
      const issued = new Set(rows.map((row) => row.jti));
      return members.map(({ record }) => ({ issued: issued.has(record.jti) }));
    },
  });
  return { issue: async (record, event) => (await queue.submit({ record, event })).issued };
}

function valuesOf({ record, event }: Member): readonly unknown[] {
  return [
    record.jti,
    record.planId,
    record.agentId,
    record.keyId,
    record.agentRevision,
    record.kid,
    record.planHashHex,
    record.merkleRootHex,
    record.treeSize,
    record.policyText,
    record.actionsText,
    record.issuedAtSeconds,
    record.expiresAtSeconds,
    ...auditValues(event),
  ];
}
