/**
 * Principals and their keys. Each change is one transaction: the acting administrator must be live in it, the
 * change happens, its event is written. The database gives an agent's row another `revision` with every change.
 */

import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm';
import { UUID } from '../../domain/formats/uuid.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type {
  ActorWrite,
  AgentChanges,
  AgentRecord,
  AgentStore,
  ApiKeyRecord,
  EndedKey,
} from '../../use-cases/principals/ports.ts';
import { insertAuditEvents } from '../audit/audit-store.ts';
import type { Database, Orm, Session, Statement } from '../engine/database.ts';
import { fromLiveActor, isNotRevoked } from '../engine/liveness-sql.ts';
import { hashOf, messageOf, sealedRow } from '../engine/sealed-rows.ts';
import { columnTypes, insertFrom, members, recordset } from '../engine/table-columns.ts';
import { agents, apiKeys } from '../schema.ts';
import { takeAgentLock } from './agent-lock.ts';
import { endOlderKeys, keyRow } from './api-key-rows.ts';
import { holdName, nameIsFree } from './principal-names.ts';

/**
 * Closes the race of two administrators who revoke each other: both rows are locked in the order of their ids before
 * anybody is judged, so the second one finds what the first has done.
 */
const LOCK_AGENTS: Statement = {
  name: 'lock_agents',
  effect: 'write',
  text: `
    select id from agents
    where id = (select agent_id from api_keys where key_id = $1) or id = $2
    order by id for no key update`,
};

const ACTOR_IS_LIVE: Statement = {
  name: 'actor_is_live',
  effect: 'read',
  text: `select 1 ${fromLiveActor('$1')} and agent.role = 'admin'`,
};

const CREATED = [
  'id',
  'name',
  'role',
  'email',
  'description',
  'allowedScopes',
  'allowedNamespaces',
  'policy',
] as const;

/** Under the lock of its name. */
const CREATE: Statement = {
  name: 'create_agent',
  effect: 'write',
  text: `
    ${insertFrom(
      agents,
      { ...members('made', CREATED), seal: `decode(made."sealHex", 'hex')` },
      recordset('$1', 'made', { ...columnTypes(agents, CREATED), sealHex: 'text' }),
    )}
    where ${nameIsFree('made')}
    on conflict do nothing
    returning id`,
};

/** For drizzle, which gives tables their own names. */
const IS_LIVE = sql.raw(isNotRevoked('agents'));
const IS_NOT_REVOKED = sql.raw(isNotRevoked('api_keys'));

export function createAgentStore(database: Database, seals: RowSeals): AgentStore {
  const sealOf = (row: SealedAgent): Buffer =>
    seals.of(messageOf('agents', { ...row, policy: hashOf(row.policy) }));
  /** Runs `change` on an agent; its event follows if it had an effect. */
  const guarded = <Outcome extends string>(
    agentId: string,
    { actorKeyId, event }: ActorWrite,
    effective: Outcome,
    change: (orm: Orm, session: Session) => Promise<Outcome>,
  ): Promise<Outcome | 'actor_not_live'> =>
    database.transaction(async (session) => {
      await takeAgentLock(session, agentId);
      await session.query(LOCK_AGENTS, [actorKeyId, agentId]);
      if (actorKeyId !== null && (await session.query(ACTOR_IS_LIVE, [actorKeyId])).length === 0) {
        return 'actor_not_live';
      }
      const outcome = await session.orm('write', (orm) => change(orm, session));
      if (outcome === effective) await insertAuditEvents(session, [event]);
      return outcome;
    });

  return {
    create: ({ key, ...agent }, write) =>
      guarded<'created' | 'name_taken'>(agent.id, write, 'created', async (orm, session) => {
        await holdName(session, agent.name);
        const row = { ...agent, policy: agent.policyText };
        const made = { ...row, sealHex: sealOf(row).toString('hex') };
        if ((await session.query(CREATE, [JSON.stringify([made])])).length === 0) return 'name_taken';
        await orm.insert(apiKeys).values(keyRow(agent.id, key, seals));
        return 'created';
      }),

    find: async (idOrName) => {
      // An id wins; by name only the active are found, because a name may be used again.
      const wanted = UUID.test(idOrName)
        ? eq(agents.id, idOrName.toLowerCase())
        : and(eq(agents.name, idOrName), IS_LIVE);
      const rows = await database.orm('read', (orm) => orm.select().from(agents).where(wanted).limit(1));
      return (await withKeys(database, rows))[0];
    },

    list: async ({ limit, after }) => {
      const rows = await database.orm('read', (orm) =>
        orm
          .select()
          .from(agents)
          .where(after === undefined ? undefined : gt(agents.id, after))
          .orderBy(asc(agents.id))
          .limit(limit),
      );
      return withKeys(database, rows);
    },

    update: (agentId, changes, write) =>
      guarded<'updated' | 'absent'>(agentId, write, 'updated', async (orm) => {
        const isThisOne = and(eq(agents.id, agentId), IS_LIVE);
        // Held since before the actor was judged, so nobody changes it between here and its new seal.
        const [row] = await orm.select().from(agents).where(isThisOne);
        if (row === undefined) return 'absent';
        // What somebody else wrote is not made whole by a change.
        seals.require(sealedRow('agents', { ...row, policy: hashOf(row.policy) }, row.seal));
        const changed = columnsOf(changes);
        const seal = sealOf({ ...row, ...changed });
        await orm
          .update(agents)
          .set({ ...changed, ...NEW_REVISION, seal })
          .where(isThisOne);
        return 'updated';
      }),

    revoke: (agentId, write) =>
      guarded<'revoked' | 'absent'>(agentId, write, 'revoked', async (orm) => {
        const revoked = await orm
          .update(agents)
          .set({ revokedAt: sql`clock_timestamp()`, ...NEW_REVISION, seal: null })
          .where(and(eq(agents.id, agentId), IS_LIVE))
          .returning({ id: agents.id });
        return revoked.length === 1 ? 'revoked' : 'absent';
      }),

    addKey: (agentId, key, write) =>
      guarded<'added' | 'absent'>(agentId, write, 'added', async (orm) => {
        if (!(await isLive(orm, agentId))) return 'absent';
        await orm.insert(apiKeys).values(keyRow(agentId, key, seals));
        return 'added';
      }),

    revokeKey: ({ agentId, keyId }, write) =>
      guarded<'revoked' | 'absent'>(agentId, write, 'revoked', async (orm) => {
        const revoked = await orm
          .update(apiKeys)
          .set({ revokedAt: sql`clock_timestamp()`, seal: null })
          .where(and(eq(apiKeys.keyId, keyId), eq(apiKeys.agentId, agentId), IS_NOT_REVOKED))
          .returning({ keyId: apiKeys.keyId });
        if (revoked.length === 0) return 'absent';
        // Whoever remembers the key has to read its row again, whatever that says by then.
        await orm.update(agents).set(NEW_REVISION).where(eq(agents.id, agentId));
        return 'revoked';
      }),

    rotateKeys: async (agentId, rotation, write) => {
      let ended: readonly EndedKey[] = [];
      const outcome = await guarded<'rotated' | 'absent'>(agentId, write, 'rotated', async (orm, session) => {
        if (!(await isLive(orm, agentId))) return 'absent';
        ended = await endOlderKeys(session, agentId, rotation, seals);
        await orm.insert(apiKeys).values(keyRow(agentId, rotation.key, seals));
        // Whoever remembers one of them has to read its row again.
        await orm.update(agents).set(NEW_REVISION).where(eq(agents.id, agentId));
        return 'rotated';
      });
      return outcome === 'rotated' ? ended : outcome;
    },

    countAgents: () =>
      database.orm('read', (orm) => orm.$count(agents, and(eq(agents.role, 'agent'), IS_LIVE))),
  };
}

async function isLive(orm: Orm, agentId: string): Promise<boolean> {
  return (await orm.$count(agents, and(eq(agents.id, agentId), IS_LIVE))) > 0;
}

type AgentRow = typeof agents.$inferSelect;

async function withKeys(session: Session, rows: readonly AgentRow[]): Promise<AgentRecord[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const keys = await session.orm('read', (orm) =>
    orm
      .select()
      .from(apiKeys)
      .where(inArray(apiKeys.agentId, ids))
      .orderBy(asc(apiKeys.createdAt), asc(apiKeys.keyId)),
  );
  const byAgent = new Map(ids.map((id) => [id, [] as ApiKeyRecord[]]));
  for (const { hash: _hash, seal: _seal, endToldAt: _told, agentId, ...key } of keys)
    byAgent.get(agentId)?.push(key);
  return rows.map(({ policy, revision: _revision, seal: _seal, ...row }) => ({
    ...row,
    policyText: policy,
    keys: byAgent.get(row.id) ?? [],
  }));
}

/** A trigger puts another number in its place. */
const NEW_REVISION = { revision: sql`${agents.revision}` };

function columnsOf({ policyText, allowedScopes, allowedNamespaces, email, description }: AgentChanges) {
  return {
    ...(email === undefined ? {} : { email }),
    ...(description === undefined ? {} : { description }),
    ...(allowedScopes === undefined ? {} : { allowedScopes: allowedScopes && [...allowedScopes] }),
    ...(allowedNamespaces === undefined
      ? {}
      : { allowedNamespaces: allowedNamespaces && [...allowedNamespaces] }),
    ...(policyText === undefined ? {} : { policy: policyText }),
  };
}

/** What the seal of an agent's row covers. */
interface SealedAgent extends Pick<AgentRow, 'id' | 'name' | 'role' | 'policy'> {
  readonly allowedScopes: readonly string[] | null;
  readonly allowedNamespaces: readonly string[] | null;
}

/** Revoked ones included: a database that had an administrator is never given another by a start. */
export async function hasEverHadAdmin(session: Session): Promise<boolean> {
  const rows = await session.orm('read', (orm) =>
    orm.select({ id: agents.id }).from(agents).where(eq(agents.role, 'admin')).limit(1),
  );
  return rows.length > 0;
}
