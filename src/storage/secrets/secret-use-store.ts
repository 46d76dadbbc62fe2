/**
 * The guarded write behind everything that only reads secrets: it takes a use of a limited token and adds the event,
 * for many requests in one statement, and only for those whose credential, owner and version are still what was read.
 */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { CredentialGuard, SecretUses } from '../../use-cases/secrets/ports.ts';
import {
  GROUPED_ALARM_TYPES,
  GROUPED_EVENT_TYPES,
  groupedAlarm,
  groupedEvent,
  insertGroupedAlarms,
  insertGroupedEvents,
} from '../audit/audit-store.ts';
import { createBatcher, runGuardedBatch, selectApplied } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { AGENT_IS_LIVE, KEY_IS_LIVE, SECRET_IS_LIVE, TOKEN_IS_LIVE } from '../engine/liveness-sql.ts';
import { columnTypes, type Expressions, members, recordset } from '../engine/table-columns.ts';
import { insertGroupedNotices } from '../notices/owed-notices.ts';
import { auditEvents } from '../schema.ts';
import { TOKEN_AS_READ } from './presented-tokens.ts';
import { ROWS_READ } from './secret-reader.ts';

type Use = Parameters<SecretUses['record']>[0];
type UseBy<Kind extends CredentialGuard['kind']> = Use & { readonly guard: { readonly kind: Kind } };

/** `$1` is a list of `rowOf`; `credential` is the token's id or the key's. */
const ASKED = (credentialType: 'uuid' | 'text', alarmTypes: Expressions<string>) => `
      select * from ${recordset('$1', 'asked', {
        position: 'int',
        credential: credentialType,
        agentId: 'uuid',
        agentRevision: 'int',
        limited: 'boolean',
        tokenAsRead: 'text',
        secretId: 'uuid',
        version: 'int',
        rowsRead: 'text',
        ...columnTypes(auditEvents, ['eventType', 'resourceType', 'resourceId']),
        ...GROUPED_EVENT_TYPES,
        ...alarmTypes,
      })}`;

/**
 * Closes the races with narrowing or revoking the owner, and with every change of the secret: a member whose agent is
 * not at the revision that was read, or whose secret and version are not the very rows that were, is left out. So is one
 * whose token says something else than what was read of it: Writ never changes a token, but others can.
 */
const AS_READ = `
      join agents agent on agent.id = asked."agentId" and agent.revision = asked."agentRevision" and ${AGENT_IS_LIVE}
      where (asked."secretId" is null or exists (
        select from secrets secret
        join secret_versions held on held.secret_id = secret.id and held.version = asked.version
        where secret.id = asked."secretId" and ${ROWS_READ} = asked."rowsRead"
          and ${SECRET_IS_LIVE}
      ))`;

const UNLIMITED_AS_READ = `exists (
          select from scoped_tokens token
          where token.id = asked.credential and ${TOKEN_IS_LIVE} and ${TOKEN_AS_READ} = asked."tokenAsRead"
        )`;

const EVENT = insertGroupedEvents({
  actorId: 'granted."agentId"::text',
  ...members('granted', ['eventType', 'resourceType', 'resourceId']),
});

const ALARMS = `, alarm as (
      ${insertGroupedAlarms({
        actorId: 'granted."agentId"::text',
        ...members('granted', ['resourceType', 'resourceId']),
      })}
    ), notice as (
      ${insertGroupedNotices()}
    )`;

interface UseStatement {
  readonly plain: Statement;
  /** For groups in which a canary is touched: with its alarm in the same statement. */
  readonly alarmed: Statement;
}

/** `text`: of the types of an alarm's columns, and of what writes it. */
const useStatement = (
  name: string,
  text: (alarmTypes: Expressions<string>, alarms: string) => string,
): UseStatement => ({
  plain: { name, effect: 'write', text: text({}, '') },
  alarmed: { name: `${name}_with_alarms`, effect: 'write', text: text(GROUPED_ALARM_TYPES, ALARMS) },
});

/** For groups in which no token is limited: no row is locked or updated. */
const USE_UNLIMITED = useStatement(
  'use_unlimited_tokens',
  (alarmTypes, alarms) => `
    with asked as (${ASKED('uuid', alarmTypes)}
    ), granted as (
      select asked.* from asked
      ${AS_READ}
        and ${UNLIMITED_AS_READ}
    ), event as (
      ${EVENT}
    )${alarms}
    ${selectApplied('position')}`,
);

/**
 * Closes the race for the last use: the rows of limited tokens are locked in the order of their ids, which reads them
 * as they are then; of the members that ask for one token as many are granted as uses remain, and exactly their
 * number is added. A plain `update … from unnest` would add one for all of them.
 */
const USE = useStatement(
  'use_tokens',
  (alarmTypes, alarms) => `
    with asked as (${ASKED('uuid', alarmTypes)}
    ), held as (
      select token.id, token.max_uses - token.uses as remaining, ${TOKEN_AS_READ} as as_read
      from scoped_tokens token
      where token.id = any (array(select credential from asked where limited)) and ${TOKEN_IS_LIVE}
      order by token.id for no key update
    ), sound as (
      select asked.*, row_number() over (partition by asked.credential order by asked.position) as rank
      from asked
      ${AS_READ}
        and (asked.limited or ${UNLIMITED_AS_READ})
    ), granted as (
      select sound.* from sound left join held on held.id = sound.credential
      where not sound.limited or (sound.rank <= held.remaining and held.as_read = sound."tokenAsRead")
    ), taken as (
      update scoped_tokens token set uses = token.uses + used.times
      from (select credential, count(*)::int as times from granted where limited group by credential) as used
      where token.id = used.credential
    ), event as (
      ${EVENT}
    )${alarms}
    ${selectApplied('position')}`,
);

const USE_KEYS = useStatement(
  'use_api_keys',
  (alarmTypes, alarms) => `
    with asked as (${ASKED('text', alarmTypes)}
    ), granted as (
      select asked.* from asked
      ${AS_READ}
        and exists (
          select from api_keys key
          where key.key_id = asked.credential and key.agent_id = asked."agentId" and ${KEY_IS_LIVE}
        )
    ), event as (
      ${EVENT}
    )${alarms}
    ${selectApplied('position')}`,
);

export function createSecretUses(database: Database, seals: RowSeals): SecretUses {
  const queueOf = <Kind extends CredentialGuard['kind']>(
    statementFor: (members: readonly UseBy<Kind>[]) => UseStatement,
  ) =>
    createBatcher<UseBy<Kind>, { granted: boolean }>({
      orderKey: ({ guard, event }) => `${credentialOf(guard)} ${event.id}`,
      run: async (members) => {
        const { plain, alarmed } = statementFor(members);
        const statement = members.some(({ alarm }) => alarm !== undefined) ? alarmed : plain;
        const rows = members.map((use, position) => rowOf(use, position, seals));
        const isGranted = await runGuardedBatch<number>(database, statement, rows);
        return members.map((_, position) => ({ granted: isGranted(position) }));
      },
    });
  const byToken = queueOf<'scoped_token'>((members) =>
    members.some(({ guard }) => guard.limited) ? USE : USE_UNLIMITED,
  );
  const byKey = queueOf<'api_key'>(() => USE_KEYS);
  return {
    record: async (use) => {
      const { guard } = use;
      const queued =
        guard.kind === 'scoped_token' ? byToken.submit({ ...use, guard }) : byKey.submit({ ...use, guard });
      return (await queued).granted;
    },
  };
}

const credentialOf = (guard: CredentialGuard): string =>
  guard.kind === 'scoped_token' ? guard.tokenId : guard.keyId;

function rowOf({ guard, released, event, alarm }: Use, position: number, seals: RowSeals) {
  const { eventType, resourceType, resourceId } = event;
  return Object.assign(groupedEvent(event), released, alarm && groupedAlarm(alarm, seals), {
    position,
    credential: credentialOf(guard),
    agentId: guard.agentId,
    agentRevision: guard.agentRevision,
    limited: guard.kind === 'scoped_token' && guard.limited,
    tokenAsRead: guard.kind === 'scoped_token' ? guard.tokenAsRead : undefined,
    eventType,
    resourceType,
    resourceId,
  });
}
