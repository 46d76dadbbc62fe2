/** The notices that are owed to the webhook. They are leased in one statement and sent outside any transaction. */

import type { LeasedNotice, WebhookOutbox } from '../../use-cases/notices/ports.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type { Database, Statement } from '../engine/database.ts';
import { isUndelivered } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';

/** Closes the race of two processes for one notice: a leased row is nobody else's until the lease is over. */
const LEASE: Statement = {
  name: 'lease_webhook_notices',
  effect: 'write',
  text: `
    update webhook_outbox set
      attempts = attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2::int)
    where id in (
      select id from webhook_outbox
      where ${isUndelivered('webhook_outbox')} and next_attempt_at <= clock_timestamp()
      order by next_attempt_at limit $1 for update skip locked
    )
    returning id, payload, attempts, ${sealList('webhook_outbox', 'webhook_outbox')}`,
};

const DELIVERED: Statement = {
  name: 'webhook_notice_delivered',
  effect: 'write',
  text: `update webhook_outbox set delivered_at = clock_timestamp(), last_failure = null where id = $1`,
};

const FAILED: Statement = {
  name: 'webhook_notice_failed',
  effect: 'write',
  text: `
    update webhook_outbox set last_failure = $2,
      next_attempt_at = clock_timestamp() + make_interval(secs => coalesce($3::int, 0)),
      given_up_at = case when $3::int is null then clock_timestamp() end
    where id = $1 and delivered_at is null`,
};

export function createWebhookOutbox(database: Database, seals: RowSeals): WebhookOutbox {
  const giveUp = (id: string) => database.query(FAILED, [id, 'it is not what Writ wrote', null]);
  return {
    lease: async ({ limit, seconds }) => {
      const rows = await database.query<LeasedNotice>(LEASE, [limit, seconds]);
      const whole: LeasedNotice[] = [];
      for (const row of rows) {
        const { id, payload, attempts } = row;
        if (seals.fits(judgedRow('webhook_outbox', row))) whole.push({ id, payload, attempts });
        else await giveUp(id);
      }
      return whole;
    },
    delivered: async (id) => void (await database.query(DELIVERED, [id])),
    failed: async (id, { why, retryAfterSeconds }) =>
      void (await database.query(FAILED, [id, why, retryAfterSeconds ?? null])),
  };
}

const COUNT_OWED: Statement = {
  name: 'count_owed_webhook_notices',
  effect: 'read',
  text: `
    select count(*)::int as owed from webhook_outbox where ${isUndelivered('webhook_outbox')}`,
};

/** Notices that are neither delivered nor given up. */
export async function countOwedNotices(database: Database): Promise<number> {
  const [row] = await database.query<{ owed: number }>(COUNT_OWED, []);
  return row?.owed ?? 0;
}
