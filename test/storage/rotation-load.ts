/** Guarantees a load of every kind on two servers, in which nothing may fail and everything stays readable. */
import assert from 'node:assert/strict';
import { A_PLAN, type Answer, createClient } from '../support/issuing.ts';

export interface RotationLoad {
  /** How many requests were answered as they should be. */
  answered(): number;
  /** What was not. */
  readonly failed: readonly string[];
  /** Ends it, and asks once more for everything that was given out. */
  finish(): Promise<void>;
  close(): void;
}

const WORKERS = 6;

/** `mayFail`: of an answer that is no success, or a connection that broke: it is asked again. */
export async function startRotationLoad(
  urls: readonly string[],
  adminKey: string,
  mayFail: (answer: Answer | undefined) => boolean = () => false,
): Promise<RotationLoad> {
  const clients = new Map<string, ReturnType<typeof createClient>>();
  let turn = 0;
  let answered = 0;
  let isOver = false;
  const failed: string[] = [];
  const ask = async (as: string, method: string, path: string, json?: unknown): Promise<Answer> => {
    for (;;) {
      turn += 1;
      const url = urls[turn % urls.length] ?? assert.fail();
      const isToken = as.startsWith('ast_tok_');
      const client = clients.get(url + as) ?? createClient(url, isToken ? undefined : as);
      clients.set(url + as, client);
      const answer = await client.send(method, path, json, isToken ? { authorization: `Bearer ${as}` } : {});
      if (answer !== undefined && answer.status < 300) {
        answered += 1;
        return answer;
      }
      if (!mayFail(answer)) {
        failed.push(`${method} ${path}: ${answer?.status} ${answer?.text}`);
        throw new Error('a request failed');
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const bodyOf = async (...asked: Parameters<typeof ask>): Promise<Record<string, string>> =>
    JSON.parse((await ask(...asked)).text) as Record<string, string>;
  const agentOf = (name: string, more: object) =>
    bodyOf(adminKey, 'POST', '/v1/agents', { name, ...more }).then(({ api_key: key = '' }) => key);

  await ask(adminKey, 'POST', '/v1/secrets', { path: 'shared/K', value: 'shared' });
  await ask(adminKey, 'POST', '/v1/secrets', {
    path: 'guarded/K',
    value: 'guarded',
    access_tier: 'sensitive',
  });
  const approver = await agentOf('approver', { role: 'approver' });
  const tokens: string[] = [];
  const intents: string[] = [];
  const values = new Map<string, string>();

  const verify = async (token: string): Promise<void> => {
    const { code } = await bodyOf(adminKey, 'POST', '/token/verify', { token });
    if (code !== 'VALID') failed.push(`an intent token is ${code}`);
  };
  const readShared = async (token: string): Promise<void> => {
    const { value } = await bodyOf(token, 'GET', '/v1/secrets/shared/K');
    if (value !== 'shared') failed.push(`the shared secret is ${value}`);
  };
  const readOwn = async (path: string): Promise<void> => {
    const { value } = await bodyOf(adminKey, 'GET', `/v1/secrets/${path}`);
    if (value !== values.get(path)) failed.push(`${path} is ${value}, not ${values.get(path)}`);
  };

  const work = async (worker: number): Promise<void> => {
    const key = await agentOf(`agent-${worker}`, { allowed_scopes: ['secrets:*:*'] });
    const issue = async (more: object = {}) => {
      const { token = '' } = await bodyOf(key, 'POST', '/v1/tokens', {
        scopes: ['secrets:read:shared/*'],
        ...more,
      });
      return token;
    };
    const long = await issue();
    const counted = await issue({ max_uses: 100_000 });
    tokens.push(long, counted);
    const own = `own-${worker}/K`;
    for (let round = 0; !isOver; round += 1) {
      await readShared(long);
      await readShared(counted);
      const fresh = await issue({ max_uses: 3 });
      await readShared(fresh);
      tokens.push(fresh);
      const value = `${worker} ${round}`;
      values.set(own, value);
      await ask(key, 'PUT', `/v1/secrets/${own}`, { value });
      await readOwn(own);
      const { token: intent = '' } = await bodyOf(key, 'POST', '/token/issue', { plan: A_PLAN });
      await verify(intent);
      intents.push(intent);
      await verify(intents[Math.floor(Math.random() * intents.length)] ?? intent);
      if (round % 5 === worker % 5) {
        const asked = { scopes: ['secrets:read:guarded/K'] };
        const { approval_id: id } = await bodyOf(key, 'POST', '/v1/tokens', asked);
        await ask(approver, 'POST', `/v1/approvals/${id}/approve`, {});
        const { token = '' } = await bodyOf(key, 'GET', `/v1/approvals/agent/${id}`);
        const { value: guarded } = await bodyOf(token, 'GET', '/v1/secrets/guarded/K');
        if (guarded !== 'guarded') failed.push(`the guarded secret is ${guarded}`);
      }
    }
  };
  const works = Array.from({ length: WORKERS }, (_, worker) => work(worker));
  const all = Promise.all(works);
  all.catch(() => {
    isOver = true;
  });
  return {
    answered: () => answered,
    failed,
    finish: async () => {
      isOver = true;
      await all.catch(() => undefined);
      assert.deepEqual(failed, []);
      for (const token of tokens.slice(-200)) await readShared(token);
      for (const intent of intents.slice(0, 50)) await verify(intent);
      for (const path of values.keys()) await readOwn(path);
      assert.deepEqual(failed, []);
    },
    close: () => {
      for (const client of clients.values()) client.close();
    },
  };
}
