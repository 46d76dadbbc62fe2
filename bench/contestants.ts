/** What is compared: the built Writ server, the floor and the peer, each ready to be asked for a token. */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateApiKey } from '../src/keys/api-key-hash.ts';
import type { Cleanup } from './cleanup.ts';
import type { BenchPostgres } from './database.ts';
import type { Target } from './load.ts';
import { type ServerProcess, startServer } from './server-process.ts';

export const NAMES = ['writ', 'floor', 'oidc-provider'] as const;
export type Name = (typeof NAMES)[number] | 'other';

export interface Contestant {
  readonly name: Name;
  readonly server: ServerProcess;
  readonly target: Target;
}

export interface Bench {
  readonly postgres: BenchPostgres;
  readonly cleanup: Cleanup;
  /** For outputs and request bodies; removed at the end. */
  readonly folder: string;
}

export interface Writ extends Contestant {
  /** A new principal with a key that the server has not seen. */
  createKey(name: string): Promise<string>;
  targetFor(plan: object): Promise<Target>;
}

/** A plan with `steps` steps of ordinary size. */
export function planOf(steps: number): object {
  return {
    goal: 'Tell the team what the weather does to the launch',
    steps: Array.from({ length: steps }, (_, index) => ({
      action: index % 2 === 0 ? 'get_forecast' : 'send_message',
      mcp: index % 2 === 0 ? 'weather-mcp' : 'mail-mcp',
      description: `step ${index + 1}`,
      params: { place: 'Tromsø', days: 3, units: 'metric' },
    })),
  };
}

/** `script` is a built `server.js`. */
export async function startWrit(bench: Bench, script?: string): Promise<Writ> {
  const name = script === undefined ? 'writ' : 'other';
  const built = script === undefined ? fromHere('../dist/server.js') : resolve(script);
  if (!existsSync(built)) throw new Error(`${built} is missing: npm run build`);
  const adminKey = generateApiKey('test').text;
  const databaseUrl = await bench.postgres.createDatabase(name);
  const server = await startServer(
    {
      name,
      script: built,
      folder: bench.folder,
      env: () => ({
        DATABASE_URL: databaseUrl,
        MASTER_KEY: randomBytes(32).toString('hex'),
        BOOTSTRAP_ADMIN_KEY: adminKey,
        RATE_LIMIT_MAX: '0',
        AUTH_FAILURE_MAX: '0',
      }),
    },
    bench.cleanup,
  );
  const createKey = (agentName: string): Promise<string> => createAgent(server.origin, adminKey, agentName);
  const key = await createKey('bench');
  const targetFor = async (plan: object): Promise<Target> => ({
    url: `${server.origin}/token/issue`,
    headers: { 'content-type': 'application/json', 'x-api-key': key },
    bodyPath: await bodyFile(bench, name, JSON.stringify({ plan })),
  });
  return { name, server, target: await targetFor(planOf(3)), createKey, targetFor };
}

async function createAgent(origin: string, adminKey: string, name: string): Promise<string> {
  const response = await fetch(`${origin}/v1/agents`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': adminKey },
    body: JSON.stringify({ name }),
  });
  if (response.status !== 201)
    throw new Error(`POST /v1/agents: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { api_key: string }).api_key;
}

export async function startFloor(bench: Bench): Promise<Contestant> {
  const databaseUrl = await bench.postgres.createDatabase('floor');
  const server = await startServer(
    {
      name: 'floor',
      script: fromHere('./floor.mjs'),
      folder: bench.folder,
      env: () => ({ DATABASE_URL: databaseUrl }),
    },
    bench.cleanup,
  );
  const target = {
    url: `${server.origin}/token/issue`,
    headers: { 'content-type': 'application/json' },
    bodyPath: await bodyFile(bench, 'floor', JSON.stringify({ plan: planOf(3) })),
  };
  return { name: 'floor', server, target };
}

export async function startPeer(bench: Bench): Promise<Contestant> {
  const client = { id: 'bench', secret: randomBytes(24).toString('hex'), resource: 'urn:bench:tools' };
  const server = await startServer(
    {
      name: 'oidc-provider',
      script: fromHere('./peer.mjs'),
      folder: bench.folder,
      env: () => ({ CLIENT_ID: client.id, CLIENT_SECRET: client.secret }),
    },
    bench.cleanup,
  );
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: client.id,
    client_secret: client.secret,
    resource: client.resource,
    scope: 'tool:use',
  });
  const target = {
    url: `${server.origin}/token`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    bodyPath: await bodyFile(bench, 'oidc-provider', body.toString()),
  };
  return { name: 'oidc-provider', server, target };
}

let bodies = 0;
async function bodyFile(bench: Bench, name: string, text: string): Promise<string> {
  bodies += 1;
  const path = join(bench.folder, `${name}-${bodies}.body`);
  await writeFile(path, text);
  return path;
}

const fromHere = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
