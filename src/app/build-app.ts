/** The composition root: from configuration and an open database to a server that is ready to listen. */

import { stringify as stringifyCsv } from 'csv-stringify/sync';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { ed25519Jwk } from '../domain/crypto/jwk.ts';
import { readStrictJson } from '../domain/json/strict-json.ts';
import { createAuthenticateRequest } from '../http/admission/authenticate-request.ts';
import { addRateLimits } from '../http/admission/rate-limits.ts';
import { addDescriptionRoutes } from '../http/openapi/openapi-routes.ts';
import { addAgentRoutes } from '../http/routes/agent-routes.ts';
import { addAuditRoutes } from '../http/routes/audit-routes.ts';
import { addHealthRoutes } from '../http/routes/health-routes.ts';
import { addIntentTokenRoutes } from '../http/routes/intent-token-routes.ts';
import { addSigningKeyRoutes } from '../http/routes/jwks-routes.ts';
import { addMeRoute } from '../http/routes/me-routes.ts';
import { addVerificationRoutes } from '../http/routes/verification-routes.ts';
import { createRoutes } from '../http/routing/route.ts';
import { createServer } from '../http/server/create-server.ts';
import { createClientReader } from '../http/server/request-state.ts';
import { compareApiKey, dummyHash, makeApiKey } from '../keys/credentials/api-key-hash.ts';
import { createProcessFingerprint } from '../keys/credentials/fingerprint.ts';
import { type KeyRing, openKeyRing } from '../keys/signing/key-ring.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { createSigningThread } from '../keys/signing/signing-thread.ts';
import { createBoundedWork } from '../platform/concurrency-limiter.ts';
import { createDatabaseClock } from '../platform/database-clock.ts';
import { newId } from '../platform/ids.ts';
import { startJobs } from '../platform/job-scheduler.ts';
import type { Log } from '../platform/log.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import { VERSION } from '../platform/version.ts';
import type { Provisioned } from '../start/provision.ts';
import { createAuditReader } from '../storage/audit/audit-reader.ts';
import { createAuditTrail } from '../storage/audit/audit-store.ts';
import type { Database } from '../storage/engine/database.ts';
import { readDatabaseTime } from '../storage/engine/database-health.ts';
import { createIntentTokenReader } from '../storage/intent-tokens/intent-token-reader.ts';
import { createIntentTokenStore } from '../storage/intent-tokens/intent-token-store.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createCredentialStore } from '../storage/principals/api-key-store.ts';
import { readSigningKeys } from '../storage/signing-keys/signing-key-store.ts';
import { sweep } from '../storage/sweep.ts';
import { createDenialLog } from '../use-cases/audit/denial-log.ts';
import { createAuditTrailReading } from '../use-cases/audit/read-audit-trail.ts';
import { type CachedKey, createAuthenticator } from '../use-cases/authentication/authenticate-api-key.ts';
import { createDenyCaller } from '../use-cases/authentication/deny-caller.ts';
import { createIssueIntentToken } from '../use-cases/intent-tokens/issue-intent-token.ts';
import { createVerifyIntentToken } from '../use-cases/intent-tokens/verify-intent-token.ts';
import { createDescribeCaller } from '../use-cases/principals/describe-caller.ts';
import { createAgentManager } from '../use-cases/principals/manage-principals.ts';
import { countVisibleSecrets } from '../use-cases/secrets/visible-namespaces.ts';
import { composeSecrets } from './compose-secrets.ts';
import { deliveryOf, keepPartitions } from './job-schedule.ts';
import { createReadiness } from './readiness.ts';
import { logRequest } from './request-log.ts';

const CACHED_KEYS = 10_000;

const CACHE_MS = 60_000;

const CLOCK_SAMPLE_MS = 10_000;

const KEY_REFRESH_MS = 15_000;

const SWEEP_MS = 30_000;

const WEBHOOK_MS = 1000;

const PARTITIONS_MS = 3_600_000;

const REFUSAL_FLUSH_MS = 5_000;

export interface AppDeps {
  readonly config: Config;
  readonly database: Database;
  readonly provisioned: Provisioned;
  readonly log: Log;
}

/** Builds everything and starts the jobs; does not listen. `app.close()` stops the jobs, not the database. */
export async function buildApp({ config, database, provisioned, log }: AppDeps): Promise<FastifyInstance> {
  const monotonicMs = (): number => performance.now();
  const clock = createDatabaseClock({ readDatabaseTime: () => readDatabaseTime(database) });
  await clock.sample();
  const signingThread = createSigningThread();
  const keyRing = await openKeyRing({
    kek: provisioned.kek,
    thread: signingThread,
    load: () => readSigningKeys(database),
  });
  const trail = createAuditTrail(database);
  const denialLog = createDenialLog({ trail, newId, monotonicMs });
  const authenticator = createAuthenticator({
    store: createCredentialStore(database),
    fingerprint: createProcessFingerprint(),
    keyCache: createTtlCache<CachedKey>({
      maxEntries: CACHED_KEYS,
      maxAgeMs: CACHE_MS,
      monotonicMs,
    }),
    compare: boundedCompare(),
    dummyHash: await dummyHash(config.bcryptCost),
    denialLog,
  });
  const denyCaller = createDenyCaller({ confirm: authenticator.confirm, denialLog });
  const agentStore = createAgentStore(database);
  const agents = createAgentManager({
    store: agentStore,
    newId,
    now: () => clock.now(),
    makeKey: () => makeApiKey(config.bcryptCost),
    denyCaller,
  });
  const issue = createIssueIntentToken({
    store: createIntentTokenStore(database),
    signer: () => keyRing.active(),
    findSigner: (kid) => keyRing.find(kid),
    sha256: nodeSha256,
    clock,
    newId,
    issuer: provisioned.issuer,
    audience: provisioned.audience,
    confirm: authenticator.confirm,
    denialLog,
  });

  const verify = createVerifyIntentToken({
    reader: createIntentTokenReader(database),
    trail,
    checkSignature: ({ kid, signingInput, signature }) => keyRing.find(kid)?.verify(signingInput, signature),
    sha256: nodeSha256,
    clock,
    newId,
    issuer: provisioned.issuer,
    audience: provisioned.audience,
  });

  const app = createServer({
    requestTimeoutMs: config.requestTimeoutMs,
    readClient: createClientReader(config.trustProxy),
    readJson: readStrictJson,
    newRequestId: newId,
    logRequest: (line) => logRequest(log, line),
  });
  const limits = await addRateLimits(app, {
    max: config.rateLimitMax,
    authFailureMax: config.authFailureMax,
    windowSeconds: config.rateLimitWindowSeconds,
  });
  const secrets = composeSecrets({
    database,
    kek: provisioned.kek,
    clock,
    monotonicMs,
    authenticator,
    denialLog,
    denyCaller,
    limits,
    approvals: {
      critical: { approvalsRequired: config.criticalApprovals, delaySeconds: config.criticalDelaySeconds },
      windowSeconds: config.approvalTtlSeconds,
    },
    webhookEnabled: config.approvalWebhook !== undefined,
  });
  const routes = createRoutes(app, {
    authenticate: createAuthenticateRequest({
      authenticator,
      limits,
      secretCredentials: secrets.credentials,
    }),
    secretCredentials: secrets.credentials,
    limits,
    confirm: authenticator.confirm,
    denyCaller,
  });
  addHealthRoutes(routes, {
    version: VERSION,
    whyNotReady: createReadiness({ database, clock, keyRing, monotonicMs }),
  });
  addSigningKeyRoutes(routes, publication(keyRing));
  addIntentTokenRoutes(routes, {
    issue,
    sha256Hex: (bytes) => Buffer.from(nodeSha256.bytes(bytes)).toString('hex'),
  });
  addVerificationRoutes(routes, verify);
  addAgentRoutes(routes, agents);
  secrets.addRoutes(routes);
  addAuditRoutes(routes, {
    trail: createAuditTrailReading(createAuditReader(database)),
    writeCsv: (rows) =>
      stringifyCsv(
        rows.map((row) => [...row]),
        { escape_formulas: true, record_delimiter: 'windows', quoted_match: /[\r\n]/ },
      ),
    onBrokenOff: (err) => log.error({ err }, 'an export of the audit trail broke off'),
  });
  addMeRoute(
    routes,
    createDescribeCaller({
      store: agentStore,
      countSecrets: (scopes) => countVisibleSecrets(secrets.reader, scopes),
    }),
  );
  addDescriptionRoutes(routes, {
    version: VERSION,
    sha256Base64: (text) => Buffer.from(nodeSha256.hex(text), 'hex').toString('base64'),
  });

  const { approvalWebhook } = config;
  const webhookJobs =
    approvalWebhook === undefined
      ? []
      : [{ name: 'webhook', everyMs: WEBHOOK_MS, run: deliveryOf(database, approvalWebhook, clock, log) }];
  const stopJobs = startJobs(
    [
      ...webhookJobs,
      { name: 'clock', everyMs: CLOCK_SAMPLE_MS, run: () => clock.sample() },
      { name: 'signing keys', everyMs: KEY_REFRESH_MS, run: () => keyRing.refresh() },
      { name: 'sweep', everyMs: SWEEP_MS, run: async () => void (await sweep(database, config)) },
      { name: 'audit partitions', everyMs: PARTITIONS_MS, run: () => keepPartitions(database, log) },
      { name: 'denialLog', everyMs: REFUSAL_FLUSH_MS, run: () => denialLog.flush() },
    ],
    (job, err) => log.warn({ job, err }, 'a job failed; it runs again'),
  );
  app.addHook('onClose', async () => {
    await stopJobs();
    await signingThread.close();
    await denialLog.flush(true).catch((err: unknown) => log.warn({ err }, 'counted denialLog were lost'));
  });
  return app;
}

/** At most 2 compares at once, 32 waiting, 4 of them per address (contract section 2). */
function boundedCompare() {
  const gate = createBoundedWork({ atOnce: 2, waiting: 32, waitingPerOrigin: 4 });
  return ({
    keyText,
    hash,
    ...task
  }: {
    keyText: string;
    hash: string;
    origin: string;
    preferred: boolean;
  }) => gate.run({ ...task, work: () => compareApiKey(keyText, hash) });
}

function publication(keyRing: KeyRing) {
  return {
    publishedKeys: () => keyRing.published().map((key) => ed25519Jwk(key.publicKey, key.kid)),
    entityTag: () =>
      `"${nodeSha256
        .hex(
          keyRing
            .published()
            .map((key) => key.kid)
            .join(),
        )
        .slice(0, 32)}"`,
  };
}
