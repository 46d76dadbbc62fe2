/**
 * Guarantees a server of 127.0.0.1 that speaks the wire form of AWS KMS: JSON 1.1, requests signed as Signature Version 4
 * has it (that there is a signature of this service, not whether it fits), `Encrypt` and `Decrypt`, and errors by name.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface AwsKmsStandIn {
  /** For `AWS_ENDPOINT_URL_KMS`, region and credentials included. */
  readonly env: Readonly<Record<string, string>>;
  readonly asked: { readonly operation: string; readonly body: Body; readonly region: string }[];
  /** By key id, ARN or alias. */
  addKey(...names: readonly string[]): void;
  /** Under the key, with another context than Writ's, or none. */
  encrypt(name: string, plaintext: Uint8Array, context?: Context): Uint8Array;
  /** The next answers are this error. */
  fault: { readonly status: number; readonly name: string } | undefined;
  answer: ((response: ServerResponse) => void) | undefined;
  stop(): Promise<void>;
}

type Context = Readonly<Record<string, string>>;

interface Body {
  readonly KeyId?: string;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Context;
}

interface Key {
  readonly id: string;
  readonly bytes: Uint8Array;
}

const SIGNED =
  /^AWS4-HMAC-SHA256 Credential=AKIDTEST\/\d{8}\/([a-z0-9-]+)\/kms\/aws4_request, SignedHeaders=[\w;-]+, Signature=[0-9a-f]{64}$/;

class Fault extends Error {
  override readonly name: string;
  constructor(name: string) {
    super('what the service says is not repeated');
    this.name = name;
  }
}

/** It ends with the test. */
export async function startAwsKmsStandIn(t: Pick<TestContext, 'after'>): Promise<AwsKmsStandIn> {
  const keys = new Map<string, Key>();
  const byName = (name: string | undefined): Key => {
    const key = keys.get(name ?? '');
    if (key === undefined) throw new Fault('NotFoundException');
    return key;
  };
  const answerTo = (operation: string, body: Body): object => {
    const key = byName(body.KeyId);
    const context = body.EncryptionContext ?? {};
    if (operation === 'Encrypt') {
      const blob = encrypt(key, Buffer.from(body.Plaintext ?? '', 'base64'), context);
      return {
        CiphertextBlob: blob.toString('base64'),
        KeyId: key.id,
        EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
      };
    }
    const plaintext = decrypt(keys, key, Buffer.from(body.CiphertextBlob ?? '', 'base64'), context);
    return {
      Plaintext: plaintext.toString('base64'),
      KeyId: key.id,
      EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
    };
  };

  const standIn: AwsKmsStandIn = {
    env: {},
    asked: [],
    addKey: (...names) => {
      const key = { id: names[0] ?? '', bytes: randomBytes(32) };
      for (const name of names) keys.set(name, key);
    },
    encrypt: (name, plaintext, context = {}) => encrypt(byName(name), plaintext, context),
    fault: undefined,
    answer: undefined,
    stop: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (standIn.answer !== undefined) return standIn.answer(response);
    const {
      authorization = '',
      'x-amz-target': target,
      'x-amz-date': date,
      'content-type': type,
    } = request.headers;
    const [, operation = ''] = /^TrentService\.(Encrypt|Decrypt)$/.exec(String(target)) ?? [];
    const region = SIGNED.exec(authorization)?.[1];
    const say = (status: number, json: object) =>
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(json));
    if (region === undefined || !/^\d{8}T\d{6}Z$/.test(String(date))) {
      return say(400, { __type: 'MissingAuthenticationTokenException' });
    }
    if (operation === '' || type !== 'application/x-amz-json-1.1') {
      return say(400, { __type: 'UnknownOperationException' });
    }
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Body;
    standIn.asked.push({ operation, body, region });
    if (standIn.fault !== undefined) {
      return say(standIn.fault.status, { __type: standIn.fault.name, message: 'not to be repeated' });
    }
    try {
      return say(200, answerTo(operation, body));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return say(400, { __type: error.name, message: error.message });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => standIn.stop());
  const env = {
    AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'AKIDTEST',
    AWS_SECRET_ACCESS_KEY: 'a secret access key of the tests',
    AWS_EC2_METADATA_DISABLED: 'true',
    // What it says of Node.js 20 is not under test.
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    // No files of whoever runs the tests.
    AWS_CONFIG_FILE: '/nonexistent',
    AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
  };
  return Object.assign(standIn, { env });
}

/** A blob begins with the id of its key, as KMS's own do. */
function encrypt(key: Key, plaintext: Uint8Array, context: Context): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.bytes, nonce);
  cipher.setAAD(textOf(context));
  const id = Buffer.from(key.id);
  return Buffer.concat([
    Buffer.from([id.length]),
    id,
    nonce,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

function decrypt(keys: ReadonlyMap<string, Key>, named: Key, blob: Buffer, context: Context): Buffer {
  const end = 1 + (blob[0] ?? 0);
  const key = keys.get(blob.subarray(1, end).toString());
  const sealed = blob.subarray(end);
  if (key === undefined || sealed.length < 28) throw new Fault('InvalidCiphertextException');
  if (key !== named) throw new Fault('IncorrectKeyException');
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, sealed.subarray(0, 12));
  decipher.setAAD(textOf(context));
  decipher.setAuthTag(sealed.subarray(-16));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new Fault('InvalidCiphertextException');
  }
}

const textOf = (context: Context): Buffer =>
  Buffer.from(JSON.stringify(Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1))));
