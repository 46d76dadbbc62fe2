/** Sends one notice to the webhook, signed as Standard Webhooks 1.0 has it. Redirects are not followed. */

import { Webhook } from 'standardwebhooks';
import type { SendWebhook } from '../use-cases/notices/ports.ts';

const TIMEOUT_MS = 5000;

export function createWebhook(
  { url, secret }: { readonly url: string; readonly secret: Uint8Array },
  now: () => Date,
): SendWebhook {
  const signer = new Webhook(secret, { format: 'raw' });
  return async ({ id, payload }) => {
    const at = now();
    try {
      const response = await fetch(url, {
        method: 'POST',
        body: payload,
        // Whoever redirects would choose where the notice goes.
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
          'webhook-signature': signer.sign(id, at, payload),
        },
      });
      await response.body?.cancel();
      return response.ok ? undefined : `status ${response.status}`;
    } catch (error) {
      return failureOf(error);
    }
  };
}

/** The kind of failure only: what a peer or a resolver says is not ours to repeat. */
function failureOf(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `no answer in ${TIMEOUT_MS} ms`;
  const { code } = ((error as Error | undefined)?.cause ?? {}) as { code?: unknown };
  return typeof code === 'string' ? `no connection (${code})` : 'no connection';
}
