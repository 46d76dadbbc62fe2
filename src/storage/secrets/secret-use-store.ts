/**
 * The guarded write behind everything that only reads secrets: it takes a use of a limited token and adds the event,
 * for many requests in one statement, and only for those whose credential, owner and version are still what was read.
 */

import type { CredentialGuard, SecretUses } from '../../use-cases/secrets/ports.ts';
import { AUDIT_COLUMNS } from '../audit/audit-store.ts';
import { createBatcher } from '../engine/batcher.ts';
import type { Database, Statement } from '../engine/database.ts';
import { runGuardedBatch, selectApplied } from '../engine/guarded-batch.ts';
import { AGENT_IS_LIVE, KEY_IS_LIVE, SECRET_IS_LIVE, TOKEN_IS_LIVE } from '../engine/liveness-sql.ts';
import { ROWS_READ } from './secret-reader.ts';

type Use = Parameters<SecretUses['record']>[0];
type UseBy<Kind extends CredentialGuard['kind']> = Use & { readonly guard: { readonly kind: Kind } };

/** `$1` is a list of `rowOf`; `credential` is the token's id or the key's. */
const ASKED = (credentialType: 'uuid' | 'text') => `
      select * from json_to_recordset($1::json) as asked (
        position int, credential ${credentialType}, agent_id uuid, agent_revision int, limited boolean,
        secret_id uuid, version int, rows_read text,
        event_id uuid, event_type text, actor_type text, resource_type text, resource_id text, metadata jsonb,
        ip_address text, request_id text
      )`;

/**
 * Closes the races with narrowing or revoking the owner, and with every change of the secret: a member whose agent is
 * not at the revision that was read, or whose secret and version are not the very rows that were, is left out.
 */
const AS_READ = `
      join agents agent on agent.id = asked.agent_id and agent.revision = asked.agent_revision and ${AGENT_IS_LIVE}
      where (asked.secret_id is null or exists (
        select from secrets secret
        join secret_versions held on held.secret_id = secret.id and held.version = asked.version
        where secret.id = asked.secret_id and ${ROWS_READ} = asked.rows_read
          and ${SECRET_IS_LIVE}
      ))`;

const EVENT = `
      insert into audit_events (${AUDIT_COLUMNS})
      select event_id, event_type, agent_id::text, actor_type, resource_type, resource_id, metadata, ip_address,
        request_id
      from granted`;

/** For groups in which no token is limited: no row is locked or updated. */
const USE_UNLIMITED: Statement = {
  name: 'use_unlimited_tokens',
  effect: 'write',
  text: `
    with asked as (${ASKED('uuid')}
    ), granted as (
      select asked.* from asked
      ${AS_READ}
        and exists (select from scoped_tokens token where token.id = asked.credential and ${TOKEN_IS_LIVE})
    ), event as (${EVENT}
    )
    ${selectApplied('position')}`,
};

/**
 * Closes the race for the last use: the rows of limited tokens are locked in the order of their ids, which reads them
 * as they are then; of the members that ask for one token as many are granted as uses remain, and exactly their
 * number is added. A plain `update … from unnest` would add one for all of them.
 */
const USE: Statement = {
  name: 'use_tokens',
  effect: 'write',
  text: `
    with asked as (${ASKED('uuid')}
    ), held as (
      select token.id, token.max_uses - token.uses as remaining from scoped_tokens token
      where token.id = any (array(select credential from asked where limited)) and ${TOKEN_IS_LIVE}
      order by token.id for no key update
    ), sound as (
      select asked.*, row_number() over (partition by asked.credential order by asked.position) as rank
      from asked
      ${AS_READ}
        and (asked.limited
          or exists (select from scoped_tokens token where token.id = asked.credential and ${TOKEN_IS_LIVE}))
    ), granted as (
      select sound.* from sound left join held on held.id = sound.credential
      where not sound.limited or sound.rank <= held.remaining
    ), taken as (
      update scoped_tokens token set uses = token.uses + used.times
      from (select credential, count(*)::int as times from granted where limited group by credential) as used
      where token.id = used.credential
    ), event as (${EVENT}
    )
    ${selectApplied('position')}`,
};

const USE_KEYS: Statement = {
  name: 'use_api_keys',
  effect: 'write',
  text: `
    with asked as (${ASKED('text')}
    ), granted as (
      select asked.* from asked
      ${AS_READ}
        and exists (
          select from api_keys key
          where key.key_id = asked.credential and key.agent_id = asked.agent_id and ${KEY_IS_LIVE}
        )
    ), event as (${EVENT}
    )
    ${selectApplied('position')}`,
};

export function createSecretUses(database: Database): SecretUses {
  const queueOf = <Kind extends CredentialGuard['kind']>(
    statementFor: (members: readonly UseBy<Kind>[]) => Statement,
  ) =>
    createBatcher<UseBy<Kind>, { granted: boolean }>({
      orderKey: ({ guard, event }) => `${credentialOf(guard)} ${event.id}`,
      run: async (members) => {
        const isGranted = await runGuardedBatch<number>(database, statementFor(members), members.map(rowOf));
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

function rowOf({ guard, released, event }: Use, position: number) {
  return {
    position,
    credential: credentialOf(guard),
    agent_id: guard.agentId,
    agent_revision: guard.agentRevision,
    limited: guard.kind === 'scoped_token' && guard.limited,
    secret_id: released?.secretId,
    version: released?.version,
    rows_read: released?.rowsRead,
    event_id: event.id,
    event_type: event.eventType,
    actor_type: event.actorType,
    resource_type: event.resourceType,
    resource_id: event.resourceId,
    metadata: event.metadata,
    ip_address: event.ipAddress,
    request_id: event.requestId,
  };
}
