/** The notices that are owed to the webhook. They are leased in one statement and sent outside any transaction. */

import type { WebhookEvent, WebhookOutbox } from '../../use-cases/approvals/ports.ts';
import type { Database, Session, Statement } from '../engine/database.ts';

const OWE_NOTICE: Statement = {
  name: 'owe_webhook_notice',
  effect: 'write',
  text: `insert into webhook_outbox (id, approval_id, payload) values ($1, $2, $3)`,
};

/** Closes the race of two processes for one notice: a leased row is nobody else's until the lease is over. */
const LEASE: Statement = {
  name: 'lease_webhook_notices',
  effect: 'write',
  text: `
    update webhook_outbox set
      attempts = attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => $2::int)
    where id in (
      select id from webhook_outbox
      where delivered_at is null and given_up_at is null and next_attempt_at <= clock_timestamp()
      order by next_attempt_at limit $1 for update skip locked
    )
    returning id, payload, attempts`,
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

export function createWebhookOutbox(database: Database): WebhookOutbox {
  return {
    lease: ({ limit, seconds }) => database.query(LEASE, [limit, seconds]),
    delivered: async (id) => void (await database.query(DELIVERED, [id])),
    failed: async (id, { why, retryAfterSeconds }) =>
      void (await database.query(FAILED, [id, why, retryAfterSeconds ?? null])),
  };
}

/** In the transaction of what it tells of: no event, no effect. */
export async function enqueueEvent(
  session: Session,
  approvalId: string,
  notice: WebhookEvent,
): Promise<void> {
  if (notice !== undefined) await session.query(OWE_NOTICE, [notice.id, approvalId, notice.payload]);
}
