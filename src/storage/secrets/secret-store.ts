/**
 * Changes of secrets: one transaction each. Locks are taken in the order of the house: agent, token, secrets by path,
 * then the rest. What `decide` throws rolls everything back, the use of a limited token included.
 */

import type { RowSeals } from '../../use-cases/ports.ts';
import type {
  CredentialGuard,
  LockedSecret,
  SecretChange,
  SecretRecord,
  SecretStore,
} from '../../use-cases/secrets/ports.ts';
import { insertAlarms, insertAuditEvents } from '../audit/audit-store.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import { AGENT_IS_LIVE, fromLiveActor, hasExpired, TOKEN_IS_LIVE } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import { orUndone, Rollback } from '../engine/storage-errors.ts';
import { assignments, columnTypes, insertFrom, members, recordset } from '../engine/table-columns.ts';
import { shareAgentLock } from '../principals/agent-lock.ts';
import { secrets } from '../schema.ts';
import { creationRow, type HeldRow, type Sealing, sealedColumns, versionRow } from './secret-change-rows.ts';
import { ATTRIBUTE_MEMBERS, type SecretRow, secretColumns, secretRecordOf } from './secret-rows.ts';

const AGENT_AS_READ = `agent.id = $2 and agent.revision = $3`;

const CHECK_KEY: Statement = {
  name: 'check_api_key',
  effect: 'write',
  text: `select ${fromLiveActor('$1')} and ${AGENT_AS_READ}`,
};

const CHECK_TOKEN: Statement = {
  name: 'check_scoped_token',
  effect: 'write',
  text: `
    select from scoped_tokens token join agents agent on agent.id = token.agent_id
    where token.id = $1 and ${AGENT_AS_READ} and ${AGENT_IS_LIVE} and ${TOKEN_IS_LIVE}`,
};

/** Closes the race for the last use: the condition is in the statement that consumes it. */
const CONSUME_USE: Statement = {
  name: 'take_token_use',
  effect: 'write',
  text: `
    update scoped_tokens token set uses = token.uses + 1
    from agents agent
    where token.id = $1 and agent.id = token.agent_id and ${AGENT_AS_READ} and ${AGENT_IS_LIVE} and ${TOKEN_IS_LIVE}
      and token.uses < token.max_uses
    returning token.id`,
};

const LOCK_SECRETS: Statement = {
  name: 'lock_secrets',
  effect: 'write',
  text: `
    select ${secretColumns('secret')}, ${hasExpired('secret')} as expired, ${sealList('secrets', 'secret')},
      secret.first_readable_version as "firstReadableVersion"
    from secrets secret where path = any($1::text[])
    order by path for update`,
};

const SEAL_SENT = (row: string): string => `decode(${row}."sealHex", 'hex')`;

/** Read once in a statement, so that all that is written has one time. */
const MOMENT = '(select clock_timestamp() as at) as moment';

/** Of a version that is written at `moment`: a day is 24 hours. */
const dueAt = (row: string): string =>
  `date_trunc('milliseconds', moment.at) + make_interval(hours => 24 * ${row}."rotateAfterDays")`;

const CREATED_MEMBERS = ['id', 'path', 'namespace', 'key', ...ATTRIBUTE_MEMBERS] as const;

/** Nothing where another transaction made the path meanwhile: whoever finds fewer rows than members starts over. */
const CREATE: Statement = {
  name: 'create_secrets',
  effect: 'write',
  text: `
    ${insertFrom(
      secrets,
      {
        ...members('made', CREATED_MEMBERS),
        createdAt: 'moment.at',
        updatedAt: 'moment.at',
        rotationDueAt: dueAt('made'),
        seal: SEAL_SENT('made'),
      },
      `${recordset('$1', 'made', { ...columnTypes(secrets, CREATED_MEMBERS), sealHex: 'text' })} cross join ${MOMENT}`,
    )}
    on conflict (path) do nothing
    returning ${secretColumns('secrets')}`,
};

const ADVANCED_MEMBERS = ['version', 'firstReadableVersion', ...ATTRIBUTE_MEMBERS] as const;

const ADVANCE: Statement = {
  name: 'advance_secrets',
  effect: 'write',
  text: `
    update secrets secret set
      ${assignments(secrets, {
        ...members('next', ADVANCED_MEMBERS),
        updatedAt: 'moment.at',
        rotationDueAt: dueAt('next'),
        seal: SEAL_SENT('next'),
      })},
      revision = secret.revision + 1
    from ${recordset('$1', 'next', { ...columnTypes(secrets, ['id', ...ADVANCED_MEMBERS]), sealHex: 'text' })}
    cross join ${MOMENT}
    where secret.id = next.id
    returning ${secretColumns('secret')}`,
};

/** A trigger refuses what is wrapped under a key that is not the active one. */
const SEAL: Statement = {
  name: 'insert_secret_versions',
  effect: 'write',
  text: `
    insert into secret_versions (secret_id, version, wrapped_key, kek_id, nonce, ciphertext, made_under)
    select sealed.*, sealed.kek_id from unnest($1::uuid[], $2::int[], $3::bytea[], $4::text[], $5::bytea[], $6::bytea[])
      as sealed (secret_id, version, wrapped_key, kek_id, nonce, ciphertext)`,
};

/** Every version goes with it. */
const DELETE: Statement = {
  name: 'delete_secrets',
  effect: 'write',
  text: `delete from secrets where id = any($1::uuid[])`,
};

const COUNT_MADE: Statement = {
  name: 'count_made_secrets',
  effect: 'write',
  text: `
    insert into namespaces as known (namespace, secret_count)
    select namespace, count(*) from unnest($1::text[]) as made (namespace) group by namespace order by namespace
    on conflict (namespace) do update set secret_count = known.secret_count + excluded.secret_count`,
};

const COUNT_DELETED: Statement = {
  name: 'count_deleted_secret',
  effect: 'write',
  text: `update namespaces set secret_count = secret_count - 1 where namespace = $1`,
};

const FORGET_EMPTY: Statement = {
  name: 'forget_empty_namespace',
  effect: 'write',
  text: `delete from namespaces where namespace = $1 and secret_count = 0`,
};

export function createSecretStore(database: Database, seals: RowSeals): SecretStore {
  return {
    change: ({ guard, paths }, decide) =>
      orUndone('not_granted', () =>
        database.transaction(async (session) => {
          await lockCredential(session, guard);
          const rows = await session.query<HeldRow>(LOCK_SECRETS, [paths]);
          // What somebody else wrote decides nothing, and is not made whole by a change.
          for (const row of rows) seals.require(judgedRow('secrets', row));
          const stored = new Map(
            rows.map((row): [string, LockedSecret] => [
              row.path,
              { ...secretRecordOf(row), expired: row.expired },
            ]),
          );
          const { changes, event, alarms = [] } = decide(stored);
          const records = await write(session, changes, { held: rows, seals });
          await insertAuditEvents(session, [event]);
          await insertAlarms(session, alarms, seals);
          return records;
        }),
      ),
  };
}

/** From here to the commit nobody revokes or narrows the agent, its keys or its tokens. */
async function lockCredential(session: Session, guard: CredentialGuard): Promise<void> {
  await shareAgentLock(session, guard.agentId);
  const { agentId, agentRevision } = guard;
  const [statement, id] =
    guard.kind === 'api_key'
      ? [CHECK_KEY, guard.keyId]
      : [guard.limited ? CONSUME_USE : CHECK_TOKEN, guard.tokenId];
  if ((await session.query(statement, [id, agentId, agentRevision])).length === 0) throw new Rollback();
}

async function write(
  session: Session,
  changes: readonly SecretChange[],
  sealing: Sealing,
): Promise<readonly SecretRecord[]> {
  const made = changes.filter((change) => change.kind === 'create');
  const advanced = changes.filter((change) => change.kind === 'add-version');
  const deleted = changes.filter((change) => change.kind === 'delete');
  const rows: SecretRow[] = [];
  if (made.length > 0) {
    // In one order everywhere: two imports that make the same paths would wait for each other.
    const inOrder = [...made].sort((a, b) => (a.path < b.path ? -1 : 1));
    const created = await session.query<SecretRow>(CREATE, [
      JSON.stringify(inOrder.map((change) => creationRow(change, sealing))),
    ]);
    if (created.length < made.length) throw new Rollback();
    rows.push(...created);
  }
  if (advanced.length > 0) {
    const next = advanced.map((change) => versionRow(change, sealing));
    rows.push(...(await session.query<SecretRow>(ADVANCE, [JSON.stringify(next)])));
  }
  const valued = [...made, ...advanced];
  if (valued.length > 0) await session.query(SEAL, sealedColumns(valued));
  if (made.length > 0) await session.query(COUNT_MADE, [made.map((change) => change.namespace)]);
  if (deleted.length > 0) await session.query(DELETE, [deleted.map((change) => change.id)]);
  for (const { namespace } of deleted) {
    await session.query(COUNT_DELETED, [namespace]);
    await session.query(FORGET_EMPTY, [namespace]);
  }
  const byId = new Map(rows.map((row) => [row.id, secretRecordOf(row)]));
  return changes.flatMap(({ id }) => byId.get(id) ?? []);
}
