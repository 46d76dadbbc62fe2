/** How requests come to the routes: rate limits, and who may call. */

import type { FastifyInstance } from 'fastify';
import { createAuthenticateRequest } from '../http/admission/authenticate-request.ts';
import { addRateLimits } from '../http/admission/rate-limits.ts';
import { createSecretCredentials } from '../http/admission/secret-credentials.ts';
import { createRoutes, type Routes } from '../http/routing/route.ts';
import { hashScopedToken } from '../keys/credentials/scoped-token-secret.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';
import type { SecretsPart } from './compose-secrets.ts';

const CACHED_TOKEN_OWNERS = 10_000;
const CACHE_MS = 60_000;

export async function composeRoutes(
  { config, database, monotonicMs }: AppContext,
  parts: {
    readonly server: FastifyInstance;
    readonly audit: Pick<AuditPart, 'denialLog'>;
    readonly authentication: AuthenticationPart;
    readonly secrets: SecretsPart;
  },
): Promise<Routes> {
  const { authenticator, denyCaller } = parts.authentication;
  const { confirm } = authenticator;
  const limits = await addRateLimits(parts.server, {
    max: config.rateLimitMax,
    authFailureMax: config.authFailureMax,
    windowSeconds: config.rateLimitWindowSeconds,
  });
  const secretCredentials = createSecretCredentials({
    secrets: parts.secrets.authorization,
    confirm,
    limits,
    hashToken: hashScopedToken,
    tokenOwners: createTtlCache<string>({
      memories: database.memories,
      name: 'owners of tokens',
      maxEntries: CACHED_TOKEN_OWNERS,
      maxAgeMs: CACHE_MS,
      monotonicMs,
    }),
  });
  const authenticate = createAuthenticateRequest({ authenticator, limits, secretCredentials });
  const { denialLog } = parts.audit;
  const admission = { authenticate, secretCredentials, limits, confirm, denyCaller, denialLog };
  return createRoutes(parts.server, admission);
}
