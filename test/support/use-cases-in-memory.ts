/** Use cases on the stores in memory, put together as the app puts them together, and principals to call them. */
import assert from 'node:assert/strict';
import { type ErrorCode, WritError } from '../../src/errors.ts';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { createProcessFingerprint } from '../../src/keys/credentials/fingerprint.ts';
import { newId } from '../../src/platform/ids.ts';
import { createTtlCache } from '../../src/platform/ttl-cache.ts';
import { createMemories } from '../../src/storage/engine/memories.ts';
import { createDenialLog } from '../../src/use-cases/audit/denial-log.ts';
import type { RequestContext } from '../../src/use-cases/audit/ports.ts';
import {
  type CachedKey,
  createAuthenticator,
} from '../../src/use-cases/authentication/authenticate-api-key.ts';
import { createDenyCaller } from '../../src/use-cases/authentication/deny-caller.ts';
import type { Caller } from '../../src/use-cases/authentication/ports.ts';
import type { NewAgent } from '../../src/use-cases/principals/ports.ts';
import { agentIn, aKey } from '../storage/builders.ts';
import { createStoresInMemory } from './stores-in-memory.ts';

export const CONTEXT: RequestContext = { requestId: 'r', ipAddress: '192.0.2.1' };

const hashOf = (keyText: string): string => `hash of ${keyText}`;

export function useCasesInMemory() {
  const stores = createStoresInMemory();
  const denialLog = createDenialLog({
    trail: stores.trail,
    alarmsOf: async () => [],
    newId,
    monotonicMs: () => 0,
  });
  const authenticator = createAuthenticator({
    store: stores.credentials,
    fingerprint: createProcessFingerprint(),
    keyCache: createTtlCache<CachedKey>({
      memories: createMemories(),
      name: 'API keys',
      maxEntries: 1000,
      maxAgeMs: 60_000,
      monotonicMs: () => 0,
    }),
    verifiedLately: createTtlCache<true>({
      memories: createMemories(),
      name: 'API keys verified lately',
      maxEntries: 1000,
      maxAgeMs: 60_000,
      monotonicMs: () => 0,
    }),
    // bcrypt has tests of its own.
    compare: async ({ keyText, hash }) => hash === hashOf(keyText),
    pause: async () => undefined,
    denialLog,
    uses: new Map(),
    now: () => new Date(),
  });
  const { confirm } = authenticator;
  return {
    stores,
    authenticator,
    /** What every use case is given. */
    shared: {
      newId,
      clock: { now: () => new Date() },
      confirm,
      denialLog,
      denyCaller: createDenyCaller({ confirm, denialLog }),
    },
    /** A principal that is there, and its key as this process has verified it. */
    join: async (
      changes: Partial<NewAgent> = {},
    ): Promise<{ agent: NewAgent; caller: Caller; keyText: string }> => {
      const { text, keyId } = generateApiKey();
      const key = { ...aKey({ keyId, hash: hashOf(text) }), ...changes.key };
      const agent = await agentIn(stores, { ...changes, key });
      return {
        agent,
        keyText: text,
        caller: await authenticator.verify(text, { origin: '', context: CONTEXT }),
      };
    },
  };
}

/** With the code, and at the place of the request where one is named. */
export async function assertDenied(
  asked: Promise<unknown>,
  code: ErrorCode,
  what?: string,
  pointer?: string,
): Promise<WritError> {
  const error = await asked.then(
    (answer) => assert.fail(`${what ?? code}: granted ${JSON.stringify(answer)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof WritError, what);
  assert.equal(error.code, code, what);
  if (pointer !== undefined) assert.equal(error.details?.['pointer'], pointer, what);
  return error;
}
