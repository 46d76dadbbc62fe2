/** The composition root: from configuration and an open database to a server that is ready to listen. */

import type { FastifyInstance } from 'fastify';
import { readStrictJson } from '../domain/json/strict-json.ts';
import { addDescriptionRoutes } from '../http/openapi/openapi-routes.ts';
import { addHealthRoutes } from '../http/routes/health-routes.ts';
import { createAnswerTally } from '../http/server/answer-tally.ts';
import { createServer } from '../http/server/create-server.ts';
import { createClientReader } from '../http/server/request-state.ts';
import { nodeSha256 } from '../keys/signing/node-sha256.ts';
import { newId } from '../platform/ids.ts';
import { VERSION } from '../platform/version.ts';
import { type AppDeps, createAppContext } from './app-context.ts';
import { composeApprovals } from './compose-approvals.ts';
import { composeAudit } from './compose-audit.ts';
import { composeAuditReading } from './compose-audit-reading.ts';
import { composeAuthentication } from './compose-authentication.ts';
import { composeDelegation } from './compose-delegation.ts';
import { composeEmergency } from './compose-emergency.ts';
import { composeIntentInventory } from './compose-intent-inventory.ts';
import { composeIntentTokens } from './compose-intent-tokens.ts';
import { composeMasterKeys } from './compose-master-keys.ts';
import { composePrincipals } from './compose-principals.ts';
import { composePythonSdk } from './compose-python-sdk.ts';
import { composeRoutes } from './compose-routes.ts';
import { composeScopedTokens } from './compose-scoped-tokens.ts';
import { composeSecrets } from './compose-secrets.ts';
import { composeSigningKeys } from './compose-signing-keys.ts';
import { composeTokenReading } from './compose-token-reading.ts';
import { composeVerification } from './compose-verification.ts';
import { startSchedule } from './job-schedule.ts';
import { readMetrics } from './read-metrics.ts';
import { createReadiness } from './readiness.ts';

/** Builds everything and starts the jobs; does not listen. `close()` stops the jobs, not the database. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const app = await createAppContext(deps);
  const { config, log } = app;
  const masterKeys = composeMasterKeys(app);
  const audit = composeAudit(app);
  const signingKeys = await composeSigningKeys(app, { audit });
  const authentication = await composeAuthentication(app, { audit });
  const secrets = composeSecrets(app, { audit, authentication });
  const approvals = composeApprovals(app, { audit, authentication });
  const reading = composeTokenReading(app, { audit, signingKeys });
  const intentTokens = composeIntentTokens(app, { audit, authentication, signingKeys, reading });
  const { introspectIntentToken } = intentTokens;
  const principals = composePrincipals(app, { audit, authentication, secrets });
  const served = [
    signingKeys,
    intentTokens,
    composeVerification(app, { audit, authentication, reading }),
    composeIntentInventory(app, { authentication }),
    composeDelegation(app, { audit, authentication, signingKeys, reading }),
    principals,
    composePythonSdk(app, { audit, authentication }),
    composeScopedTokens(app, { audit, authentication, approvals, introspectIntentToken }),
    approvals,
    secrets,
    composeAuditReading(app, { authentication }),
    composeEmergency(app, { audit, authentication }),
  ];
  const tally = createAnswerTally();
  const server = createServer({
    requestTimeoutMs: config.requestTimeoutMs,
    readClient: createClientReader(config.trustProxy),
    readJson: readStrictJson,
    newRequestId: newId,
    monotonicMs: app.monotonicMs,
    log,
    tally,
  });
  const routes = await composeRoutes(app, { server, audit, authentication, secrets });
  const whyNotReady = createReadiness(app, { signingKeys, masterKeys });
  const countIntegrityErrors = audit.integrityFaults.count;
  addHealthRoutes(routes, { version: VERSION, whyNotReady, countIntegrityErrors });
  for (const part of served) part.addRoutes(routes);
  addDescriptionRoutes(routes, { version: VERSION, sha256Base64 });
  readMetrics(app, { audit, tally });
  const stopSchedule = startSchedule(app, {
    audit,
    authentication,
    signingKeys,
    secrets,
    masterKeys,
    principals,
  });
  server.addHook('onClose', async () => {
    await stopSchedule();
    await authentication.keyUses
      .write('all')
      .catch((err: unknown) => log.warn({ err }, 'the last uses of API keys were not written'));
    await signingKeys.close();
    await audit.denialLog
      .flush(true)
      .catch((err: unknown) => log.warn({ err }, 'counted refusals were lost'));
  });
  return server;
}

const sha256Base64 = (text: string): string => Buffer.from(nodeSha256.hex(text), 'hex').toString('base64');
