/**
 * Guarantees a server of 127.0.0.1 that answers as the transit engine of OpenBao 2.4 does, by what was recorded of it:
 * `test/keys/kms/openbao.test.ts` holds both to the same contract.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { TransitServer } from './transit-server.ts';

export interface TransitStandIn extends TransitServer {
  readonly asked: {
    readonly path: string;
    readonly headers: IncomingMessage['headers'];
    readonly body: string;
  }[];
  /** In place of an answer, from now on. */
  answer: ((response: ServerResponse) => void) | undefined;
  /** Taken from now on, in place of `token`. */
  allowToken(token: string): void;
}

interface Key {
  readonly type: string;
  readonly derived: boolean;
  readonly bytes: Uint8Array;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const NO_CONTEXT =
  "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key";

/** It ends with the test. `port`: default a free one. */
export async function startTransitStandIn(t: Pick<TestContext, 'after'>, port = 0): Promise<TransitStandIn> {
  const keys = new Map<string, Key>();
  const asked: TransitStandIn['asked'] = [];
  let allowed = `s.${randomBytes(12).toString('hex')}`;
  let isSealed = false;

  const answerTo = (path: string, token: unknown, body: string): object => {
    if (isSealed) throw new Refusal(503, 'Vault is sealed');
    if (token !== allowed) throw new Refusal(403, 'permission denied');
    const [, operation, name = ''] = /^\/v1\/transit\/(encrypt|decrypt)\/([\w-]+)$/.exec(path) ?? [];
    if (operation === undefined)
      throw new Refusal(404, `no handler for route "${path.slice(4)}". route entry not found.`);
    const key = keys.get(name);
    if (key === undefined) {
      throw operation === 'encrypt'
        ? new Refusal(403, 'permission denied')
        : new Refusal(400, 'encryption key not found');
    }
    if (key.derived) throw new Refusal(400, NO_CONTEXT);
    const given = JSON.parse(body) as Record<
      'plaintext' | 'ciphertext' | 'associated_data',
      string | undefined
    >;
    if (key.type !== 'aes256-gcm96') {
      throw new Refusal(400, `'[0].associated_data' provided for non-AEAD cipher suite ${key.type}`);
    }
    return operation === 'encrypt'
      ? { ciphertext: encrypt(key, given.plaintext ?? '', given.associated_data ?? ''), key_version: 1 }
      : { plaintext: decrypt(key, given.ciphertext ?? '', given.associated_data ?? '') };
  };

  const standIn: TransitStandIn = {
    url: '',
    token: allowed,
    asked,
    answer: undefined,
    allowToken: (token) => {
      allowed = token;
    },
    addKey: async (name, { type = 'aes256-gcm96', derived = false } = {}) => {
      keys.set(name, { type, derived, bytes: randomBytes(32) });
    },
    encrypt: async (name, plaintext, associatedData = '') => {
      const key = keys.get(name);
      if (key === undefined) throw new Error(`there is no key ${name}`);
      const data = Buffer.from(associatedData).toString('base64');
      return encrypt(key, Buffer.from(plaintext).toString('base64'), data);
    },
    seal: async () => {
      isSealed = true;
    },
    stop: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [path, body] = [request.url ?? '', Buffer.concat(chunks).toString()];
    asked.push({ path, headers: request.headers, body });
    if (standIn.answer !== undefined) return standIn.answer(response);
    const [status, json] = statusAndBody(() => ({
      data: answerTo(path, request.headers['x-vault-token'], body),
    }));
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => standIn.stop());
  return Object.assign(standIn, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function statusAndBody(work: () => object): [number, object] {
  try {
    return [200, work()];
  } catch (error) {
    if (error instanceof Refusal) return [error.status, { errors: [error.message] }];
    throw error;
  }
}

function encrypt(key: Key, plaintext: string, data: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key.bytes, nonce);
  cipher.setAAD(Buffer.from(data, 'base64'));
  const sealed = [
    nonce,
    cipher.update(Buffer.from(plaintext, 'base64')),
    cipher.final(),
    cipher.getAuthTag(),
  ];
  return `vault:v1:${Buffer.concat(sealed).toString('base64')}`;
}

function decrypt(key: Key, ciphertext: string, data: string): string {
  if (!ciphertext.startsWith('vault:v1:')) throw new Refusal(400, 'invalid ciphertext: version is too new');
  const bytes = Buffer.from(ciphertext.slice('vault:v1:'.length), 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, bytes.subarray(0, 12));
  decipher.setAAD(Buffer.from(data, 'base64'));
  decipher.setAuthTag(bytes.subarray(-16));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('base64');
  } catch {
    throw new Refusal(400, 'cipher: message authentication failed');
  }
}
