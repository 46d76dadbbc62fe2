/** Guarantees a receiver of notices on this machine, which answers as the test says and keeps what it was sent. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';

export const SECRET_BYTES = Buffer.from('of the tests, of 32 bytes: 012345'.slice(0, 32));
export const SECRET = `whsec_${SECRET_BYTES.toString('base64')}`;

export interface Arrived {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface WebhookEvent {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Receiver {
  readonly url: string;
  readonly arrived: readonly Arrived[];
  /** From now on: a status, what to do with the response, or nothing at all. */
  answer: number | 'nothing' | ((response: ServerResponse) => void);
  close(): Promise<void>;
}

export async function startReceiver(
  t: Pick<TestContext, 'after'>,
  answer: Receiver['answer'] = 204,
): Promise<Receiver> {
  const arrived: Arrived[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    const how = receiver.answer;
    arrived.push({ method, path: url, headers, body: Buffer.concat(chunks).toString('utf8') });
    if (typeof how === 'number') response.writeHead(how).end('not to be repeated');
    else if (how !== 'nothing') how(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?of=writ`,
    arrived,
    answer,
    close: async () => {
      server.closeAllConnections();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
  t.after(() => receiver.close());
  return receiver;
}

/** Throws unless the signature fits by the published package and by hand. */
export function verified({ headers, body }: Arrived, secret = SECRET): WebhookEvent {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = headers;
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  if (signature !== `v1,${expected}`) throw new Error(`the signature is ${signature}`);
  return new Webhook(secret).verify(body, headers as Record<string, string>) as WebhookEvent;
}

/** A row of the outbox, as `OUTBOX` reads it. */
export interface Owed {
  readonly id: string;
  readonly approval_id: string;
  readonly type: string;
  readonly attempts: number;
  readonly delivered: boolean;
  readonly given_up: boolean;
  readonly last_failure: string | null;
}

export const OUTBOX = `
  select id, payload::json #>> '{data,id}' as approval_id, payload::json ->> 'type' as type, attempts, delivered_at is not null as delivered,
    given_up_at is not null as given_up, last_failure
  from webhook_outbox order by created_at, id`;
