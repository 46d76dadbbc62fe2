/**
 * A root key wrapped by AWS KMS. Region and credentials come by the SDK's own chain. The SDK is an optional package, which
 * is loaded when a setting names a key of AWS.
 */

import type { KMSClient } from '@aws-sdk/client-kms';
import type { KmsKey } from '../../domain/crypto/kms-key.ts';
import { KmsError, otherKey, ROOT_KEY_CONTEXT, type RootKeyKms, requireRootKey } from './root-key-kms.ts';

const TIMEOUT_MS = 5000;
const ATTEMPTS = 2;
/** With both attempts, and where credentials are asked for over the network. */
const PATIENCE_MS = 15_000;
const PREFIX = Buffer.from('aws:');
const PACKAGE = '@aws-sdk/client-kms';

type Sdk = typeof import('@aws-sdk/client-kms');

export interface AwsKmsOptions {
  readonly key: Extract<KmsKey, { service: 'aws' }>;
  readonly loadSdk?: () => Promise<Sdk>;
}

/** Rejects with `KmsError` where the package is missing. */
export async function createAwsKms({ key, loadSdk = importSdk }: AwsKmsOptions): Promise<RootKeyKms> {
  const keyName = key.text;
  const sdk = await loadSdk().catch(() => {
    throw new KmsError(
      'failed',
      `${keyName} is a key of AWS, and the package ${PACKAGE} is not installed. Install version 3 of it where Writ finds it, as docs/keys.md says.`,
    );
  });
  let client: KMSClient | undefined;
  const call = { KeyId: key.keyId, EncryptionContext: ROOT_KEY_CONTEXT };

  const send = async <T>(work: (client: KMSClient, abortSignal: AbortSignal) => Promise<T>): Promise<T> => {
    const abortSignal = AbortSignal.timeout(PATIENCE_MS);
    try {
      client ??= new sdk.KMSClient({
        ...(key.region === undefined ? {} : { region: key.region }),
        maxAttempts: ATTEMPTS,
        requestHandler: {
          connectionTimeout: TIMEOUT_MS,
          requestTimeout: TIMEOUT_MS,
          throwOnRequestTimeout: true,
        },
      });
      return await orTimeout(work(client, abortSignal), abortSignal);
    } catch (error) {
      throw errorOf(error, keyName);
    }
  };

  return {
    keyName,
    wrap: async (root) => {
      const { CiphertextBlob } = await send((kms, abortSignal) =>
        kms.send(new sdk.EncryptCommand({ ...call, Plaintext: root }), { abortSignal }),
      );
      if (CiphertextBlob !== undefined && CiphertextBlob.length > 0)
        return Buffer.concat([PREFIX, CiphertextBlob]);
      throw new KmsError(
        'failed',
        `${keyName}: the answer holds no ciphertext. Look where the SDK is sent to.`,
      );
    },
    unwrap: async (wrapped) => {
      const bytes = Buffer.from(wrapped);
      if (!bytes.subarray(0, PREFIX.length).equals(PREFIX)) throw otherKey(keyName);
      const CiphertextBlob = Uint8Array.from(bytes.subarray(PREFIX.length));
      const { Plaintext } = await send((kms, abortSignal) =>
        kms.send(new sdk.DecryptCommand({ ...call, CiphertextBlob }), { abortSignal }),
      );
      return requireRootKey(Plaintext, keyName);
    },
  };
}

const importSdk = (): Promise<Sdk> => import('@aws-sdk/client-kms');

/** A provider of credentials does not hear of the signal. */
function orTimeout<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  return Promise.race([work, late]);
}

/** By the names of the API and of the SDK. Their messages are not repeated. */
const ADVICE: Readonly<Record<string, string>> = {
  CredentialsProviderError:
    'the SDK finds no credentials. Give the process a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
  AccessDeniedException:
    'AWS denies it. Allow kms:Encrypt and kms:Decrypt on this key, with the encryption context application=writ.',
  UnrecognizedClientException: 'AWS does not know the credentials. Replace them.',
  InvalidSignatureException: 'AWS refuses the signature. Look at the secret access key and at the clock.',
  ExpiredTokenException: 'the credentials have expired. Renew them.',
  NotFoundException: 'there is no such key in this region and account. Look at the name and at AWS_REGION.',
  DisabledException: 'the key is disabled. Enable it.',
  KMSInvalidStateException: 'the key is not usable in its state. Cancel its deletion, or enable it.',
  KeyUnavailableException: 'the key is not available now. Try again.',
  InvalidKeyUsageException: 'the key does not encrypt. Name a symmetric key.',
};

function errorOf(error: unknown, keyName: string): KmsError {
  const { name, code, message } = (error ?? {}) as { name?: unknown; code?: unknown; message?: unknown };
  if (name === 'InvalidCiphertextException' || name === 'IncorrectKeyException') return otherKey(keyName);
  const advice = typeof name === 'string' && Object.hasOwn(ADVICE, name) ? ADVICE[name] : undefined;
  if (advice !== undefined) return new KmsError('failed', `${keyName}: ${advice}`);
  if (message === 'Region is missing')
    return new KmsError(
      'failed',
      `${keyName}: no region is set. Set AWS_REGION, or name the key by its ARN.`,
    );
  const what =
    [code, name].find((word) => typeof word === 'string' && /^\w{1,64}$/.test(word)) ?? 'no connection';
  return new KmsError(
    'failed',
    `${keyName}: AWS KMS does not answer (${what}). Look at the network, at AWS_REGION and at the endpoint of the SDK.`,
  );
}
