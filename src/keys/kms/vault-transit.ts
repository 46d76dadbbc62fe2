/**
 * A root key wrapped by the transit engine of OpenBao or Vault, over its HTTP API (`POST /v1/MOUNT/encrypt/KEY` and
 * `decrypt`). A redirect is refused: whoever redirects would choose where token and root key go.
 */

import type { KmsKey } from '../../domain/crypto/kms-key.ts';
import { KmsError, otherKey, ROOT_KEY_CONTEXT, type RootKeyKms, requireRootKey } from './root-key-kms.ts';

const TIMEOUT_MS = 5000;
/** Of an answer; the ones that are looked for have a tenth of it. */
const MAX_ANSWER_CHARACTERS = 65_536;
/** What the engine makes. It goes back as it is, so it may hold nothing else. */
const CIPHERTEXT = /^vault:v\d{1,9}:[A-Za-z0-9+/]{16,1000}={0,2}$/;
const CANONICAL_BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

export interface VaultTransitOptions {
  readonly key: Extract<KmsKey, { service: 'vault' }>;
  /** Without a slash at the end. */
  readonly address: string;
  /** Asked anew for each call: an agent of the service may have put another into its file. */
  readonly readToken: () => Promise<string>;
}

export function createVaultTransit({ key, address, readToken }: VaultTransitOptions): RootKeyKms {
  const keyName = key.text;
  const associated_data = Buffer.from(JSON.stringify(ROOT_KEY_CONTEXT)).toString('base64');
  const fail = (what: string): KmsError => new KmsError('failed', `${keyName} at ${address}: ${what}`);

  const ask = async (operation: 'encrypt' | 'decrypt', body: object): Promise<Answer> => {
    const path = `${key.mount}/${operation}/${key.key}`;
    const answer = await post(`${address}/v1/${path}`, await readToken(), { ...body, associated_data }).catch(
      (error: unknown) => {
        throw fail(
          `the service does not answer (${failureOf(error)}). Start it, or set VAULT_ADDR to where it listens.`,
        );
      },
    );
    if (answer.status === 200) return answer;
    if (answer.status === 400 && operation === 'decrypt') throw otherKey(keyName);
    throw fail(adviceFor(answer.status, path));
  };

  return {
    keyName,
    wrap: async (root) => {
      const { data } = await ask('encrypt', { plaintext: Buffer.from(root).toString('base64') });
      const ciphertext = data?.['ciphertext'];
      if (typeof ciphertext === 'string' && CIPHERTEXT.test(ciphertext)) return Buffer.from(ciphertext);
      throw fail('the answer holds no ciphertext of a transit engine. Set VAULT_ADDR to OpenBao or Vault.');
    },
    unwrap: async (wrapped) => {
      const ciphertext = Buffer.from(wrapped).toString('latin1');
      if (!CIPHERTEXT.test(ciphertext)) throw otherKey(keyName);
      const { data } = await ask('decrypt', { ciphertext });
      return requireRootKey(bytesOf(data?.['plaintext']), keyName);
    },
  };
}

interface Answer {
  readonly status: number;
  readonly data: Readonly<Record<string, unknown>> | undefined;
}

async function post(url: string, token: string, body: object): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { 'content-type': 'application/json', 'x-vault-token': token, 'x-vault-request': 'true' },
    body: JSON.stringify(body),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    return { status: response.status, data: undefined };
  }
  return { status: 200, data: dataOf(await readText(response)) };
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_ANSWER_CHARACTERS) return '';
  }
  return text;
}

/** Undefined for what is not JSON: its message would quote the text, in which a root key may stand. */
function dataOf(text: string): Answer['data'] {
  try {
    const { data } = JSON.parse(text) as { data?: unknown };
    return typeof data === 'object' && data !== null ? (data as Answer['data']) : undefined;
  } catch {
    return undefined;
  }
}

function bytesOf(base64: unknown): Uint8Array | undefined {
  return typeof base64 === 'string' && CANONICAL_BASE64.test(base64)
    ? Buffer.from(base64, 'base64')
    : undefined;
}

function adviceFor(status: number, path: string): string {
  if (status === 403)
    return `the service refuses the token (403). Set VAULT_TOKEN or VAULT_TOKEN_FILE to a live token whose policy allows update on ${path}.`;
  if (status === 404)
    return 'the service has no transit engine there (404). Enable it, or name its mount in the setting.';
  if (status === 400)
    return 'the service refuses to wrap (400). The key must be there and of the type aes256-gcm96 or chacha20-poly1305, not derived.';
  if (status === 503) return 'the service is sealed (503). Unseal it.';
  if (status >= 300 && status < 400)
    return `the service redirects (${status}), which Writ does not follow. Set VAULT_ADDR to the address that answers itself.`;
  return `the service answers with status ${status}. Look into its log.`;
}

/** The kind of failure only: what a peer or a resolver says is not ours to repeat. */
function failureOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `nothing within ${TIMEOUT_MS} ms`;
  const { code } = ((error as Error | undefined)?.cause ?? {}) as { code?: unknown };
  return typeof code === 'string' && /^\w{1,64}$/.test(code) ? code : 'no connection';
}
