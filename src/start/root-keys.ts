/**
 * Master keys that a key management service keeps: the database has them wrapped, and only a process that may ask the
 * service unwraps them, into its memory.
 */

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Config } from '../config.ts';
import type { KmsKey } from '../domain/crypto/kms-key.ts';
import { createKeyEncryption, type KeyEncryption } from '../keys/encryption/key-encryption.ts';
import type { FollowedMasterKeys } from '../keys/encryption/master-keys.ts';
import { createAwsKms } from '../keys/kms/aws-kms.ts';
import { KmsError, ROOT_KEY_BYTES, type RootKeyKms } from '../keys/kms/root-key-kms.ts';
import { createVaultTransit } from '../keys/kms/vault-transit.ts';
import { VAULT_TOKEN } from '../setting-kinds.ts';
import type { MasterKeyRow } from '../storage/signing-keys/master-key-store.ts';

export interface RootKey {
  readonly key: KeyEncryption;
  /** For the database. */
  readonly wrappedRoot: Uint8Array;
}

export interface RootKeys {
  /** The keys of services that the settings name, MASTER_KEY_KMS first. */
  readonly keyNames: readonly string[];
  /** Whether a new master key is one of a service: MASTER_KEY_KMS is set. */
  readonly makes: boolean;
  /**
   * Undefined where no service that the settings name has wrapped it, or what it opens to is not the key of the row. Rejects
   * with `KmsError` where none opens it and one does not work.
   */
  open(row: WrappedRow): Promise<KeyEncryption | undefined>;
  /** A new one, wrapped by MASTER_KEY_KMS. It has been unwrapped again before it is used. Rejects with `KmsError`. */
  make(): Promise<RootKey>;
  /** Whether MASTER_KEY_KMS is what wrapped it. Only of one that was opened or made. */
  isByCurrent(kekId: string): boolean;
}

type WrappedRow = Pick<MasterKeyRow, 'kekId' | 'checkValue'> & { readonly wrappedRoot: Uint8Array };

/** Asks nobody anything yet. Rejects with `KmsError` where the package of a service is missing. */
export async function createRootKeys(config: Config): Promise<RootKeys> {
  const { masterKeyKms, masterKeyPreviousKms } = config;
  const current = masterKeyKms && (await serviceOf(masterKeyKms, config));
  const previous = masterKeyPreviousKms && (await serviceOf(masterKeyPreviousKms, config));
  const services = [current, previous].filter((service) => service !== undefined);
  const byCurrent = new Set<string>();

  const open: RootKeys['open'] = async ({ kekId, checkValue, wrappedRoot }) => {
    let failure: unknown;
    for (const service of services) {
      try {
        const key = createKeyEncryption(await service.unwrap(wrappedRoot));
        if (key.kekId !== kekId || key.readCheckValue(checkValue) === undefined) continue;
        if (service === current) byCurrent.add(kekId);
        return key;
      } catch (error) {
        if (!(error instanceof KmsError)) throw error;
        if (error.kind === 'failed') failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return undefined;
  };

  return {
    keyNames: services.map(({ keyName }) => keyName),
    makes: current !== undefined,
    open,
    make: async () => {
      if (current === undefined) throw new TypeError('no service is to wrap a new root key');
      const root = randomBytes(ROOT_KEY_BYTES);
      const wrappedRoot = await current.wrap(root);
      // A service that wraps and does not unwrap would lock the database at the next start.
      const key = createKeyEncryption(await current.unwrap(wrappedRoot));
      byCurrent.add(key.kekId);
      return { key, wrappedRoot };
    },
    isByCurrent: (kekId) => byCurrent.has(kekId),
  };
}

async function serviceOf(key: KmsKey, config: Config): Promise<RootKeyKms> {
  if (key.service === 'aws') return createAwsKms({ key });
  const { vaultAddr: address } = config;
  if (address === undefined) throw new TypeError('the configuration has no VAULT_ADDR');
  return createVaultTransit({ key, address, readToken: () => readToken(config) });
}

async function readToken({ vaultToken, vaultTokenFile: path }: Config): Promise<string> {
  if (path === undefined) return vaultToken ?? '';
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = error.code ?? 'unknown reason';
    throw new KmsError(
      'failed',
      `The file ${path} of VAULT_TOKEN_FILE cannot be read (${why}). Write a token into it.`,
    );
  });
  const token = VAULT_TOKEN.parse(text.replace(/\r?\n$/, ''));
  if (token !== undefined) return token;
  throw new KmsError('failed', `The file ${path} of VAULT_TOKEN_FILE must hold ${VAULT_TOKEN.allowed}.`);
}

export const isWrapped = <Row extends Pick<MasterKeyRow, 'wrappedRoot'>>(
  row: Row,
): row is Row & { readonly wrappedRoot: Uint8Array } => row.wrappedRoot !== null;

/** Gives the process what it lacks of the list and a service opens. Rejects with `KmsError`, after giving what it could. */
export async function learnRootKeys(
  rootKeys: RootKeys,
  masterKeys: Pick<FollowedMasterKeys, 'give'>,
  missing: readonly MasterKeyRow[],
): Promise<{ readonly learnt: number }> {
  let learnt = 0;
  for (const row of missing.filter(isWrapped)) {
    const key = await rootKeys.open(row);
    if (key === undefined) continue;
    masterKeys.give(key);
    learnt += 1;
  }
  return { learnt };
}
