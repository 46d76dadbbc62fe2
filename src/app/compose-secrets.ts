/** Secrets: who may use them, and reading, writing and importing them. */

import { randomBytes } from 'node:crypto';
import { addSecretRoutes } from '../http/routes/secret-routes.ts';
import { createSecretCipher } from '../keys/encryption/secret-cipher.ts';
import { newId } from '../platform/ids.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import { createDueReminders } from '../storage/secrets/due-reminders.ts';
import { createSecretReader } from '../storage/secrets/secret-reader.ts';
import { createSecretStore } from '../storage/secrets/secret-store.ts';
import { createSecretUses } from '../storage/secrets/secret-use-store.ts';
import { createVersionPruning } from '../storage/secrets/version-pruning.ts';
import {
  createSecretAuthorization,
  type SecretAuthorization,
} from '../use-cases/secrets/authorize-secret-request.ts';
import type { ResolvedRequester } from '../use-cases/secrets/authorized-request.ts';
import { createImportSecrets } from '../use-cases/secrets/import-secrets.ts';
import { createListDueSecrets } from '../use-cases/secrets/list-due-secrets.ts';
import type { SecretReader } from '../use-cases/secrets/ports.ts';
import { createReadSecrets } from '../use-cases/secrets/read-secrets.ts';
import { createPruneVersions } from '../use-cases/secrets/upkeep/prune-versions.ts';
import { createTellOfDueSecrets } from '../use-cases/secrets/upkeep/tell-of-due-secrets.ts';
import { createWriteSecrets } from '../use-cases/secrets/write-secrets.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import type { AuthenticationPart } from './compose-authentication.ts';

const CACHED_READS = 4096;
const CACHE_MS = 60_000;
const RANDOM_VALUE_BYTES = 32;

export interface SecretsPart extends ServedPart {
  readonly reader: SecretReader;
  readonly authorization: SecretAuthorization;
  /** A job. */
  readonly tellOfDueSecrets: () => Promise<void>;
  /** Another. */
  readonly pruneVersions: () => Promise<number>;
}

export function composeSecrets(
  { config, database, provisioned, monotonicMs, buildNotice }: AppContext,
  parts: { readonly audit: AuditPart; readonly authentication: AuthenticationPart },
): SecretsPart {
  const { denialLog, seals, canaries, trail } = parts.audit;
  const { confirm } = parts.authentication.authenticator;
  const reader = createSecretReader(database, seals);
  const cipher = createSecretCipher(provisioned.masterKeys);
  const readCache = createTtlCache<ResolvedRequester>({
    memories: database.memories,
    name: 'what was read for a token',
    maxEntries: CACHED_READS,
    maxAgeMs: CACHE_MS,
    monotonicMs,
  });
  const changes = { store: createSecretStore(database, seals), cipher, newId, denialLog, canaries, trail };
  const randomValue = (): string => randomBytes(RANDOM_VALUE_BYTES).toString('base64url');
  const uses = createSecretUses(database, seals);
  return {
    reader,
    tellOfDueSecrets: createTellOfDueSecrets({
      reminders: createDueReminders(database, seals),
      newId,
      buildNotice,
    }),
    pruneVersions: createPruneVersions({
      pruning: createVersionPruning(database, seals),
      newId,
      rule: { kept: config.secretVersionsKept, keptDays: config.secretVersionsKeptDays },
    }),
    authorization: createSecretAuthorization({ reader, confirm, denialLog, readCache }),
    addRoutes: (routes) =>
      addSecretRoutes(routes, {
        read: createReadSecrets({ reader, uses, cipher, newId, denialLog, canaries }),
        listDue: createListDueSecrets({ reader, uses, newId }),
        write: createWriteSecrets({ ...changes, randomValue }),
        importEnv: createImportSecrets(changes),
      }),
  };
}
