/**
 * Telling the webhook what it is owed (docs/webhooks.md): at least once, with growing pauses, given up
 * after a bounded number of tries, and never in the way of a request.
 */

import type { LeasedNotice, SendWebhook, WebhookOutbox } from './ports.ts';

const AT_ONCE = 20;

/** Longer than a try can take. */
const LEASE_SECONDS = 30;

/** Before the second try, the third, …; some 11 hours in all. */
const PAUSES_SECONDS = [2, 5, 30, 120, 600, 1800, 7200, 28_800] as const;

/** One batch a run: a stop waits for what runs, so a receiver that hangs holds it up for one try only. */
export function createDeliverWebhooks(deps: {
  readonly outbox: WebhookOutbox;
  readonly send: SendWebhook;
  readonly onDeadLetter: (id: string, why: string) => void;
}): () => Promise<void> {
  const deliver = async ({ id, payload, attempts }: LeasedNotice): Promise<void> => {
    const why = await deps.send({ id, payload });
    if (why === undefined) return deps.outbox.delivered(id);
    const retryAfterSeconds = PAUSES_SECONDS[attempts - 1];
    await deps.outbox.failed(id, { why, retryAfterSeconds });
    if (retryAfterSeconds === undefined) deps.onDeadLetter(id, why);
  };
  return async () => {
    const owed = await deps.outbox.lease({ limit: AT_ONCE, seconds: LEASE_SECONDS });
    await Promise.all(owed.map(deliver));
  };
}
