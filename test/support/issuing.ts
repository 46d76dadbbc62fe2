/**
 * Guarantees a client that issues intent tokens over kept-alive connections and reports every outcome as a value:
 * an answer, or a connection that broke before one.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export const A_PLAN = {
  goal: 'look',
  steps: [{ action: 'get_weather', mcp: 'weather-mcp', params: { n: 1 } }],
};

export interface Client {
  /** Undefined when the connection broke before the answer was whole. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer | undefined>;
  issue(body?: object): Promise<Answer | undefined>;
  close(): void;
}

export function createClient(url: string, apiKey: string | undefined): Client {
  const agent = new Agent({ keepAlive: true });
  const send: Client['send'] = (method, path, body, headers = {}) =>
    new Promise((resolve) => {
      const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
      const asked = request(`${url}${path}`, {
        method,
        agent,
        headers: {
          ...(apiKey === undefined ? {} : { 'x-api-key': apiKey }),
          ...(text === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      });
      asked.on('error', () => resolve(undefined));
      asked.on('response', (response) => {
        let received = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          received += chunk;
        });
        response.on('error', () => resolve(undefined));
        response.on('close', () => {
          const { statusCode = 0, headers: answered, complete } = response;
          resolve(complete ? { status: statusCode, headers: answered, text: received } : undefined);
        });
      });
      asked.end(text);
    });
  return {
    send,
    issue: (body = { plan: A_PLAN }) => send('POST', '/token/issue', body),
    close: () => agent.destroy(),
  };
}

/** What an answer of `/token/issue` names. */
export function tokenIdOf(answer: Answer): string {
  return (JSON.parse(answer.text) as { token_id: string }).token_id;
}

export function errorCodeOf(answer: Answer): string {
  if (answer.text === '') return '';
  const { error_code: outside, error } = JSON.parse(answer.text) as {
    error_code?: string;
    error?: { code?: string };
  };
  return outside ?? error?.code ?? '';
}

/** The key that a first start prints; throws if there is not exactly one. */
export function printedKey(stdout: string): string {
  const keys = new Set(stdout.match(/\bak_live_[0-9a-f]{64}\b/g));
  const [key, ...others] = keys;
  if (key === undefined || others.length > 0) throw new Error(`${keys.size} keys were printed`);
  return key;
}

/**
 * Asks again until it holds; throws with `what`, and with what `seen` says of the last try, after the deadline, which
 * is for what never comes.
 */
export async function until(
  what: string,
  holds: () => unknown,
  timeoutMs = 120_000,
  seen?: () => string,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) {
      const last = seen === undefined ? '' : `; the last answer: ${seen()}`;
      throw new Error(`not within ${timeoutMs} ms: ${what}${last}`);
    }
    await delay(20);
  }
}

/** As `until`, of what holds only while `works` are under way: one of them that is over was not held up. */
export async function untilHeldUp(
  what: string,
  works: readonly Promise<unknown>[],
  holds: () => unknown,
): Promise<void> {
  const over: string[] = [];
  const tell = (outcome: unknown) => void over.push(inspect(outcome));
  for (const work of works) work.then(tell, tell);
  await until(what, () => {
    assert.deepEqual(over, [], `nothing held it up: ${what}`);
    return holds();
  });
}

/**
 * `BUSY` and `UNAVAILABLE` say that nothing was done and that the client may ask again: on a busy machine a lock, a
 * connection or a statement takes longer than Writ waits.
 */
export function mayAskAgain({ status, code }: { readonly status: number; readonly code: string }): boolean {
  return status === 503 && (code === 'BUSY' || code === 'UNAVAILABLE');
}

/** Asks until the answer is one that need not be asked again. A connection that breaks fails the test. */
export async function insist(ask: () => Promise<Answer | undefined>): Promise<Answer> {
  let answer: Answer | undefined;
  const last = () => (answer === undefined ? 'the connection broke' : `${answer.status} ${answer.text}`);
  const isFinal = async () => {
    answer = await ask();
    if (answer === undefined) throw new Error('the connection broke before the answer was whole');
    return !mayAskAgain({ status: answer.status, code: errorCodeOf(answer) });
  };
  await until('an answer other than "come back later"', isFinal, undefined, last);
  if (answer === undefined) throw new Error(last());
  return answer;
}

export interface Load {
  readonly acknowledged: Set<string>;
  readonly refused: Answer[];
  broken(): number;
  started(): number;
  inFlight(): number;
  /** Lets every worker finish what it has under way. */
  stop(): Promise<void>;
}

/** `workers` clients, each issuing one token after the other until told to stop. */
export function startLoad(url: string, apiKey: string, workers: number): Load {
  const client = createClient(url, apiKey);
  const acknowledged = new Set<string>();
  const refused: Answer[] = [];
  let broken = 0;
  let started = 0;
  let inFlight = 0;
  let stopping = false;
  const work = async (): Promise<void> => {
    while (!stopping) {
      started += 1;
      inFlight += 1;
      const answer = await client.issue();
      inFlight -= 1;
      if (answer === undefined) {
        broken += 1;
        await delay(10); // A refused connection fails in no time.
      } else if (answer.status === 200) acknowledged.add(tokenIdOf(answer));
      else {
        refused.push(answer);
        await delay(20); // As fast as they can, refused clients take the processor from who is to come back.
      }
    }
  };
  const all = Array.from({ length: workers }, work);
  return {
    acknowledged,
    refused,
    broken: () => broken,
    started: () => started,
    inFlight: () => inFlight,
    stop: async () => {
      stopping = true;
      await Promise.all(all);
      client.close();
    },
  };
}
