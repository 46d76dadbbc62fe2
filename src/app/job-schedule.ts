/** What runs beside requests, and how often. A job that fails is logged and runs again. */

import { type Job, startJobs } from '../platform/job-scheduler.ts';
import { createWebhook } from '../platform/webhook-client.ts';
import { keepAuditPartitions } from '../storage/audit/audit-partitions.ts';
import { createWebhookOutbox } from '../storage/notices/webhook-outbox.ts';
import { sweep } from '../storage/sweep.ts';
import { createDeliverWebhooks } from '../use-cases/notices/deliver-webhooks.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { MasterKeysPart } from './compose-master-keys.ts';
import type { PrincipalsPart } from './compose-principals.ts';
import type { SecretsPart } from './compose-secrets.ts';
import type { SigningKeysPart } from './compose-signing-keys.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;

/** Starts them all; what it returns stops them and waits for those that run. */
export function startSchedule(
  app: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly signingKeys: SigningKeysPart;
    readonly masterKeys: MasterKeysPart;
    readonly secrets: SecretsPart;
    readonly principals: PrincipalsPart;
  },
): () => Promise<void> {
  const { config, database, clock, log, metrics } = app;
  const jobs: readonly Job[] = [
    ...deliverWebhooks(app, parts.audit),
    { name: 'clock', everyMs: 10 * SECOND_MS, run: clock.sample },
    { name: 'master keys', everyMs: SECOND_MS, run: parts.masterKeys.refresh },
    { name: 'signing keys', everyMs: 2 * SECOND_MS, run: parts.signingKeys.keyRing.refresh },
    { name: 'rotation of signing keys', everyMs: 5 * SECOND_MS, run: parts.signingKeys.rotateWhatIsDue },
    { name: 'costs of API keys', everyMs: 60 * SECOND_MS, run: parts.authentication.learnKeyCosts },
    { name: 'sweep', everyMs: 30 * SECOND_MS, run: async () => void (await sweep(database, config)) },
    { name: 'secrets that are due', everyMs: 30 * SECOND_MS, run: parts.secrets.tellOfDueSecrets },
    {
      name: 'old versions of secrets',
      everyMs: 30 * SECOND_MS,
      run: async () => void (await parts.secrets.pruneVersions()),
    },
    { name: 'uses of API keys', everyMs: 2 * SECOND_MS, run: () => parts.authentication.keyUses.write() },
    { name: 'API keys that end', everyMs: 30 * SECOND_MS, run: parts.principals.tellOfEndingKeys },
    { name: 'audit partitions', everyMs: HOUR_MS, run: () => keepPartitions(app) },
    { name: 'counted refusals', everyMs: 5 * SECOND_MS, run: () => parts.audit.denialLog.flush() },
  ];
  return startJobs(jobs, (job, err) => {
    metrics.count('writ_job_failures_total', { job });
    log.warn({ job, err }, 'a job failed; it runs again');
  });
}

/** None where no webhook is configured. */
function deliverWebhooks(
  { config, database, clock, log, metrics }: AppContext,
  { seals }: AuditPart,
): readonly Job[] {
  if (config.approvalWebhook === undefined) return [];
  const run = createDeliverWebhooks({
    outbox: createWebhookOutbox(database, seals),
    send: createWebhook(config.approvalWebhook, clock.now),
    onDeadLetter: (notice, why) => {
      metrics.count('writ_webhook_given_up_total', {});
      log.error({ notice, why }, 'a webhook notice was given up');
    },
  });
  return [{ name: 'webhook', everyMs: SECOND_MS, run }];
}

async function keepPartitions({ database, log }: AppContext): Promise<void> {
  if ((await keepAuditPartitions(database)) === 'kept') return;
  log.warn(
    'the audit trail lacks partitions for the months to come, and this role may not make them: run `writ migrate` as the owner',
  );
}
