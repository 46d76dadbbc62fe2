/**
 * Guarantees a real OpenBao on 127.0.0.1, built with Go from the modules that `openbao/go.sum` has the hashes of. Each is
 * initialised, unsealed, and given a transit engine and a token that may wrap and unwrap.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';
import type { TransitServer } from './transit-server.ts';

const run = promisify(execFile);
/** Tests are compiled elsewhere; they run where the sources are. */
const SOURCE = resolve('test/support/openbao');

/** Of every key: the tests name several. */
const POLICY =
  'path "transit/encrypt/+" { capabilities = ["update"] }\npath "transit/decrypt/+" { capabilities = ["update"] }';

type Ending = { after(work: () => Promise<void>): void };

export interface OpenBao extends TransitServer {
  readonly rootToken: string;
  /** As the first administrator; the path follows `/v1/`. */
  call(method: string, path: string, body?: object): Promise<Readonly<Record<string, unknown>>>;
}

/** As the `skip` of a test: there is no Go, or it cannot build. `REQUIRE_OPENBAO=1` makes that an error. */
export async function buildOpenBao(t: Ending): Promise<{ skip: string | false; program: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-openbao-'));
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const program = join(folder, 'openbao');
  const why = await buildAt(program);
  if (why !== undefined && process.env['REQUIRE_OPENBAO'] === '1')
    throw new Error(`REQUIRE_OPENBAO=1, but ${why}`);
  return { skip: why ?? false, program };
}

/** Why not. */
async function buildAt(program: string): Promise<string | undefined> {
  if (spawnSync('go', ['version']).status !== 0) return 'there is no go';
  // It runs for seconds, and nobody debugs it: what it gains by optimising and by symbols is less than they cost.
  const flags = ['-mod=readonly', '-buildvcs=false', '-trimpath', '-gcflags=all=-N -l', '-ldflags=-s -w'];
  const env = { ...process.env, CGO_ENABLED: '0' };
  const failure = await run('nice', ['go', 'build', ...flags, '-o', program, '.'], {
    cwd: SOURCE,
    env,
    maxBuffer: 2 ** 26,
  }).then(
    () => undefined,
    (error: { stderr?: string }) => error.stderr || String(error),
  );
  return failure === undefined ? undefined : `go cannot build OpenBao: ${failure.slice(-500)}`;
}

/** With a transit engine and a policy; it ends with the test. */
export async function startOpenBao(t: Ending, program: string): Promise<OpenBao> {
  const server = await startEmptyOpenBao(t, program);
  const { call } = server;
  await call('POST', 'sys/mounts/transit', { type: 'transit' });
  await call('PUT', 'sys/policies/acl/writ', { policy: POLICY });
  const { auth } = await call('POST', 'auth/token/create', {
    policies: ['writ'],
    no_parent: true,
    ttl: '1h',
  });
  return { ...server, token: (auth as { client_token: string }).client_token };
}

/** As it is after it was unsealed for the first time; `token` is its administrator's. */
export async function startEmptyOpenBao(t: Ending, program: string): Promise<OpenBao> {
  const port = await freePort();
  const child = spawn(program, [`127.0.0.1:${port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  };
  t.after(stop);
  const url = `http://127.0.0.1:${port}`;
  const ask = async (token: string, method: string, path: string, body: object = {}) => {
    const headers = { 'content-type': 'application/json', 'x-vault-token': token };
    const answer = await fetch(`${url}/v1/${path}`, { method, headers, body: JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text} ${Buffer.concat(said)}`);
    return (text === '' ? {} : JSON.parse(text)) as Readonly<Record<string, unknown>>;
  };
  const keys = await initialise(
    () => ask('', 'PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 }),
    child,
  );
  await ask('', 'PUT', 'sys/unseal', { key: keys.unseal });
  const call = (method: string, path: string, body?: object) => ask(keys.root, method, path, body);
  // For a moment after it was unsealed it is a standby.
  while (!(await fetch(`${url}/v1/sys/health`)).ok) await pause(20);
  return {
    url,
    token: keys.root,
    rootToken: keys.root,
    call,
    addKey: async (name, { type = 'aes256-gcm96', derived = false } = {}) => {
      await call('POST', `transit/keys/${name}`, { type, derived });
    },
    encrypt: async (name, plaintext, associatedData) => {
      const sent = {
        plaintext: Buffer.from(plaintext).toString('base64'),
        ...(associatedData === undefined
          ? {}
          : { associated_data: Buffer.from(associatedData).toString('base64') }),
      };
      const { data } = await call('POST', `transit/encrypt/${name}`, sent);
      return (data as { ciphertext: string }).ciphertext;
    },
    seal: async () => {
      await call('PUT', 'sys/seal');
    },
    stop,
  };
}

/** Once it listens. */
async function initialise(
  ask: () => Promise<Readonly<Record<string, unknown>>>,
  child: { readonly exitCode: number | null },
): Promise<{ root: string; unseal: string }> {
  for (;;) {
    try {
      const { keys, root_token: root } = (await ask()) as { keys: readonly string[]; root_token: string };
      return { root, unseal: keys[0] ?? '' };
    } catch (error) {
      if (child.exitCode !== null || !(error instanceof TypeError)) throw error;
      await pause(20);
    }
  }
}
