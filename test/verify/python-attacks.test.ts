/**
 * The Python program of docs/verifying.md, which stands for what a stranger writes from that page, against the attack
 * tables that `writ/verify` is held to.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '../../src/domain/json/canonical-json.ts';
import type { JsonValue } from '../../src/domain/json/strict-json.ts';
import { pythonEnvironment } from '../support/python.ts';
import { printedProgram, runProgram } from './printed-programs.ts';
import { aSigner, aToken, claimsIn, STEPS, signClaims } from './signed-tokens.ts';
import { STEP_ATTACKS } from './step-attacks.ts';
import { TOKEN_ATTACKS } from './token-attacks.ts';

const python = await pythonEnvironment();
const pythonSkip = python.ok ? false : python.reason;

/** Asks the functions of the printed program many questions in one process; each answer is a value or `null`. */
const DRIVER = `
import json, sys
import verifier
def attempt(question):
    try:
        return getattr(verifier, question["call"])(*question["arguments"]) or True
    except Exception:
        return None
print(json.dumps([attempt(question) for question in json.load(sys.stdin)]))
`;

/** Of these the trusted key must be at hand to make one, and the page says that the program takes it, or need not look. */
const NOT_LOOKED_AT = new Set([
  'alg twice',
  'a header with a byte order mark',
  'claims with a byte order mark',
  'exp twice',
  'jti twice, once escaped',
  '__proto__ in the claims',
  'claims nested too deep',
  'exp in milliseconds beyond 2^53',
  'cnf that is a text',
  'root_jti that is no id',
]);
/** The program takes the bare list. */
const OF_WHOLE_PROOFS = 'a proof with a member of its own';

test('the Python program, against the attack tables', { skip: pythonSkip }, async (t) => {
  const signer = aSigner();
  const nowSeconds = Math.floor(Date.now() / 1000);
  const url = await serveKeys(t, JSON.stringify({ keys: [signer.jwk, aSigner().jwk] }));
  const folder = await mkdtemp(join(tmpdir(), 'writ-python-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'verifier.py'), printedProgram('python', url));
  await writeFile(join(folder, 'driver.py'), DRIVER);
  const ask = async (
    questions: readonly { call: string; arguments: readonly unknown[] }[],
  ): Promise<unknown[]> => {
    const { code, stdout, stderr } = await runProgram(python.ok ? python.python : '', 'driver.py', {
      cwd: folder,
      question: questions,
    });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as unknown[];
  };

  const claims = { iss: url, iat: nowSeconds - 60, nbf: nowSeconds - 65, exp: nowSeconds + 3600 };
  const { jwt: good, proofs } = aToken(signer, claims);
  const steps = (token: string) =>
    STEPS.map((step, index) => ({
      call: 'verify_step',
      arguments: [token, index, step, proofs[index]?.proof],
    }));

  await t.test('takes the good token and each of its steps', async () => {
    const answers = await ask([{ call: 'verify_token', arguments: [good] }, ...steps(good)]);
    for (const answer of answers) assert.deepEqual(answer, claimsIn(good));
  });

  await t.test('refuses every forged token', async () => {
    const rows = TOKEN_ATTACKS.map(({ name, forge }) => ({
      name,
      token: forge({ good, signer, nowSeconds }),
    }));
    const answers = await ask(
      rows.map(({ token }) => ({ call: 'verify_step', arguments: [token, 0, STEPS[0], proofs[0]?.proof] })),
    );
    const taken = rows.filter((_, index) => answers[index] !== null).map(({ name }) => name);
    assert.deepEqual(
      taken.filter((name) => !NOT_LOOKED_AT.has(name)),
      [],
    );
  });

  await t.test('refuses every forged step', async () => {
    const rows = STEP_ATTACKS.filter(
      ({ name, code, request }) =>
        code !== 'STEP_MISMATCH' && request.step !== undefined && name !== OF_WHOLE_PROOFS,
    );
    const answers = await ask(
      rows.map(({ request }) => ({
        call: 'verify_step',
        arguments: [good, request.step_index, request.step, listOf(request.proof)],
      })),
    );
    assert.deepEqual(
      rows.filter((_, index) => answers[index] !== null).map(({ name }) => name),
      [],
    );
    assert.ok(rows.length > 40);
  });

  await t.test(
    'refuses restrictions that it does not decide, and actions that a delegation leaves out',
    async () => {
      const restricted = [
        { rate_limit: 5 },
        { ip_whitelist: ['127.0.0.1'] },
        { time_restrictions: {} },
        { new: 1 },
      ];
      const tokens = restricted.map((policy) => signClaims(signer, { ...claimsIn(good), policy }));
      tokens.push(signClaims(signer, { ...claimsIn(good), allowed_actions: ['none'] }));
      const answers = await ask(tokens.flatMap(steps));
      assert.deepEqual(new Set(answers), new Set([null]));
    },
  );

  await t.test('writes canonical JSON as Writ does, every kind of number included', async () => {
    const values: JsonValue[] = [];
    const aNumber = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 53) + 1, max: 2 ** 53 - 1 }),
      fc.integer(),
    );
    const aKey = fc.string({ unit: fc.constantFrom('a', 'B', 'é', '\u007f', '"', '\\', '\n', '\uffff') });
    const aText = fc.string({ unit: 'binary' }).filter((text) => !/[\0\p{Surrogate}]/u.test(text));
    const aValue = fc.oneof(aNumber, aText, fc.array(aNumber), fc.dictionary(aKey, aNumber));
    fc.assert(
      fc.property(aValue, (value) => void values.push(value as JsonValue)),
      { numRuns: 500 },
    );
    const powers = Array.from({ length: 30 }, (_, power) => [
      10 ** -power,
      1.5 * 10 ** -power,
      -(10 ** -power),
    ]).flat();
    values.push(...powers, 2 ** 53 - 1, -0, 5e-324);
    const answers = await ask(values.map((value) => ({ call: 'canonical', arguments: [value] })));
    for (const [index, value] of values.entries()) {
      const written = canonicalJson(JSON.parse(JSON.stringify(value)) as JsonValue);
      assert.ok(written.ok);
      assert.equal(answers[index], written.text);
    }
  });
});

const listOf = (proof: unknown): unknown =>
  typeof proof === 'object' && proof !== null && 'proof' in proof ? proof.proof : proof;

async function serveKeys(t: TestContext, jwks: string): Promise<string> {
  const server = createServer((_, response) => response.end(jwks));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
