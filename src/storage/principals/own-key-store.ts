/** A principal's own API keys: listed, and one revoked by another of them. The change and its event are one statement. */

import { asc, eq } from 'drizzle-orm';
import type { OwnKeyStore } from '../../use-cases/principals/ports.ts';
import { insertEventOf } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { fromLiveActor, isNotRevoked } from '../engine/liveness-sql.ts';
import { apiKeys } from '../schema.ts';
import { takeAgentLock } from './agent-lock.ts';

/**
 * Under the agent's lock, which closes the race of two keys that revoke each other: the second is judged after the first.
 * A trigger draws another revision, so that whoever remembers the key has to read its row again.
 */
const REVOKE_OWN: Statement = {
  name: 'revoke_own_api_key',
  effect: 'write',
  text: `
    with actor as (
      select ${fromLiveActor('$1')}
        and agent.id = $3::uuid
    ), own as (
      select from api_keys where key_id = $2 and agent_id = $3::uuid
    ), revoked as (
      update api_keys set revoked_at = clock_timestamp(), seal = null from actor
      where key_id = $2 and key_id <> $1 and agent_id = $3::uuid and ${isNotRevoked('api_keys')}
      returning key_id
    ), renewed as (
      update agents set revision = revision where id = $3::uuid and exists (select from revoked)
    ), event as (
      ${insertEventOf('revoked', '$4')}
    )
    select exists (select from actor) as "actorIsLive", exists (select from own) as "isOwn"`,
};

/** A key ends only under the row of its agent: whoever counts on a principal's keys holds that row. */
const LOCK_AGENT: Statement = {
  name: 'lock_own_agent',
  effect: 'write',
  text: `select id from agents where id = $1 for no key update`,
};

export function createOwnKeyStore(database: Database): OwnKeyStore {
  return {
    listOf: async (agentId) => {
      const rows = await database.orm('read', (orm) =>
        orm
          .select()
          .from(apiKeys)
          .where(eq(apiKeys.agentId, agentId))
          .orderBy(asc(apiKeys.createdAt), asc(apiKeys.keyId)),
      );
      return rows.map(({ hash: _hash, seal: _seal, endToldAt: _told, agentId: _agentId, ...key }) => key);
    },
    revokeOwn: ({ keyId, agentId }, actorKeyId, event) =>
      database.transaction(async (session) => {
        await takeAgentLock(session, agentId);
        await session.query(LOCK_AGENT, [agentId]);
        const [judged] = await session.query<{ actorIsLive: boolean; isOwn: boolean }>(REVOKE_OWN, [
          actorKeyId,
          keyId,
          agentId,
          JSON.stringify([event]),
        ]);
        if (judged?.actorIsLive !== true) return 'actor_not_live';
        return judged.isOwn ? 'revoked' : 'absent';
      }),
  };
}
