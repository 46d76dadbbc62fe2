/**
 * The gateway of docs/gateways.md, as printed, on the FastMCP of the package index: its own `JWTVerifier` takes the
 * tokens, and callers see and call the tools of their plan and no other.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/issuing.ts';
import { postgresSkip } from '../support/postgres.ts';
import { pythonEnvironment } from '../support/python.ts';
import { listenForGateways } from './gateway-tokens.ts';
import { printedProgram, runProgram } from './printed-programs.ts';

const python = await pythonEnvironment('python-gateway-requirements.txt');
const skip = python.ok ? postgresSkip : python.reason;

const TOOLS = ['close_station', 'get_weather'];

/** FastMCP's own client: which tools it is shown, and what each of them says when it is called. */
const CLIENT = `
import asyncio, json, sys
from fastmcp import Client
from fastmcp.client.auth import BearerAuth

async def ask(url, token):
    try:
        async with Client(url, auth=BearerAuth(token)) as client:
            shown = sorted(tool.name for tool in await client.list_tools())
            calls = {"get_weather": {"city": "Oslo"}, "close_station": {"name": "Oslo"}}
            results = {name: await client.call_tool(name, given, raise_on_error=False) for name, given in calls.items()}
            said = {name: result.content[0].text for name, result in results.items()}
            return {"shown": shown, "opened": sorted(name for name in results if not results[name].is_error), "said": said}
    except Exception as error:
        return {"refused": repr(error)}

async def main():
    asked = json.load(sys.stdin)
    print(json.dumps([await ask(asked["url"], token) for token in asked["tokens"]]))

asyncio.run(main())
`;

interface Outcome {
  readonly shown?: readonly string[];
  readonly opened?: readonly string[];
  readonly said?: Readonly<Record<string, string>>;
  readonly refused?: string;
}

async function startGateway(t: TestContext, program: string, folder: string): Promise<string> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/mcp`;
  await writeFile(join(folder, 'gateway.py'), program.replace('port=8000', `port=${port}`));
  const child = spawn(python.ok ? python.python : '', ['gateway.py'], { cwd: folder, stdio: 'pipe' });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  t.after(async () => {
    if (child.exitCode === null && child.kill()) await once(child, 'close');
  });
  const answers = () =>
    fetch(url).then(
      () => true,
      () => assert.equal(child.exitCode, null, log) === undefined && false,
    );
  await until('the gateway answers', answers, undefined, () => log);
  return url;
}

test('FastMCP, unmodified, with the lines of docs/gateways.md', { skip }, async (t) => {
  for (const alg of ['EdDSA', 'Ed25519']) {
    const { url: issuer, cases } = await listenForGateways(t, { SIGNING_ALG: alg });
    const folder = await mkdtemp(join(tmpdir(), 'writ-gateway-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const program = printedProgram('python', issuer, 'docs/gateways.md');
    const url = await startGateway(t, program.replace('"EdDSA"', `"${alg}"`), folder);
    await writeFile(join(folder, 'client.py'), CLIENT);
    const question = { url, tokens: cases.map(({ token }) => token) };
    const run = await runProgram(python.ok ? python.python : '', 'client.py', { cwd: folder, question });
    assert.equal(run.code, 0, run.stderr);
    const outcomes = JSON.parse(run.stdout) as readonly Outcome[];
    assert.equal(outcomes.length, cases.length);
    for (const [index, { what, tools }] of cases.entries()) {
      await t.test(`signed as ${alg}: ${what}`, () => {
        const { shown, opened, said, refused } = outcomes[index] ?? {};
        if (tools === undefined) return assert.ok(refused !== undefined);
        assert.deepEqual([shown, opened], [tools, tools], refused);
        for (const name of TOOLS.filter((tool) => !tools.includes(tool)))
          assert.match(said?.[name] ?? '', /is not a tool of the plan/);
        return undefined;
      });
    }
  }
});
