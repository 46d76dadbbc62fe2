/** Guarantees reverse proxies as people run them, before a server of this machine: Go's `ReverseProxy` and HAProxy. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../support/free-port.ts';

const run = promisify(execFile);

/** Debian keeps the programs of administrators where the path of others does not look. */
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` };
const missing = [
  ['go', 'version'],
  ['haproxy', '-v'],
].flatMap(([name = '', flag = '']) => (spawnSync(name, [flag], { env }).status === 0 ? [] : [name]));
if (missing.length > 0 && process.env['REQUIRE_PROXIES'] === '1') {
  throw new Error(`REQUIRE_PROXIES=1, but there is no ${missing.join(', and no ')}`);
}

/** As the `skip` of a test. */
export const proxiesSkip: string | false =
  missing.length > 0 ? `there is no ${missing.join(', and no ')}` : false;

export interface Proxy {
  readonly name: string;
  readonly port: number;
}

/** Both speak for their own peer in `X-Forwarded-For`, after every other line. They end with the test. */
export async function startProxies(t: TestContext, serverPort: number): Promise<readonly Proxy[]> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-proxies-'));
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return [await startGoProxy(t, folder, serverPort), await startHaproxy(t, folder, serverPort)];
}

const GO_PROXY = `package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	server, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], httputil.NewSingleHostReverseProxy(server)))
}
`;

async function startGoProxy(t: TestContext, folder: string, serverPort: number): Promise<Proxy> {
  const [source, program] = [join(folder, 'main.go'), join(folder, 'go-proxy')];
  await writeFile(source, GO_PROXY);
  await run('go', ['build', '-o', program, source], {
    cwd: folder,
    // The standard library alone: nothing is asked of anybody.
    env: {
      ...env,
      GOPROXY: 'off',
      GOTOOLCHAIN: 'local',
      GOFLAGS: '',
      CGO_ENABLED: '0',
      GOCACHE: join(folder, 'go-cache'),
    },
  });
  const port = await freePort();
  await start(t, program, [`127.0.0.1:${port}`, `http://127.0.0.1:${serverPort}`], port);
  return { name: "Go's ReverseProxy", port };
}

/** By default it takes 101 lines: with room for as many as a client may care to send, as some set it. */
async function startHaproxy(t: TestContext, folder: string, serverPort: number): Promise<Proxy> {
  const port = await freePort();
  const file = join(folder, 'haproxy.cfg');
  await writeFile(
    file,
    `global
  maxconn 100
  tune.bufsize 65536
  tune.http.maxhdr 4096
defaults
  mode http
  option forwardfor
  timeout connect 60s
  timeout client 60s
  timeout server 60s
listen writ
  bind 127.0.0.1:${port}
  server writ 127.0.0.1:${serverPort}
`,
  );
  await start(t, 'haproxy', ['-db', '-f', file], port);
  return { name: 'HAProxy', port };
}

async function start(t: TestContext, program: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const ended = once(child, 'exit');
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  });
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${Buffer.concat(said)}`);
    await pause(20);
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
