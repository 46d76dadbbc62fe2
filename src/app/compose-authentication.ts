/** API keys: who calls, and how a caller is refused. */

import { createEvenCompare } from '../keys/credentials/even-compare.ts';
import { createProcessFingerprint } from '../keys/credentials/fingerprint.ts';
import { createBoundedWork } from '../platform/concurrency-limiter.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import { createCredentialStore } from '../storage/principals/api-key-store.ts';
import { readKeyCosts } from '../storage/principals/key-costs.ts';
import {
  type AuthenticateDeps,
  type Authenticator,
  type CachedKey,
  createAuthenticator,
} from '../use-cases/authentication/authenticate-api-key.ts';
import { createDenyCaller, type DenyCaller } from '../use-cases/authentication/deny-caller.ts';
import { createKeyUses, type KeyUses } from '../use-cases/authentication/key-uses.ts';
import type { AppContext } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';

const CACHED_KEYS = 10_000;
const CACHE_MS = 60_000;
/** Gives a place in the queue and nothing else. */
const LATELY_MS = 3_600_000;
/** An event is written in a few milliseconds. */
const REFUSAL_MS = 20;

export interface AuthenticationPart {
  readonly authenticator: Authenticator;
  readonly denyCaller: DenyCaller;
  /** Keys of another cost may have been made elsewhere. */
  readonly learnKeyCosts: () => Promise<void>;
  readonly keyUses: KeyUses;
}

export async function composeAuthentication(
  { config, database, clock, monotonicMs }: AppContext,
  { audit: { denialLog, seals } }: { readonly audit: AuditPart },
): Promise<AuthenticationPart> {
  const evenCompare = await createEvenCompare(config.bcryptCost);
  const learnKeyCosts = async () => evenCompare.learn(await readKeyCosts(database));
  await learnKeyCosts();
  // The job that reads them sees to a failure.
  database.memories.add('costs of API keys', () => void learnKeyCosts().catch(() => {}));
  const store = createCredentialStore(database, seals);
  const keyUses = createKeyUses({ store, now: clock.now });
  const authenticator = createAuthenticator({
    store,
    uses: keyUses.noted,
    now: clock.now,
    fingerprint: createProcessFingerprint(),
    keyCache: createTtlCache<CachedKey>({
      memories: database.memories,
      name: 'API keys',
      maxEntries: CACHED_KEYS,
      maxAgeMs: CACHE_MS,
      monotonicMs,
    }),
    verifiedLately: createTtlCache<true>({
      memories: database.memories,
      name: 'API keys verified lately',
      maxEntries: CACHED_KEYS,
      maxAgeMs: LATELY_MS,
      monotonicMs,
    }),
    compare: createBoundedCompare(evenCompare.compare),
    pause: () => new Promise((resolve) => setTimeout(resolve, REFUSAL_MS)),
    denialLog,
  });
  const denyCaller = createDenyCaller({ confirm: authenticator.confirm, denialLog });
  return { authenticator, denyCaller, learnKeyCosts, keyUses };
}

/** At most 2 compares at once, 32 waiting, 4 of them per address (contract section 2). */
function createBoundedCompare(
  compare: (keyText: string, hash: string | undefined) => Promise<boolean>,
): AuthenticateDeps['compare'] {
  const gate = createBoundedWork({ atOnce: 2, waiting: 32, waitingPerOrigin: 4 });
  return ({ keyText, hash, ...task }) => gate.run({ ...task, work: () => compare(keyText, hash) });
}
