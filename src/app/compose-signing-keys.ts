/** The keys that sign intent tokens, the thread that holds them busy, and what verifiers pin. */

import { publishedJwk, type SigningAlg } from '../domain/crypto/jwk.ts';
import type { CheckSignature } from '../domain/intent-tokens/intent-jwt.ts';
import { addSigningKeyRoutes } from '../http/routes/jwks-routes.ts';
import { type KeyRing, openKeyRing } from '../keys/signing/key-ring.ts';
import { rememberSignatures } from '../keys/signing/remembered-signatures.ts';
import { generateSigningKey } from '../keys/signing/signing-key.ts';
import { createSigningThread } from '../keys/signing/signing-thread.ts';
import { newId } from '../platform/ids.ts';
import { createSigningKeyStore } from '../storage/signing-keys/signing-key-rotations.ts';
import { readWholeSigningKeys } from '../storage/signing-keys/signing-key-store.ts';
import { NO_REQUEST } from '../use-cases/audit/build-audit-event.ts';
import { createRotateSigningKeys } from '../use-cases/signing-keys/rotate-signing-keys.ts';
import type { AppContext, ServedPart } from './app-context.ts';
import type { AuditPart } from './compose-audit.ts';
import { strongEntityTag } from './strong-entity-tag.ts';

export interface SigningKeysPart extends ServedPart {
  readonly keyRing: KeyRing;
  readonly checkSignature: CheckSignature;
  /** What is due by itself, whichever process does it. */
  readonly rotateWhatIsDue: () => Promise<void>;
  /** Ends the thread. */
  close(): Promise<void>;
}

export async function composeSigningKeys(
  { config, database, provisioned, log, clock, buildNotice }: AppContext,
  { audit: { integrityFaults, seals } }: { readonly audit: AuditPart },
): Promise<SigningKeysPart> {
  const { signingAlg: alg } = config;
  const thread = createSigningThread();
  const load = () => readWholeSigningKeys(database, seals);
  const onForged = integrityFaults.report;
  const keyRing = await openKeyRing({
    masterKeys: provisioned.masterKeys,
    thread,
    alg,
    load,
    onForged,
    onNoActive: () => log.error(NO_ACTIVE_KEY),
    memories: database.memories,
  }).catch(async (error: unknown) => {
    await thread.close();
    throw error;
  });
  const rotation = createRotateSigningKeys({
    store: createSigningKeyStore(database, seals),
    makeKey: () => generateSigningKey(provisioned.masterKeys.active()),
    newId,
    clock,
    buildNotice,
    rotationDays: config.signingKeyRotationDays,
    origin: NO_REQUEST,
  });
  return {
    keyRing,
    rotateWhatIsDue: async () => {
      for (const step of await rotation.rotateWhatIsDue()) log.info({ step }, 'a signing key went on');
    },
    checkSignature: rememberSignatures(keyRing.find, database.memories),
    close: () => thread.close(),
    addRoutes: (routes) =>
      addSigningKeyRoutes(routes, {
        publishedKeys: () =>
          keyRing.published().map((key) => publishedJwk(key.publicKey, { kid: key.kid, alg })),
        activeKey: () => {
          const { publicKeyHex, kid } = keyRing.active();
          return { publicKeyHex, kid, alg };
        },
        entityTag: () => entityTagOf(keyRing, alg),
      }),
  };
}

const NO_ACTIVE_KEY =
  'No active signing key opens: its row in signing_keys was changed, or is not of Writ. Secrets are served and no intent token is issued. Put that row back from a backup, or delete it and start again: the start makes a new key, and tokens that the old one signed verify no more.';

/** Of all that the answer is made from. */
function entityTagOf(keyRing: KeyRing, alg: SigningAlg): string {
  const kids = keyRing.published().map((key) => key.kid);
  return strongEntityTag([alg, ...kids].join());
}
