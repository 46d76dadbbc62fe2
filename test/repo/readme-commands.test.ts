/**
 * Guarantees that what the README, docs/approvals.md and the top of docs/verifying.md tell a reader to type works as
 * printed, against a server that was just started for the first time. Only the address and the key are put in.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createVerifier } from '../../src/verify.ts';
import { runHere } from '../support/command-line.ts';
import { freePort } from '../support/free-port.ts';
import { fencesOf, plain, readText, tableOf } from '../support/markdown.ts';
import { type StartedServer, startServer } from '../support/processes.ts';

const README = readText('README.md');
const FIRST_SCREEN = README.slice(0, README.indexOf('\n## '));
const MAX_FIRST_SCREEN_LINES = 45;
const PRINTED_URL = 'http://127.0.0.1:3000';
const PRINTED_KEY = 'ak_live_…';

const PLAN = {
  goal: 'schreib „größer“',
  steps: [
    { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Zürich', days: 3, exact: 0.1 } },
    { action: 'send', mcp: 'mail', params: { to: ['a@example.org'], text: 'a"b\\c\n\u2028😀' } },
    { action: 'done' },
  ],
};

describe('a reader', () => {
  const cleanups: (() => unknown)[] = [];
  let server: StartedServer;
  let adminKey: string;

  before(async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'writ-readme-'));
    cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
    const suite = { after: (cleanup: () => unknown) => void cleanups.unshift(cleanup) };
    // The port is the issuer's, so it has to be known before the start.
    server = await startServer(suite as Parameters<typeof startServer>[0], {
      DATA_DIR: join(dataDir, 'data'),
      PORT: String(await freePort()),
    });
    adminKey = await printedKey(server);
  });
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  test('sees on the first screen what it is, the two commands, the first token and the SDK', () => {
    assert.ok(FIRST_SCREEN.split('\n').length <= MAX_FIRST_SCREEN_LINES);
    const [setUp = '', firstToken = ''] = fencesOf(FIRST_SCREEN, 'sh');
    assert.match(setUp, /^npm ci && npm start\b/m);
    assert.match(setUp, /^npm ci && npm test\b/m);
    assert.ok(firstToken.startsWith(`export WRIT_KEY=${PRINTED_KEY}\ncurl `));
    assert.match(fencesOf(FIRST_SCREEN, 'ts')[0] ?? '', /@armoriq\/sdk/);
  });

  test('gets a first token by the commands of the first screen', async () => {
    const commands = fencesOf(FIRST_SCREEN, 'sh').filter((fence) => fence.includes('curl'));
    assert.equal(commands.length, 1);
    const { code, stdout, stderr } = await runBash(commands.join('\n'));
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout) as Record<string, unknown>;
    assert.equal(answer['success'], true);
    assert.match(String(answer['token']), /^[\w-]+\.[\w-]+\.[\w-]{86}$/);
  });

  test('sees on the second screen how a scoped token opens a secret', async () => {
    const secondScreen = README.slice(FIRST_SCREEN.length).split('\n## ')[1] ?? '';
    assert.match(secondScreen, /^Open a secret with a scoped token\n/);
    assert.ok(secondScreen.split('\n').length <= MAX_FIRST_SCREEN_LINES);
    const [commands = ''] = fencesOf(secondScreen, 'sh');
    const opened = await runBash(`export WRIT_KEY=${PRINTED_KEY}\n${commands}`);
    assert.equal(opened.code, 0, opened.stderr);
    assert.match(opened.stdout, /"path":"prod\/openai\/API_KEY"[^\n]*"value":"sk-example"\}$/);
  });

  test('opens the same secret with the SDK by the program of the second screen', async () => {
    const { code, stdout, stderr } = await runProgram(programWith('AgentVault'));
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'sk-example\n');
  });

  test('can run every curl command of the README, one after the other', async () => {
    const commands = fencesOf(README, 'sh').filter((fence) => fence.includes('curl'));
    assert.ok(commands.length >= 3);
    // The names of active principals are unique, and one test has made these already.
    await revoke('reader');
    const { code, stderr, stdout } = await runBash(commands.join('\n'));
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    assert.match(stdout, /"name":"weather-bot"/);
  });

  test('can run every curl command of docs/approvals.md, one after the other, and opens the secret', async () => {
    const commands = fencesOf(readText('docs/approvals.md'), 'sh');
    assert.ok(commands.length >= 4);
    const { code, stderr, stdout } = await runBash(`export WRIT_KEY=${PRINTED_KEY}\n${commands.join('\n')}`);
    assert.equal(code, 0, `${stderr}\n${stdout}`);
    assert.match(stdout, /"status":"pending"[\s\S]*"status":"approved"/);
    assert.match(stdout, /"path":"prod\/db\/PASSWORD"[^\n]*"value":"correct horse"\}$/);
  });

  test('finds exactly the endpoints that are served in the table of the README', async () => {
    const response = await fetch(`${server.url}/v1/openapi.json`);
    const { paths } = (await response.json()) as { paths: Record<string, Record<string, unknown>> };
    const served = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    );
    const named = tableOf(README, 'method and path').flatMap(([cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
    );
    assert.ok(served.length > 10);
    assert.deepEqual(named.toSorted(), served.toSorted());
  });

  test('finds every command of `writ --help` in the table of the README', async () => {
    const { code, stdout } = await runHere(['--help']);
    assert.equal(code, 0);
    const [, listed = ''] = stdout.split('\nCommands:\n');
    const commands = [...listed.matchAll(/^ {2}([a-z-]+)/gm)].map((match) => match[1] ?? '');
    const stated = tableOf(README, 'command').map(([cell]) => plain(cell).split(' ')[1] ?? '');
    assert.ok(commands.length > 10);
    assert.deepEqual([...new Set([...stated, 'help'])].toSorted(), commands.toSorted());
  });

  test('gets a token from the SDK by the program of the first screen', async () => {
    const [program = ''] = fencesOf(FIRST_SCREEN, 'ts');
    const { code, stdout, stderr } = await runProgram(program);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^[0-9a-f-]{36} eyJ[\w-]+\.[\w-]+\.[\w-]{86}$/m);
  });

  test('verifies a token by the program of the README', async () => {
    const program = programWith('jwtVerify');
    const { token, token_id, merkle_root } = await issue();
    const { code, stdout, stderr } = await runProgram(program, { env: { JWT: token } });
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), `${token_id} ${merkle_root}`);
  });

  test('fills the variable that this program reads by the command before it', async () => {
    const [command = ''] = fencesOf(README, 'sh').filter((fence) => fence.includes('export JWT='));
    const filled = await runBash(`export WRIT_KEY=${PRINTED_KEY}\n${command}\nprintf %s "$JWT"`);
    assert.equal(filled.code, 0, filled.stderr);
    const { code, stderr } = await runProgram(programWith('jwtVerify'), { env: { JWT: filled.stdout } });
    assert.equal(code, 0, stderr);
  });

  test('makes what a verifier reads by the program of docs/verifying.md', async () => {
    const [program = ''] = fencesOf(readText('docs/verifying.md'), 'js');
    const { code, stdout, stderr } = await runProgram(program);
    assert.equal(code, 0, stderr);
    const { token, ...asked } = JSON.parse(stdout) as {
      token: string;
      stepIndex: number;
      step: object;
      proof: [];
    };
    const jwksUrl = `${server.url}/.well-known/jwks.json`;
    const verifier = createVerifier({ jwksUrl, issuer: server.url, audience: 'writ' });
    const verified = await verifier.verifyStep(token, { ...asked, mcp: 'weather-mcp' });
    assert.equal(verified.step.action, 'get_weather');
  });

  test('sees a forged token refused by the program of the README', async () => {
    const program = programWith('jwtVerify');
    const { token } = await issue();
    const { code, stderr } = await runProgram(program, { env: { JWT: withOtherClaims(token) } });
    assert.equal(code, 1);
    assert.match(stderr, /signature verification failed/);
  });

  const programWith = (name: string): string => {
    const programs = fencesOf(README, 'js').filter((program) => program.includes(name));
    assert.equal(programs.length, 1);
    return programs[0] ?? '';
  };

  const revoke = async (agent: string): Promise<void> => {
    const headers = { 'x-api-key': adminKey };
    const { status } = await fetch(`${server.url}/v1/agents/${agent}`, { method: 'DELETE', headers });
    assert.equal(status, 204);
  };

  const asTyped = (printed: string): string =>
    printed.replaceAll(PRINTED_URL, server.url).replaceAll(PRINTED_KEY, adminKey);

  /** `curl` fails where the server refuses; nothing else differs from what a reader types. */
  const runBash = (commands: string) =>
    runToEnd('bash', [
      '-euo',
      'pipefail',
      '-c',
      `curl() { command curl --fail-with-body "$@"; }\n${asTyped(commands)}`,
    ]);

  const runProgram = (program: string, given: { env?: Record<string, string>; stdin?: string } = {}) =>
    runToEnd(process.execPath, ['--input-type=module', '-e', asTyped(program)], {
      ...given,
      env: { WRIT_KEY: adminKey, ...given.env },
    });

  const issue = async () => {
    const response = await fetch(`${server.url}/token/issue`, {
      method: 'POST',
      headers: { 'x-api-key': adminKey, 'content-type': 'application/json' },
      body: JSON.stringify({ plan: PLAN }),
    });
    assert.equal(response.status, 200);
    return (await response.json()) as {
      token: string;
      token_id: string;
      merkle_root: string;
      step_proofs: { proof: { position: string; sibling_hash: string }[] }[];
    };
  };
});

/** The first start prints it, a moment after the address at the latest. */
async function printedKey(server: StartedServer): Promise<string> {
  for (;;) {
    const key = /^ {2}(ak_live_[0-9a-f]{64})$/m.exec(server.stdout())?.[1];
    if (key !== undefined) return key;
    await once(server.child.stdout ?? server.child, 'data');
  }
}

function withOtherClaims(token: string): string {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const read = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>;
  const forged = Buffer.from(JSON.stringify({ ...read, sub: 'somebody else' })).toString('base64url');
  return `${header}.${forged}.${signature}`;
}

async function runToEnd(
  command: string,
  args: readonly string[],
  given: { env?: Record<string, string>; stdin?: string } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child: ChildProcess = spawn(command, args, {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...given.env },
    stdio: 'pipe',
    timeout: 300_000,
  });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  child.stdin?.end(given.stdin ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...printed };
}
