/** The example of an agent and its tool server: what was planned is carried out, once, until the plan is revoked. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { generateApiKey } from '../../src/keys/credentials/api-key-hash.ts';
import { available } from '../clients/agentsecretstore-server.ts';
import { printedKey } from '../support/issuing.ts';
import { startNode, startServer } from '../support/processes.ts';

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const ISSUER = 'https://writ.example';

test('examples/agent-loop does what it says', async (t: TestContext) => {
  const server = await startServer(t, { ...(await available.env(t)), PORT: '0', ISSUER_URL: ISSUER });
  const run = async (apiKey: string) => {
    const env = { WRIT_URL: server.url, WRIT_ISSUER: ISSUER, WRIT_KEY: apiKey };
    // From the root of the repository, whose tsconfig.json says where `writ/verify` is.
    const args = ['--import', TSX, 'examples/agent-loop/agent.ts'];
    const agent = await startNode(t, args, env, { cwd: resolve('.') });
    return { code: await agent.ended, stdout: agent.stdout(), stderr: agent.stderr() };
  };

  const { code, stdout, stderr } = await run(printedKey(server.stdout()));
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    stdout
      .replace(/[0-9a-f]{64}/, '…')
      .trimEnd()
      .split('\n'),
    [
      'plan … is signed',
      'step 0: hotels 17 and 18 in Zürich',
      'step 1 with another hotel: refused, MERKLE_PROOF_INVALID',
      'step 1: hotel 17 is booked',
      'step 1 again: refused, STEP_CONSUMED',
      'the plan is revoked',
      'step 2: refused, TOKEN_REVOKED',
    ],
  );

  const refused = await run(generateApiKey().text);
  assert.notEqual(refused.code, 0);
  assert.equal(refused.stdout, '');
});
