/** Agents, approvers and administrators with their API keys, and what a caller learns of itself. */

import { addAgentKeyRoutes } from '../http/routes/agent-key-routes.ts';
import { addAgentRoutes } from '../http/routes/agent-routes.ts';
import { addMeRoute } from '../http/routes/me-routes.ts';
import { addOwnKeyRoutes } from '../http/routes/own-key-routes.ts';
import { makeApiKey } from '../keys/credentials/api-key-hash.ts';
import { newId } from '../platform/ids.ts';
import { createAgentStore } from '../storage/principals/agent-store.ts';
import { createOwnKeyStore } from '../storage/principals/own-key-store.ts';
import { createDescribeCaller } from '../use-cases/principals/describe-caller.ts';
import { createOwnKeys } from '../use-cases/principals/manage-own-keys.ts';
import { createAgentManager } from '../use-cases/principals/manage-principals.ts';
import { countVisibleSecrets } from '../use-cases/secrets/visible-namespaces.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SecretsPart } from './compose-secrets.ts';

export function composePrincipals(
  { config, database, clock }: AppContext,
  parts: {
    readonly audit: AuditPart;
    readonly authentication: AuthenticationPart;
    readonly secrets: SecretsPart;
  },
): ServedPart {
  const store = createAgentStore(database, parts.audit.seals);
  const { reader } = parts.secrets;
  const agents = createAgentManager({
    store,
    newId,
    now: clock.now,
    makeKey: () => makeApiKey(config.bcryptCost),
    denyCaller: parts.authentication.denyCaller,
  });
  const ownKeys = createOwnKeys({
    store: createOwnKeyStore(database),
    newId,
    now: clock.now,
    denyCaller: parts.authentication.denyCaller,
  });
  const describe = createDescribeCaller({
    store,
    countSecrets: (scopes) => countVisibleSecrets(reader, scopes),
  });
  return {
    addRoutes: (routes) => {
      addAgentRoutes(routes, agents);
      addAgentKeyRoutes(routes, agents);
      addMeRoute(routes, describe);
      addOwnKeyRoutes(routes, ownKeys);
    },
  };
}
