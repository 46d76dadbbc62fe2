/** The built Writ server, as it is run, with what the measured paths need made through its own interface. */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateApiKey } from '../src/keys/credentials/api-key-hash.ts';
import { atLeastOne, type Bench, type Contestant } from './contestants.ts';
import type { Ask, Target } from './load.ts';
import {
  askAboutStep,
  askForIntentToken,
  askForScopedToken,
  askForSecret,
  IN_TURN,
  type IssuedPlan,
  MAX_USES,
  type PathName,
  planOf,
  SCOPE,
  SECRET_VALUE,
} from './paths.ts';
import { startServer } from './server-process.ts';

export interface Writ extends Contestant {
  readonly databaseUrl: string;
  readonly masterKey: Uint8Array;
  readonly adminKey: string;
  /** An agent that the paths are asked with. */
  readonly agent: Agent;
  /** A new principal with a key that the server has not seen. */
  createKey(name: string): Promise<string>;
  targetOf(path: PathName): Promise<Target>;
}

export interface Agent {
  readonly id: string;
  readonly keyId: string;
  readonly apiKey: string;
}

/** `script` is another built `server.js`. */
export async function startWrit(
  bench: Bench,
  { name = 'writ', script }: { name?: string; script?: string } = {},
): Promise<Writ> {
  const built =
    script === undefined ? fileURLToPath(new URL('../dist/server.js', import.meta.url)) : resolve(script);
  if (!existsSync(built)) throw new Error(`${built} is missing: npm run build`);
  const adminKey = generateApiKey('test').text;
  const masterKey = randomBytes(32);
  const databaseUrl = await bench.postgres.createDatabase(name);
  const server = await startServer(
    {
      name,
      script: built,
      folder: bench.folder,
      env: () => ({
        DATABASE_URL: databaseUrl,
        MASTER_KEY: masterKey.toString('hex'),
        BOOTSTRAP_ADMIN_KEY: adminKey,
        RATE_LIMIT_MAX: '0',
        AUTH_FAILURE_MAX: '0',
      }),
    },
    bench.cleanup,
  );
  const { origin } = server;
  const agent = await createAgent(origin, adminKey, 'bench');
  const setUp: SetUp = { origin, adminKey, apiKey: agent.apiKey };
  let stored: Promise<void> | undefined;
  const targetOf = async (path: PathName): Promise<Target> => {
    if (path === 'read' || path === 'limited') {
      stored ??= storeSecrets(setUp);
      await stored;
    }
    return { origin, asks: await asksOf(path, setUp) };
  };
  return {
    name,
    server,
    databaseUrl,
    masterKey,
    adminKey,
    agent,
    createKey: async (agentName) => (await createAgent(origin, adminKey, agentName)).apiKey,
    targetOf,
  };
}

interface SetUp {
  readonly origin: string;
  readonly adminKey: string;
  readonly apiKey: string;
}

async function asksOf(path: PathName, { origin, apiKey }: SetUp): Promise<Target['asks']> {
  const each = Array.from({ length: IN_TURN }, (_, index) => index);
  const issue = async (limits?: { max_uses: number }): Promise<string> =>
    (await answerOf<{ token: string }>(origin, askForScopedToken(apiKey, limits), 201)).token;
  switch (path) {
    case 'intent':
      return [askForIntentToken(apiKey, planOf(3))];
    case 'verify': {
      const day = { expires_in: 86_400 };
      const issued = await Promise.all(
        each.map(() => answerOf<IssuedPlan>(origin, askForIntentToken(apiKey, planOf(3), day), 200)),
      );
      return atLeastOne(issued.map((one) => askAboutStep('/token/verify', one)));
    }
    case 'scoped':
      return [askForScopedToken(apiKey)];
    case 'read': {
      const token = await issue();
      return atLeastOne(each.map((index) => askForSecret(token, index)));
    }
    case 'limited': {
      const tokens = await Promise.all(each.map(() => issue({ max_uses: MAX_USES })));
      return atLeastOne(tokens.map((token, index) => askForSecret(token, index)));
    }
  }
}

async function createAgent(origin: string, adminKey: string, name: string): Promise<Agent> {
  const made = await answerOf<{ id: string; key_id: string; api_key: string }>(
    origin,
    withKey(adminKey, 'POST', '/v1/agents', { name, allowed_scopes: [SCOPE] }),
    201,
  );
  return { id: made.id, keyId: made.key_id, apiKey: made.api_key };
}

async function storeSecrets({ origin, adminKey }: SetUp): Promise<void> {
  for (let index = 0; index < IN_TURN; index += 1) {
    const put = withKey(adminKey, 'PUT', `/v1/secrets/prod/k${index}`, { value: SECRET_VALUE });
    await answerOf(origin, put, 201);
  }
}

type Request = Omit<Ask, 'method'> & { readonly method: string };

/** A request with an API key, and with a body where there is one. */
export function withKey(apiKey: string, method: string, path: string, body?: object): Request {
  const headers = { 'x-api-key': apiKey };
  if (body === undefined) return { method, path, headers };
  const asJson = { ...headers, 'content-type': 'application/json' };
  return { method, path, headers: asJson, body: JSON.stringify(body) };
}

/** Throws at another status. */
export async function answerOf<Answer>(
  origin: string,
  { path, ...request }: Request,
  status: number,
): Promise<Answer> {
  const response = await fetch(`${origin}${path}`, request);
  const text = await response.text();
  if (response.status !== status) throw new Error(`${request.method} ${path}: ${response.status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as Answer;
}
