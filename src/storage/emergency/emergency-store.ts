/**
 * Emergency stops: one row each. Writing it waits for nobody, because nobody locks the table or a row that is in force;
 * every guarded statement reads it, and whoever stops waits until those that may have read it before have ended.
 */

import type {
  EmergencyStop,
  EmergencyStore,
  EmergencyWrite,
  KeptProof,
} from '../../use-cases/emergency/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import { insertEventOf } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { EVERYBODY, fromLiveActor, isNotRevoked, STOP_IS_IN_FORCE } from '../engine/liveness-sql.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { insertNoticesOf, sentNotices } from '../notices/owed-notices.ts';
import { emergencyStops } from '../schema.ts';

/** `$1`: the key of an administrator, null at the command line. */
const ACTOR = `
    actor as (
      select where $1::text is null
      union all
      select ${fromLiveActor('$1')} and agent.role = 'admin'
    )`;

/** Closes the race of two stops: the second waits for the first, and finds it in force. */
const STOP: Statement = {
  name: 'stop_in_emergency',
  effect: 'write',
  text: `
    with ${ACTOR}, target as (
      select where $5::uuid = '${EVERYBODY}'
      union all
      select from agents agent where agent.id = $5 and ${isNotRevoked('agent')}
    ), stopped as (
      insert into emergency_stops (id, agent_id, reason, actor_id, resume_hash, wrapped_proof, kek_id)
      select $4::uuid, $5, $6::text, $7::text, $8::bytea, $9::bytea, $10::text from actor cross join target
      on conflict (agent_id) where resumed_at is null do nothing
      returning id
    ), event as (
      ${insertEventOf('stopped', '$2')}
    ), notice as (
      ${insertNoticesOf('stopped', '$3')}
    )
    select exists (select from actor) as live, exists (select from target) as known,
      exists (select from stopped) as changed`,
};

/** The table refuses another proof. */
const RESUME: Statement = {
  name: 'resume_after_emergency',
  effect: 'write',
  text: `
    with ${ACTOR}, resumed as (
      update emergency_stops stop set resume_proof = $5::bytea, resumed_at = clock_timestamp()
      from actor where stop.id = $4::uuid and ${STOP_IS_IN_FORCE}
      returning stop.id
    ), event as (
      ${insertEventOf('resumed', '$2')}
    ), notice as (
      ${insertNoticesOf('resumed', '$3')}
    )
    select exists (select from actor) as live, exists (select from resumed) as changed`,
};

const LIST: Statement = {
  name: 'list_emergency_stops',
  effect: 'read',
  text: `
    select ${selectList<StopRow>({
      ...columns(emergencyStops, 'stop', ['id', 'agentId', 'reason', 'actorId', 'stoppedAt']),
      agentName: 'agent.name',
    })}
    from emergency_stops stop left join agents agent on agent.id = stop.agent_id
    where ${STOP_IS_IN_FORCE} order by stop.stopped_at, stop.id`,
};

const FIND: Statement = {
  name: 'find_emergency_stop',
  effect: 'read',
  text: `
    select ${selectList<KeptProof & { id: string }>(
      columns(emergencyStops, 'stop', ['id', 'resumeHash', 'wrappedProof', 'kekId']),
    )}
    from emergency_stops stop where stop.agent_id = $1 and ${STOP_IS_IN_FORCE}`,
};

/**
 * Every transaction that has read the table holds a lock on it until its end, which is seen by everybody. One that
 * began to read it later has seen the stop. A dump reads it as well, and grants nothing.
 */
const READERS: Statement = {
  name: 'readers_of_emergency_stops',
  effect: 'read',
  text: `
    select held.virtualtransaction as reader
    from pg_locks held left join pg_stat_activity session on session.pid = held.pid
    where held.locktype = 'relation' and held.relation = 'emergency_stops'::regclass
      and held.database = (select oid from pg_database where datname = current_database())
      and held.granted and held.pid <> pg_backend_pid()
      and session.application_name is distinct from 'pg_dump'`,
};

const PAUSE: Statement = { name: 'pause', effect: 'read', text: `select pg_sleep($1::float8)` };
const PAUSE_SECONDS = 0.01;
const MOST_PAUSES = 200;
/** For what was read before and is answered without another statement. */
const LAST_PAUSE_SECONDS = 0.1;

interface StopRow extends Omit<EmergencyStop, 'agent'> {
  readonly agentId: string;
  readonly agentName: string | null;
}

export function createEmergencyStore(database: Database, seals: RowSeals): EmergencyStore {
  const values = ({ actorKeyId, event, notice }: EmergencyWrite) => [
    actorKeyId,
    JSON.stringify([event]),
    sentNotices([notice], seals),
  ];
  const readers = async (): Promise<readonly string[]> =>
    (await database.query<{ reader: string }>(READERS, [])).map(({ reader }) => reader);
  return {
    list: async () => (await database.query<StopRow>(LIST, [])).map(stopOf),

    find: async (agentId) => {
      const [row] = await database.query<KeptProof & { id: string }>(FIND, [agentId ?? EVERYBODY]);
      return row === undefined ? undefined : { id: row.id, kept: row };
    },

    stop: async ({ id, agentId, reason, kept }, write) => {
      const [outcome] = await database.query<{ live: boolean; known: boolean; changed: boolean }>(STOP, [
        ...values(write),
        id,
        agentId ?? EVERYBODY,
        reason,
        write.event.actorId,
        kept.resumeHash,
        kept.wrappedProof,
        kept.kekId,
      ]);
      if (outcome?.live !== true) return 'actor_not_live';
      if (!outcome.known) return 'absent';
      return outcome.changed ? 'stopped' : 'unchanged';
    },

    resume: async ({ id, proof }, write) => {
      const [outcome] = await database.query<{ live: boolean; changed: boolean }>(RESUME, [
        ...values(write),
        id,
        proof,
      ]);
      if (outcome?.live !== true) return 'actor_not_live';
      return outcome.changed ? 'resumed' : 'unchanged';
    },

    settle: async () => {
      const before = new Set(await readers());
      let left = before.size > 0;
      for (let pauses = 0; left && pauses < MOST_PAUSES; pauses += 1) {
        await database.query(PAUSE, [PAUSE_SECONDS]);
        left = (await readers()).some((reader) => before.has(reader));
      }
      await database.query(PAUSE, [LAST_PAUSE_SECONDS]);
      return !left;
    },
  };
}

const stopOf = ({ agentId, agentName, ...stop }: StopRow): EmergencyStop => ({
  ...stop,
  agent: agentId === EVERYBODY ? null : { id: agentId, name: agentName ?? agentId },
});
