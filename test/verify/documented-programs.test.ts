/** The two programs of docs/verifying.md, as printed, take each step of a plan that a server signed, and nothing else. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { transform } from 'esbuild';
import { freePort } from '../support/free-port.ts';
import { printedKey } from '../support/issuing.ts';
import { startServer } from '../support/processes.ts';
import { pythonEnvironment } from '../support/python.ts';
import { installPacked, run } from './installed-package.ts';
import { type Outcome, printedProgram, runProgram } from './printed-programs.ts';
import { claimsIn } from './signed-tokens.ts';

const python = await pythonEnvironment();
const pythonSkip = python.ok ? false : python.reason;

interface Asked {
  readonly token: string;
  readonly stepIndex: number;
  readonly step: unknown;
  readonly proof: readonly { readonly position: string; readonly sibling_hash: string }[];
}
type Program = (asked: Asked) => Promise<Outcome>;

const PLAN = {
  goal: 'schreib „größer“',
  steps: [
    { action: 'get_weather', mcp: 'weather-mcp', params: { city: 'Zürich', days: 3, exact: 0.1 } },
    { action: 'send', mcp: 'mail', params: { to: ['a@example.org'], text: 'a"b\\c\n\u2028😀', n: 1e-7 } },
    { action: 'done' },
  ],
};

suite('the programs of the page, against a server', () => {
  const closers: (() => unknown)[] = [];
  const closing = { after: (close: unknown) => closers.push(close as () => unknown) } as never;
  let url: string;
  let folder: string;
  let issued: { token: string; token_id: string; step_proofs: { proof: Asked['proof'] }[] };
  let typescript: Program;
  let pythonProgram: Program;

  before(async () => {
    // The port is the issuer's, so it has to be known before the start.
    const server = await startServer(closing, { PORT: String(await freePort()) });
    url = server.url;
    const response = await fetch(`${url}/token/issue`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': printedKey(server.stdout()) },
      body: JSON.stringify({ plan: PLAN, expires_in: 3600 }),
    });
    assert.equal(response.status, 200);
    issued = (await response.json()) as typeof issued;
    folder = await installPacked(closing);
    const { code } = await transform(printedProgram('ts', url), { loader: 'ts' });
    await writeFile(join(folder, 'program.js'), code);
    await writeFile(join(folder, 'program.py'), printedProgram('python', url));
    typescript = (asked) => runProgram(process.execPath, 'program.js', { cwd: folder, question: asked });
    pythonProgram = (asked) =>
      runProgram(python.ok ? python.python : 'python3', 'program.py', { cwd: folder, question: asked });
  });
  after(async () => {
    for (const close of closers.reverse()) await close();
  });

  for (const [name, skip, program] of [
    ['TypeScript', false, (asked: Asked) => typescript(asked)],
    ['Python', pythonSkip, (asked: Asked) => pythonProgram(asked)],
  ] as const) {
    test(`the ${name} program takes each step of the plan`, { skip }, async () => {
      for (const [stepIndex, step] of PLAN.steps.entries()) {
        const proof = issued.step_proofs[stepIndex]?.proof ?? [];
        const { code, stdout, stderr } = await program({ token: issued.token, stepIndex, step, proof });
        assert.equal(code, 0, stderr);
        assert.equal(stdout.trim(), `step ${stepIndex} of token ${issued.token_id} may be carried out`);
      }
    });

    test(`the ${name} program refuses a forged token, step and proof`, { skip }, async () => {
      const [first] = PLAN.steps;
      const proof = issued.step_proofs[0]?.proof ?? [];
      const honest = { token: issued.token, stepIndex: 0, step: first, proof };
      const [header = '', , signature = ''] = issued.token.split('.');
      const claims = Buffer.from(JSON.stringify({ ...claimsIn(issued.token), sub: 'somebody else' }));
      const refused: Readonly<Record<string, Asked>> = {
        'another parameter': {
          ...honest,
          step: { ...first, params: { city: 'Basel', days: 3, exact: 0.1 } },
        },
        'a short proof': { ...honest, proof: proof.slice(0, -1) },
        'a forged token': { ...honest, token: `${header}.${claims.toString('base64url')}.${signature}` },
      };
      for (const [what, asked] of Object.entries(refused)) {
        const { code, stdout, stderr } = await program(asked);
        assert.equal(code, 1, `${what} was taken`);
        assert.equal(stdout, '', what);
        assert.match(stderr, /^refused: /, what);
      }
    });
  }

  test('the TypeScript program is TypeScript', async () => {
    await writeFile(join(folder, 'program.ts'), printedProgram('ts', url));
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      strict: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [resolve('node_modules/@types')],
    };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['program.ts'] }),
    );
    const compiler = resolve('node_modules/typescript/bin/tsc');
    const { stdout } = await run(process.execPath, [compiler, '-p', folder]).catch(
      (error: { stdout: string }) => error,
    );
    assert.equal(stdout, '');
  });
});
