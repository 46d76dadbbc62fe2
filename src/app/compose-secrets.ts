/** The part of the composition root that is about scoped tokens, the secrets they open and the approvals they take. */

import { randomBytes } from 'node:crypto';
import {
  createSecretCredentials,
  type SecretCredentials,
  type SecretCredentialsDeps,
} from '../http/admission/secret-credentials.ts';
import { addApprovalRoutes } from '../http/routes/approval-routes.ts';
import { addScopedTokenRoutes } from '../http/routes/scoped-token-routes.ts';
import { addSecretRoutes } from '../http/routes/secret-routes.ts';
import type { Routes } from '../http/routing/route.ts';
import { generateScopedToken, hashScopedToken } from '../keys/credentials/scoped-token-secret.ts';
import { createRequestDigest } from '../keys/encryption/approval-mac.ts';
import type { KeyEncryption } from '../keys/encryption/key-encryption.ts';
import { createSecretCipher } from '../keys/encryption/secret-cipher.ts';
import { newApprovalId, newId } from '../platform/ids.ts';
import { createTtlCache } from '../platform/ttl-cache.ts';
import { createApprovalStore } from '../storage/approvals/approval-store.ts';
import type { Database } from '../storage/engine/database.ts';
import { createScopedTokenStore } from '../storage/scoped-tokens/scoped-token-store.ts';
import { createSecretReader } from '../storage/secrets/secret-reader.ts';
import { createSecretStore } from '../storage/secrets/secret-store.ts';
import { createSecretUses } from '../storage/secrets/secret-use-store.ts';
import { createApprovalWebhookEvents } from '../use-cases/approvals/approval-events.ts';
import { createClaimApproval } from '../use-cases/approvals/claim-approval.ts';
import { createApprovals } from '../use-cases/approvals/decide-approval.ts';
import { type ApprovalSettings, createRequestApproval } from '../use-cases/approvals/request-approval.ts';
import type { DenialLog } from '../use-cases/audit/denial-log.ts';
import type { Authenticator } from '../use-cases/authentication/authenticate-api-key.ts';
import type { DenyCaller } from '../use-cases/authentication/deny-caller.ts';
import type { Clock } from '../use-cases/ports.ts';
import { createIntrospectScopedToken } from '../use-cases/scoped-tokens/introspect-scoped-token.ts';
import { createIssueScopedToken } from '../use-cases/scoped-tokens/issue-scoped-token.ts';
import { createScopedTokenManager } from '../use-cases/scoped-tokens/manage-scoped-tokens.ts';
import { createSecretAuthorization } from '../use-cases/secrets/authorize-secret-request.ts';
import type { ResolvedRequester } from '../use-cases/secrets/authorized-request.ts';
import { createImportSecrets } from '../use-cases/secrets/import-secrets.ts';
import type { SecretReader } from '../use-cases/secrets/ports.ts';
import { createReadSecrets } from '../use-cases/secrets/read-secrets.ts';
import { createWriteSecrets } from '../use-cases/secrets/write-secrets.ts';

const CACHED_TOKEN_OWNERS = 10_000;
const CACHED_READS = 4096;
const CACHE_MS = 60_000;
const RANDOM_VALUE_BYTES = 32;

export interface SecretPartDeps {
  readonly database: Database;
  readonly kek: KeyEncryption;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
  readonly authenticator: Authenticator;
  readonly denialLog: DenialLog;
  readonly denyCaller: DenyCaller;
  readonly limits: SecretCredentialsDeps['limits'];
  readonly approvals: ApprovalSettings;
  /** Whether there is a webhook to tell. */
  readonly webhookEnabled: boolean;
}

export interface SecretPart {
  readonly credentials: SecretCredentials;
  readonly reader: SecretReader;
  addRoutes(routes: Routes): void;
}

export function composeSecrets(deps: SecretPartDeps): SecretPart {
  const { database, clock, authenticator, denialLog } = deps;
  const { confirm } = authenticator;
  const reader = createSecretReader(database);
  const tokenStore = createScopedTokenStore(database);
  const cipher = createSecretCipher(deps.kek);
  const changes = { store: createSecretStore(database), cipher, newId, denialLog };
  const digest = createRequestDigest(deps.kek);
  const approvalStore = createApprovalStore(database);
  const notices = createApprovalWebhookEvents({ configured: deps.webhookEnabled, newId });
  const lately = {
    maxAgeMs: CACHE_MS,
    monotonicMs: deps.monotonicMs,
  };
  const tokenOwners = createTtlCache<string>({ ...lately, maxEntries: CACHED_TOKEN_OWNERS });
  const readCache = createTtlCache<ResolvedRequester>({
    ...lately,
    maxEntries: CACHED_READS,
  });
  return {
    reader,
    credentials: createSecretCredentials({
      secrets: createSecretAuthorization({ reader, confirm, denialLog, readCache }),
      confirm,
      limits: deps.limits,
      hashToken: hashScopedToken,
      tokenOwners,
    }),
    addRoutes: (routes) => {
      addScopedTokenRoutes(routes, {
        issue: createIssueScopedToken({
          store: tokenStore,
          generate: generateScopedToken,
          clock,
          newId,
          confirm,
          denialLog,
          requestApproval: createRequestApproval({
            store: approvalStore,
            settings: deps.approvals,
            digest,
            newApprovalId,
            newId,
            clock,
            notices,
          }),
        }),
        tokens: createScopedTokenManager({ store: tokenStore, newId, denyCaller: deps.denyCaller }),
        introspect: createIntrospectScopedToken({ store: tokenStore }),
        hashToken: hashScopedToken,
      });
      addApprovalRoutes(routes, {
        approvals: createApprovals({
          store: approvalStore,
          digest,
          newId,
          clock,
          notices,
          denyCaller: deps.denyCaller,
          denialLog,
        }),
        claim: createClaimApproval({
          store: approvalStore,
          digest,
          generate: generateScopedToken,
          newId,
          clock,
        }),
      });
      addSecretRoutes(routes, {
        read: createReadSecrets({ reader, uses: createSecretUses(database), cipher, newId, denialLog }),
        write: createWriteSecrets({
          ...changes,
          randomValue: () => randomBytes(RANDOM_VALUE_BYTES).toString('base64url'),
        }),
        importEnv: createImportSecrets(changes),
      });
    },
  };
}
