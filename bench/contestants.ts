/** What is compared: the built Writ server, the floor and the peer, each ready to be asked on its paths. */

import { randomBytes } from 'node:crypto';
import { copyFile, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Cleanup } from './cleanup.ts';
import type { BenchPostgres } from './database.ts';
import type { Ask, Target } from './load.ts';
import { askAboutStep, IN_TURN, type IssuedPlan, type PathName, planOf, SCOPE } from './paths.ts';
import { type ServerProcess, startServer } from './server-process.ts';

export const SERVERS = ['writ', 'floor', 'oidc-provider'] as const;
export type ServerName = (typeof SERVERS)[number];

export interface Contestant {
  /** As it is printed; the name of its database as well. */
  readonly name: string;
  readonly server: ServerProcess;
  /** Makes what the path needs when it is first asked for; undefined where the server has no such path. */
  targetOf(path: PathName): Promise<Target | undefined>;
}

export interface Bench {
  readonly postgres: BenchPostgres;
  readonly cleanup: Cleanup;
  /** For outputs of servers; removed at the end. */
  readonly folder: string;
}

/** `script` is another floor program with the same routes; it is given our packages. */
export async function startFloor(bench: Bench, script?: string): Promise<Contestant> {
  const name = script === undefined ? 'floor' : 'other-floor';
  const databaseUrl = await bench.postgres.createDatabase(name);
  const server = await startServer(
    {
      name,
      script:
        script === undefined ? fromHere('./floor.mjs') : await besideOurPackages(bench, resolve(script)),
      folder: bench.folder,
      env: () => ({ DATABASE_URL: databaseUrl, PGURL: databaseUrl }),
    },
    bench.cleanup,
  );
  let seeded: Promise<string[]> | undefined;
  const tokens = (): Promise<string[]> => {
    seeded ??= fetch(`${server.origin}/seed?n=${IN_TURN}`).then(
      (response) => response.json() as Promise<string[]>,
    );
    return seeded;
  };
  const targetOf = async (path: PathName): Promise<Target> => {
    const needsTokens = path === 'read' || path === 'limited';
    if (path === 'verify') return { origin: server.origin, asks: await asksAboutSteps(server.origin) };
    return { origin: server.origin, asks: asksOfFloor(path, needsTokens ? await tokens() : []) };
  };
  return { name, server, targetOf };
}

async function asksAboutSteps(origin: string): Promise<Target['asks']> {
  const asks: Ask[] = [];
  for (let index = 0; index < IN_TURN; index += 1) {
    const response = await fetch(`${origin}/issue`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ plan: planOf(3) }),
    });
    asks.push(askAboutStep('/verify', (await response.json()) as IssuedPlan));
  }
  return atLeastOne(asks);
}

function asksOfFloor(path: Exclude<PathName, 'verify'>, tokens: readonly string[]): Target['asks'] {
  const post = (to: string, body: object): Ask => ({
    method: 'POST',
    path: to,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const get = (to: string, token: string | undefined): Ask => ({
    method: 'GET',
    path: to,
    headers: { authorization: `Bearer ${token}` },
  });
  switch (path) {
    case 'intent':
      return [post('/issue', { plan: planOf(3) })];
    case 'scoped':
      return [post('/tokens', { scopes: [SCOPE] })];
    case 'read':
      return atLeastOne(tokens.map((_, index) => get(`/secret/${index}`, tokens[0])));
    case 'limited':
      return atLeastOne(tokens.map((token, index) => get(`/limited/${index}`, token)));
  }
}

export function atLeastOne([first, ...rest]: readonly Ask[]): Target['asks'] {
  if (first === undefined) throw new Error('there is nothing to ask for');
  return [first, ...rest];
}

/** Modules look for packages from where they are. */
async function besideOurPackages({ folder }: Bench, script: string): Promise<string> {
  const copy = join(folder, 'other-floor.mjs');
  await copyFile(script, copy);
  await symlink(fromHere('../node_modules'), join(folder, 'node_modules'));
  return copy;
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
  }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const target: Target = { origin: server.origin, asks: [{ method: 'POST', path: '/token', headers, body }] };
  return {
    name: 'oidc-provider',
    server,
    targetOf: async (path) => (path === 'intent' ? target : undefined),
  };
}

const fromHere = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
