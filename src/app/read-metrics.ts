/** What is asked at a scrape. What is counted as it happens is counted where it happens. */

import { type AnswerTally, DURATION_BOUNDS_MS } from '../http/server/answer-tally.ts';
import { VERSION } from '../platform/version.ts';
import { countOwedNotices } from '../storage/notices/webhook-outbox.ts';
import { readKeyEnds } from '../storage/principals/key-ends.ts';
import type { KeyEnds } from '../use-cases/principals/ports.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';

export function readMetrics(
  { config, database, clock, metrics }: AppContext,
  { audit, tally }: { readonly audit: AuditPart; readonly tally: AnswerTally },
): void {
  const one = (value: number) => [{ labels: {}, value }];
  metrics.read('writ_build_info', () => [{ labels: { version: VERSION, node: process.version }, value: 1 }]);
  metrics.read('writ_http_requests_total', () =>
    tally
      .answered()
      .flatMap(({ method, route, byClass }) =>
        byClass.flatMap((value, digit) =>
          value === 0 ? [] : [{ labels: { method, route, status: `${digit}xx` }, value }],
        ),
      ),
  );
  const bounds = DURATION_BOUNDS_MS.map((milliseconds) => milliseconds / 1000);
  metrics.read('writ_http_request_duration_seconds', () =>
    tally.answered().map(({ method, route, durations: counts, milliseconds }) => ({
      labels: { method, route },
      value: { bounds, counts, sum: milliseconds / 1000 },
    })),
  );
  metrics.read('writ_refusals_total', () =>
    [...tally.refusals].map(([code, value]) => ({ labels: { code }, value })),
  );
  metrics.read('writ_integrity_errors_total', () => one(audit.integrityFaults.count()));
  metrics.read('writ_canary_touches_total', () => one(audit.canaries.count()));
  if (config.approvalWebhook !== undefined) {
    metrics.read('writ_webhook_owed', async () => one(await countOwedNotices(database)));
  }
  // Two metrics of one scrape are asked at once, and share the question.
  let ends: Promise<KeyEnds> | undefined;
  const keyEnds = (): Promise<KeyEnds> => {
    ends ??= readKeyEnds(database, config.keyExpiryWarningDays).finally(() => {
      ends = undefined;
    });
    return ends;
  };
  metrics.read('writ_api_keys_ending', async () => one((await keyEnds()).soon));
  metrics.read('writ_api_key_next_end_seconds', async () => {
    const { nextInSeconds } = await keyEnds();
    return nextInSeconds === null ? [] : one(nextInSeconds);
  });
  metrics.read('writ_clock_drift_seconds', () => one(clock.driftMs() / 1000));
  if (database.poolUse() === undefined) return;
  const pool = () => database.poolUse() ?? { busy: 0, idle: 0, waiting: 0 };
  metrics.read('writ_database_connections', () => {
    const { busy, idle } = pool();
    return [
      { labels: { state: 'busy' }, value: busy },
      { labels: { state: 'idle' }, value: idle },
    ];
  });
  metrics.read('writ_database_connections_max', () => one(config.databasePoolMax));
  metrics.read('writ_database_waiting', () => one(pool().waiting));
}
