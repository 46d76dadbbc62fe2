/** Agents, approvers and administrators with their API keys, and what a caller learns of itself. */

import { addAgentKeyRoutes } from '../http/routes/agent-key-routes.ts';
import { addAgentRoutes } from '../http/routes/agent-routes.ts';
import { addMeRoute } from '../http/routes/me-routes.ts';
import { addOwnKeyRoutes } from '../http/routes/own-key-routes.ts';
import { makeApiKey } from '../keys/credentials/api-key-hash.ts';
import { newId } from '../platform/ids.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createKeyEndReminders } from '../storage/principals/key-ends.ts';
import { createOwnKeyStore } from '../storage/principals/own-key-store.ts';
import { createDescribeCaller } from '../use-cases/principals/describe-caller.ts';
import { createAgentKeys } from '../use-cases/principals/manage-agent-keys.ts';
import { createOwnKeys } from '../use-cases/principals/manage-own-keys.ts';
import { createAgentManager } from '../use-cases/principals/manage-principals.ts';
import { createTellOfEndingKeys } from '../use-cases/principals/tell-of-ending-keys.ts';
import { countVisibleSecrets } from '../use-cases/secrets/visible-namespaces.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SecretsPart } from './compose-secrets.ts';

export interface PrincipalsPart extends ServedPart {
  readonly tellOfEndingKeys: () => Promise<void>;
}

export function composePrincipals(
  { config, database, clock, buildNotice, log }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly secrets: SecretsPart;
  },
): PrincipalsPart {
  const store = createAgentStore(database, parts.audit.seals);
  const { reader } = parts.secrets;
  const writing = {
    store,
    newId,
    now: clock.now,
    makeKey: () => makeApiKey(config.bcryptCost),
    denyCaller: parts.authentication.denyCaller,
  };
  const agents = createAgentManager(writing);
  const keys = createAgentKeys({ ...writing, getAgent: agents.get });
  const ownKeys = createOwnKeys({
    store: createOwnKeyStore(database),
    newId,
    now: clock.now,
    denyCaller: parts.authentication.denyCaller,
  });
  const describe = createDescribeCaller({
    store,
    countSecrets: (scopes) => countVisibleSecrets(reader, scopes),
    now: clock.now,
    warningDays: config.keyExpiryWarningDays,
  });
  const tellOfEndingKeys = createTellOfEndingKeys({
    reminders: createKeyEndReminders(database, parts.audit.seals),
    newId,
    now: clock.now,
    buildNotice,
    withinDays: config.keyExpiryWarningDays,
    warn: ({ keyId, agentId, agentName, expiresAt }) =>
      log.warn({ key: keyId, agent: agentId, name: agentName, ends: expiresAt }, 'an API key ends soon'),
  });
  return {
    tellOfEndingKeys,
    addRoutes: (routes) => {
      addAgentRoutes(routes, agents);
      addAgentKeyRoutes(routes, agents, keys);
      addMeRoute(routes, describe);
      addOwnKeyRoutes(routes, ownKeys);
    },
  };
}
