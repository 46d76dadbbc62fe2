/** What runs beside requests, and how often. */

import type { Config } from '../config.ts';
import type { Log } from '../platform/log.ts';
import { createWebhook } from '../platform/webhook-client.ts';
import { createWebhookOutbox } from '../storage/approvals/webhook-outbox.ts';
import { keepAuditPartitions } from '../storage/audit/audit-partitions.ts';
import type { Database } from '../storage/engine/database.ts';
import { createDeliverWebhooks } from '../use-cases/approvals/deliver-webhooks.ts';

export async function keepPartitions(database: Database, log: Log): Promise<void> {
  if ((await keepAuditPartitions(database)) === 'kept') return;
  log.warn(
    'the audit trail lacks partitions for the months to come, and this role may not make them: run `writ migrate` as the owner',
  );
}

export function deliveryOf(
  database: Database,
  webhook: NonNullable<Config['approvalWebhook']>,
  clock: { now(): Date },
  log: Log,
): () => Promise<void> {
  return createDeliverWebhooks({
    outbox: createWebhookOutbox(database),
    send: createWebhook(webhook, () => clock.now()),
    onDeadLetter: (notice, why) => log.error({ notice, why }, 'a webhook notice was given up'),
  });
}
