/**
 * Guarantees `armoriq-sdk` 0.8.17 of PyPI, unmodified, in an empty home folder, and a record of what it asked: it talks
 * to the server through a proxy that notes each request with the status of its answer.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface Recorder {
  readonly url: string;
  /** Since the last call: `POST /iap/audit 200`, in the order of the answers. */
  taken(): string[];
}

/** Forwards to `target` and notes what was asked. */
export async function recordRequests(t: Pick<TestContext, 'after'>, target: () => string): Promise<Recorder> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    void forward(request, target()).then(({ status, headers, body }) => {
      const [path] = (request.url ?? '').split('?');
      seen.push(`${request.method} ${path} ${status}`);
      response.writeHead(status, headers).end(body);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken: () => seen.splice(0),
  };
}

const OF_ONE_CONNECTION = /^(connection|keep-alive|transfer-encoding|content-length|host)$/i;

async function forward(request: IncomingMessage, target: string) {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const kept = Object.entries(request.headers).filter(([name]) => !OF_ONE_CONNECTION.test(name));
  const answer = await fetch(`${target}${request.url}`, {
    method: request.method ?? 'GET',
    headers: Object.fromEntries(kept.map(([name, value]) => [name, String(value)])),
    ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
  });
  const headers = Object.fromEntries([...answer.headers].filter(([name]) => !OF_ONE_CONNECTION.test(name)));
  return { status: answer.status, headers, body: Buffer.from(await answer.arrayBuffer()) };
}

export interface PythonRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface PythonHome {
  /** A program, with a JSON value as its standard input. */
  program(text: string, given: unknown): Promise<PythonRun>;
  /** The command line `armoriq`. */
  armoriq(...args: string[]): Promise<PythonRun>;
}

/** With no environment but a path: nothing of this machine steers the client. */
export async function aPythonHome(t: Pick<TestContext, 'after'>, python: string): Promise<PythonHome> {
  const home = await mkdtemp(join(tmpdir(), 'writ-armoriq-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const run = async (args: readonly string[], input: string): Promise<PythonRun> => {
    const env = { HOME: home, PATH: process.env['PATH'] ?? '', PYTHONIOENCODING: 'utf-8' };
    const child = spawn(python, [...args], { cwd: home, env, stdio: 'pipe' });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
      });
    }
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ...said };
  };
  return {
    program: async (text, given) => {
      await writeFile(join(home, 'program.py'), text);
      return run(['program.py'], JSON.stringify(given));
    },
    armoriq: (...args) => run(['-m', 'armoriq_sdk.cli', ...args], ''),
  };
}

/** What the program printed as its last line. */
export function resultOf<Result>({ code, stdout, stderr }: PythonRun): Result {
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Result;
}

/** Before every program: the client, and a way to tell what was raised. */
export const PROLOGUE = `
import asyncio, json, sys
import httpx
from armoriq_sdk import ArmorIQClient
from armoriq_sdk.session import ReportOptions, SessionOptions
from armoriq_sdk.models import DelegationRequestParams

given = json.load(sys.stdin)

def client_of(**options):
    return ArmorIQClient(**{"backend_endpoint": given["url"], "api_key": given["key"],
                            "agent_id": given.get("agent"), **options})

def attempt(work):
    try:
        return {"value": work()}
    except Exception as error:
        return {"raised": type(error).__name__, "message": str(error), "reason": getattr(error, "reason", None)}

def verdict(decision):
    return {"allowed": decision.allowed, "action": decision.action, "reason": decision.reason,
            "policy": decision.matched_policy}

def operator(method, path, body):
    answer = httpx.request(method, given["url"] + path, json=body, headers={"X-API-Key": given["admin"]})
    answer.raise_for_status()

def done(result):
    print(json.dumps(result))
`;
