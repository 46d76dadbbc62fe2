/** The program of docs/gateways.md for jose, as printed, opens the tools of a plan and no other. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { transform } from 'esbuild';
import { fencesOf, readText } from '../support/markdown.ts';
import { postgresSkip } from '../support/postgres.ts';
import { listenForGateways } from './gateway-tokens.ts';
import { printedProgram } from './printed-programs.ts';
import { claimsIn } from './signed-tokens.ts';

type PlannedTools = (token: string) => Promise<ReadonlySet<string>>;

test('jose, unmodified, with the lines of docs/gateways.md', { skip: postgresSkip }, async (t) => {
  for (const alg of ['EdDSA', 'Ed25519']) {
    const { url, cases } = await listenForGateways(t, { SIGNING_ALG: alg });
    // Inside the repository, so that it finds jose as a program of this package does.
    const cache = resolve('node_modules/.cache');
    await mkdir(cache, { recursive: true });
    const folder = await mkdtemp(join(cache, 'gateway-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const { code } = await transform(printedProgram('ts', url, 'docs/gateways.md'), { loader: 'ts' });
    const file = join(folder, 'gateway.mjs');
    await writeFile(file, code);
    const { plannedTools } = (await import(pathToFileURL(file).href)) as { plannedTools: PlannedTools };
    for (const { what, token, tools } of cases) {
      await t.test(`signed as ${alg}: ${what}`, async () => {
        if (tools === undefined) await assert.rejects(plannedTools(token));
        else assert.deepEqual([...(await plannedTools(token))].sort(), tools);
      });
    }
  }
});

test('the claim that the page shows is the one that is signed', { skip: postgresSkip }, async (t) => {
  const { server } = await listenForGateways(t);
  const plan = { steps: [{ action: 'get_weather', mcp: 'weather-mcp' }, { action: 'note' }] };
  const { body } = await server.call<{ token: string }>({
    method: 'POST',
    url: '/token/issue',
    key: server.adminKey,
    json: { plan },
  });
  const [shown = ''] = fencesOf(readText('docs/gateways.md'), 'json');
  const { authorization_details } = claimsIn(body.token);
  assert.deepEqual({ authorization_details }, JSON.parse(shown));
});
