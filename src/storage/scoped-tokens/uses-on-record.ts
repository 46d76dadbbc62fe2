/**
 * Compares the count of uses of limited tokens with the audit trail, which has an event for each use. SQL alone counts
 * uses, so no seal covers them, and who writes to the database can set them back.
 */

import { SCOPED_TOKEN_TTL } from '../../domain/formats/ttl.ts';
import type { EventType } from '../../use-cases/audit/ports.ts';
import type { Database, Statement } from '../engine/database.ts';

const BATCH = 500;

/** Every effect on secrets takes a use of a limited token; its event names the token in its metadata. */
type UseEvent = Exclude<
  Extract<EventType, `${'secret' | 'namespace'}.${string}`>,
  'secret.denied' | 'secret.rotation_due' | 'secret.versions_pruned' | `secret.canary_${string}`
>;

const USE_EVENTS = Object.keys({
  'secret.read': true,
  'secret.created': true,
  'secret.updated': true,
  'secret.rotated': true,
  'secret.imported': true,
  'secret.deleted': true,
  'secret.listed': true,
  'namespace.listed': true,
} satisfies Record<UseEvent, true>);

export interface TokenWithTooFewUses {
  readonly tokenId: string;
  /** That its row says. */
  readonly uses: number;
  /** Uses that the trail has. */
  readonly events: number;
}

/** A UUIDv7 begins with the milliseconds of its making. The row's own times could be changed to hide events. */
const MADE_AT = `to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)`;
/** Clocks of processes and of the database may differ. */
const MARGIN = `interval '1 hour'`;
const LONGEST_LIFE = `interval '${SCOPED_TOKEN_TTL.maxSeconds} seconds'`;

/** After the token `$1`, in one statement: row and event of a use are written in one transaction. */
const COMPARE: Statement = {
  name: 'compare_uses_with_trail',
  effect: 'read',
  text: `
    with batch as materialized (
      select id, agent_id, uses, ${MADE_AT} as made_at from scoped_tokens
      where id > $1::uuid and max_uses is not null order by id limit ${BATCH}
    ), used as (
      select event.metadata ->> 'token_id' as token_id, count(*)::int as events
      from audit_events event
      where event.event_type = any($2::text[])
        and event.created_at >= (select min(made_at) - ${MARGIN} from batch)
        and event.created_at < (select max(made_at) + ${LONGEST_LIFE} + ${MARGIN} from batch)
        and event.metadata ->> 'token_id' in (select id::text from batch)
      group by 1
    )
    select batch.id as "tokenId", batch.uses, coalesce(used.events, 0) as events
    from batch left join used on used.token_id = batch.id::text
    order by batch.id`,
};

const BEFORE_ALL = '00000000-0000-0000-0000-000000000000';

/** Of all limited tokens that there are, in the order of their making, those that also say that they are closed. */
export async function findTooFewUses(database: Database): Promise<readonly TokenWithTooFewUses[]> {
  const found: TokenWithTooFewUses[] = [];
  let after = BEFORE_ALL;
  for (;;) {
    const rows = await database.query<TokenWithTooFewUses>(COMPARE, [after, USE_EVENTS]);
    found.push(...rows.filter(({ uses, events }) => uses < events));
    const last = rows.at(-1);
    if (last === undefined || rows.length < BATCH) return found;
    after = last.tokenId;
  }
}
