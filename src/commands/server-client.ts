/** Asks a running server over HTTP, for the commands that need no database. The key goes to that server only. */

import { WritError } from '../errors.ts';
import { UsageError } from './command.ts';
import { sanitizeLine } from './terminal-text.ts';

const TIMEOUT_MS = 10_000;

export interface ServerAddress {
  /** Without a slash at the end. */
  readonly url: string;
  readonly key: string;
}

export const URL_FLAG = ['--url <url>', 'the server; default: WRIT_URL, else http://127.0.0.1:3000'] as const;

/**
 * The key comes from `WRIT_KEY` only: an option would be seen in the list of processes. `whose` says in the message who
 * may use the command.
 */
export function readServerAddress(
  env: NodeJS.ProcessEnv,
  url: string | undefined,
  whose = 'an approver or an administrator',
): ServerAddress {
  const key = env['WRIT_KEY'];
  if (!key) throw new UsageError(`WRIT_KEY must be the API key of ${whose}`);
  if (!/^[!-~]+$/.test(key)) throw new UsageError('WRIT_KEY holds a character that no API key has');
  const base = url ?? (env['WRIT_URL'] || 'http://127.0.0.1:3000');
  const parsed = URL.canParse(base) ? new URL(base) : undefined;
  // A URL with credentials would be shown where the server is named.
  if (!/^https?:$/.test(parsed?.protocol ?? '') || parsed?.username || parsed?.password) {
    throw new UsageError('--url, or WRIT_URL, must be an http:// or https:// URL without credentials');
  }
  return { url: base.replace(/\/+$/, ''), key };
}

/** The body of a successful answer. Rejects with `WritError`, whose message holds the server's own sentence. */
export async function requestJson<Body>(
  server: ServerAddress,
  request: { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: object },
): Promise<Body> {
  const { method, path, body } = request;
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${server.key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch(() => {
    throw new WritError('UNAVAILABLE', `${server.url} does not answer.`);
  });
  const answer = (await response.json().catch(() => undefined)) as
    | { detail?: unknown; message?: unknown }
    | undefined;
  if (response.ok && answer !== undefined) return answer as Body;
  // Inside `/v1` and outside it a refusal has different envelopes.
  const said = answer?.detail ?? answer?.message;
  const why = typeof said === 'string' ? sanitizeLine(said) : 'the answer is not Writ’s';
  throw new WritError('UNAVAILABLE', `${server.url} refuses (${response.status}): ${why}`);
}
