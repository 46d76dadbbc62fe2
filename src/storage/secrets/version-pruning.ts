/**
 * Old versions and their keys, removed with the event that says so. The row of the secret is held meanwhile, so nobody
 * adds a version or reads the count; one that somebody else holds is left alone.
 */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { PrunableSecret, VersionPruning } from '../../use-cases/secrets/upkeep/ports.ts';
import { insertAuditEvents } from '../audit/audit-store.ts';
import type { Database, Session, Statement } from '../engine/database.ts';
import { epochMs, judgedRow, sealList } from '../engine/sealed-rows.ts';

/** Of one secret in one transaction; one more is read, for what it says of the one before it. */
const VERSIONS_AT_ONCE = 50;

type HeldSecret = Omit<PrunableSecret, 'oldest'>;

/**
 * Secrets with more versions than stay, the oldest of which has had a successor for long enough: where that one is too
 * young, none of the others goes either.
 */
const HOLD: Statement = {
  name: 'hold_secrets_to_prune',
  effect: 'write',
  text: `
    with moment as materialized (select clock_timestamp() - make_interval(hours => 24 * $2::int) as since)
    select secret.id, secret.path, secret.version, secret.oldest_version as "oldestVersion",
      ${epochMs('moment.since')} as "supersededSinceMs", ${sealList('secrets', 'secret')}
    from secrets secret cross join moment
    where secret.version - secret.oldest_version >= $1 and ($3::uuid is null or secret.id > $3::uuid)
      and exists (
        select from secret_versions next
        where next.secret_id = secret.id and next.version = secret.oldest_version + 1
          and next.created_at <= moment.since
      )
    order by secret.id limit $4 for update of secret skip locked`,
};

const OLDEST: Statement = {
  name: 'oldest_versions',
  effect: 'write',
  text: `
    select held.secret_id as id, held.version, ${epochMs('held.created_at')} as "writtenAtMs"
    from unnest($1::uuid[]) as asked (id)
    cross join lateral (
      select * from secret_versions old where old.secret_id = asked.id order by old.version limit ${VERSIONS_AT_ONCE + 1}
    ) as held
    order by held.secret_id, held.version`,
};

/** Never the newest, whatever was decided. */
const PRUNE: Statement = {
  name: 'prune_secret_versions',
  effect: 'write',
  text: `
    with kept as (
      select secret.id, least(asked.oldest, secret.version) as oldest
      from unnest($1::uuid[], $2::int[]) as asked (id, oldest) join secrets secret on secret.id = asked.id
    ), gone as (
      delete from secret_versions old using kept where old.secret_id = kept.id and old.version < kept.oldest
      returning 1
    ), moved as (
      update secrets secret set oldest_version = kept.oldest from kept where secret.id = kept.id
    )
    select count(*)::int as removed from gone`,
};

export function createVersionPruning(database: Database, seals: RowSeals): VersionPruning {
  return {
    prune: ({ kept, keptDays, limit, after }, decide) =>
      database.transaction(async (session) => {
        const held = await session.query<HeldSecret>(HOLD, [kept, keptDays, after ?? null, limit]);
        const last = held.length < limit ? undefined : held.at(-1)?.id;
        // What somebody else says of a secret decides nothing: a number that was set high would empty it.
        const whole = held.filter((row) => seals.fits(judgedRow('secrets', row)));
        const decided = (await withOldest(session, whole)).flatMap((secret) => {
          const outcome = decide(secret);
          return outcome === undefined ? [] : [{ ...outcome, id: secret.id }];
        });
        if (decided.length === 0) return { removed: 0, last };
        const [gone] = await session.query<{ removed: number }>(PRUNE, [
          decided.map(({ id }) => id),
          decided.map(({ oldestToKeep }) => oldestToKeep),
        ]);
        await insertAuditEvents(
          session,
          decided.map(({ event }) => event),
        );
        return { removed: gone?.removed ?? 0, last };
      }),
  };
}

async function withOldest(
  session: Session,
  secrets: readonly HeldSecret[],
): Promise<readonly PrunableSecret[]> {
  if (secrets.length === 0) return [];
  const rows = await session.query<PrunableSecret['oldest'][number] & { id: string }>(OLDEST, [
    secrets.map(({ id }) => id),
  ]);
  return secrets.map((secret) => ({ ...secret, oldest: rows.filter(({ id }) => id === secret.id) }));
}
