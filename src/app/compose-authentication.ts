/** API keys: who calls, and how a caller is refused. */

import { compareApiKey, dummyHash } from '../keys/credentials/api-key-hash.ts';
import { createProcessFingerprint } from '../keys/credentials/fingerprint.ts';
import { createBoundedWork } from '../platform/concurrency-limiter.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import { createCredentialStore } from '../storage/principals/api-key-store.ts';
import {
  type AuthenticateDeps,
  type Authenticator,
  type CachedKey,
  createAuthenticator,
} from '../use-cases/authentication/authenticate-api-key.ts';
import { createDenyCaller, type DenyCaller } from '../use-cases/authentication/deny-caller.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';

const CACHED_KEYS = 10_000;
const CACHE_MS = 60_000;

export interface AuthenticationPart {
  readonly authenticator: Authenticator;
  readonly denyCaller: DenyCaller;
}

export async function composeAuthentication(
  { config, database, monotonicMs }: AppContext,
  { audit: { denialLog, seals } }: { readonly audit: AuditPart },
): Promise<AuthenticationPart> {
  const authenticator = createAuthenticator({
    store: createCredentialStore(database, seals),
    fingerprint: createProcessFingerprint(),
    keyCache: createTtlCache<CachedKey>({
      memories: database.memories,
      name: 'API keys',
      maxEntries: CACHED_KEYS,
      maxAgeMs: CACHE_MS,
      monotonicMs,
    }),
    compare: createBoundedCompare(),
    dummyHash: await dummyHash(config.bcryptCost),
    denialLog,
  });
  return { authenticator, denyCaller: createDenyCaller({ confirm: authenticator.confirm, denialLog }) };
}

/** At most 2 compares at once, 32 waiting, 4 of them per address (contract section 2). */
function createBoundedCompare(): AuthenticateDeps['compare'] {
  const gate = createBoundedWork({ atOnce: 2, waiting: 32, waitingPerOrigin: 4 });
  return ({ keyText, hash, ...task }) => gate.run({ ...task, work: () => compareApiKey(keyText, hash) });
}
