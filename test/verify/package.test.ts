/**
 * The package as it is published: `writ/verify` is its only entry, runs and type-checks in a folder that has nothing
 * else, and brings nothing of the server along.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { build, type Metafile } from 'esbuild';
import { installPacked, packWrit, run, VERIFIER_PACKAGES } from './installed-package.ts';
import { AUDIENCE, aSigner, aToken, ISSUER, NOW_SECONDS, STEPS } from './signed-tokens.ts';

/** As its text stands in the docs of a tool server, with mistakes that the compiler must find. */
const SAMPLE = `
import { createVerifier, type JsonWebKeySet, type StepRequest, VerificationError, type VerifiedToken } from 'writ/verify';

declare const keys: JsonWebKeySet;
const ours = { issuer: 'https://writ.example', audience: 'writ' };
const verifier = createVerifier({ jwksUrl: new URL('https://writ.example/.well-known/jwks.json'), ...ours });
createVerifier({ jwksUrl: 'https://writ.example/.well-known/jwks.json', ...ours, clock: undefined });
createVerifier({ jwks: keys, ...ours, clock: () => new Date() });
createVerifier({ jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: '', kid: '' }] }, ...ours });

interface Send { action: 'send'; mcp: string; params: { to: string[] } }
declare const step: Send;
declare const body: { readonly step: object; readonly proof: unknown };
export async function check(jwt: string): Promise<VerifiedToken> {
  const token: VerifiedToken = await verifier.verifyToken(jwt);
  const cnf: unknown = token.cnf?.['jwk'];
  await verifier.verifyStep(jwt, { stepIndex: 0, step, mcp: 'mail', proof: [{ position: 'left', sibling_hash: '' }] });
  const request: StepRequest = { stepIndex: 0, ...body, clientIp: '192.0.2.1', acceptUncounted: true };
  const { step: { action, mcp, stepIndex } } = await verifier.verifyStep(jwt, request);
  const names: readonly [string, string | null, number] = [action, mcp, stepIndex];
  await verifier.verifyStep(jwt, { stepIndex: 0, action: 'send', proof: null });
  return names.length > 0 && cnf !== names ? token : token;
}
export function status(error: unknown): number {
  if (!(error instanceof VerificationError)) return 500;
  switch (error.code) {
    case 'KEYS_UNAVAILABLE':
      return 503;
    // @ts-expect-error: no such code
    case 'TOKEN_REVOKED':
      return 401;
    default:
      return 403;
  }
}

// @ts-expect-error: no keys
createVerifier(ours);
// @ts-expect-error: both kinds of keys
createVerifier({ jwks: keys, jwksUrl: 'https://writ.example', ...ours });
// @ts-expect-error: no audience
createVerifier({ jwks: keys, issuer: '' });
// @ts-expect-error: neither step nor action
verifier.verifyStep('', { stepIndex: 0, proof: [] });
// @ts-expect-error: mcp alone is unproven
verifier.verifyStep('', { stepIndex: 0, action: 'send', mcp: 'mail', proof: [] });
// @ts-expect-error: a misspelt member
verifier.verifyStep('', { stepIndex: 0, step, mpc: 'mail', proof: [] });
`;

const MODES = {
  node16: { module: 'node16', moduleResolution: 'node16' },
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
};

test('the packed package, installed alone', async (t) => {
  const folder = await installPacked(t);

  await t.test('verifies a token and a step that were made here', async () => {
    const signer = aSigner();
    const { jwt, proofs } = aToken(signer);
    const asked = { jwt, jwks: { keys: [signer.jwk] }, issuer: ISSUER, audience: AUDIENCE, now: NOW_SECONDS };
    const program = `
      import { createVerifier, VerificationError } from 'writ/verify';
      const { jwt, jwks, issuer, audience, now, step, proof } = JSON.parse(process.argv[2]);
      const clock = () => new Date(now * 1000);
      const verifier = createVerifier({ jwks, issuer, audience, clock });
      const { token, step: proven } = await verifier.verifyStep(jwt, { stepIndex: 1, step, proof });
      const refused = await verifier.verifyStep(jwt, { stepIndex: 0, step, proof }).catch((error) => error);
      if (!(refused instanceof VerificationError)) throw new Error('not refused');
      console.log(JSON.stringify([token.jti, proven, refused.code]));
    `;
    await writeFile(join(folder, 'program.js'), program);
    const argument = JSON.stringify({ ...asked, step: STEPS[1], proof: proofs[1] });
    const { stdout, stderr } = await run(process.execPath, ['program.js', argument], { cwd: folder });
    assert.deepEqual(JSON.parse(stdout), [
      '019a0000-0000-7000-8000-000000000001',
      { stepIndex: 1, action: 'send', mcp: 'mail' },
      'MERKLE_PROOF_INVALID',
    ]);
    assert.doesNotMatch(stderr, /Error/);
  });

  for (const [mode, options] of Object.entries(MODES)) {
    await t.test(
      `type-checks under ${mode}, its declarations included, and the compiler finds mistakes`,
      async () => {
        const project = join(folder, mode);
        await mkdir(project);
        await writeFile(join(project, 'sample.ts'), SAMPLE);
        const compilerOptions = {
          ...options,
          target: 'es2022',
          // Neither Node's types nor a browser's: a tool server may have either.
          lib: ['es2022'],
          types: [],
          strict: true,
          exactOptionalPropertyTypes: true,
          noPropertyAccessFromIndexSignature: true,
          noUncheckedIndexedAccess: true,
          skipLibCheck: false,
          noEmit: true,
        };
        await writeFile(
          join(project, 'globals.d.ts'),
          'declare class URL { constructor(url: string); href: string }',
        );
        await writeFile(
          join(project, 'tsconfig.json'),
          JSON.stringify({ compilerOptions, include: ['*.ts'] }),
        );
        const compiler = resolve('node_modules/typescript/bin/tsc');
        const outcome = await run(process.execPath, [compiler, '-p', project], { cwd: folder }).catch(
          (error: { stdout: string }) => error,
        );
        assert.equal(outcome.stdout, '');
      },
    );
  }

  await t.test('has no other entry', async () => {
    for (const specifier of [
      'writ',
      'writ/server',
      'writ/dist/server.js',
      'writ/dist/verify.js',
      'writ/verify.js',
    ]) {
      const program = `import(${JSON.stringify(specifier)}).then(() => console.log('loaded'), (e) => console.log(e.code))`;
      const { stdout } = await run(process.execPath, ['-e', program], { cwd: folder });
      assert.equal(stdout.trim(), 'ERR_PACKAGE_PATH_NOT_EXPORTED', specifier);
    }
  });

  await t.test(
    'bundles for browsers with nothing but its own files and the three packages that it names',
    async () => {
      const { inputs } = await bundle(folder, "export * from 'writ/verify';");
      const packages = new Set(Object.keys(inputs).map((path) => packageOf(resolve(path), folder)));
      assert.deepEqual([...packages].sort(), ['writ', ...VERIFIER_PACKAGES].sort());
      const imports = Object.values(inputs).flatMap((input) => input.imports);
      assert.deepEqual(
        imports.filter(({ external }) => external === true),
        [],
      );
    },
  );

  await t.test('leaves nothing in a bundle that does not use it: importing it has no effect', async () => {
    const { outputs } = await bundle(
      folder,
      "import 'writ/verify'; import { createVerifier } from 'writ/verify';",
    );
    assert.deepEqual(
      Object.values(outputs).map(({ bytes }) => bytes),
      [0],
    );
  });
});

async function bundle(folder: string, contents: string): Promise<Metafile> {
  const { metafile } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    treeShaking: true,
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  return metafile;
}

/** Links are followed by the bundler. */
function packageOf(path: string, folder: string): string {
  const under = [join(folder, 'node_modules'), resolve('node_modules')].find((root) =>
    path.startsWith(`${root}/`),
  );
  if (under === undefined) return path === resolve('<stdin>') ? 'writ' : path;
  return nameOfPackage(relative(under, path));
}

function nameOfPackage(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first.startsWith('@') ? `${first}/${second}` : first;
}

test('what the verifier imports, in turn, is no Fastify, no database and nothing of Node', async () => {
  const { metafile } = await build({
    entryPoints: ['src/verify.ts'],
    bundle: true,
    format: 'esm',
    packages: 'external',
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const files = Object.keys(metafile.inputs);
  assert.ok(files.length > 10);
  assert.deepEqual(
    files.filter((path) => !/^src\/(verify\.ts|verify\/|domain\/|errors\.ts)/.test(path)),
    [],
  );
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports);
  const packages = imports.filter(({ external }) => external === true).map(({ path }) => nameOfPackage(path));
  assert.deepEqual([...new Set(packages)].sort(), [...VERIFIER_PACKAGES]);
});

test('every package that the verifier needs is a dependency of exactly one version', async () => {
  const { dependencies } = JSON.parse(await readFile('package.json', 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of VERIFIER_PACKAGES) assert.match(dependencies[name] ?? '', /^\d+\.\d+\.\d+$/, name);
});

/** Every dependency comes from a registry; without one there is nothing to install from. */
async function registrySkip(): Promise<string | false> {
  const answers = await run('npm', ['ping', '--silent', '--fetch-retries=0', '--fetch-timeout=5000']).catch(
    () => undefined,
  );
  if (answers !== undefined) return false;
  if (process.env['REQUIRE_REGISTRY'] === '1')
    throw new Error('REQUIRE_REGISTRY=1, but no package registry answers');
  return 'no package registry answers';
}

test('npm installs the tarball in an empty folder', {
  skip: await registrySkip(),
}, async (t: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'writ-install-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const tarball = await packWrit(folder);
  await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}');
  // No scripts: what they build is the server's, and the verifier must do without.
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--omit=dev', '--prefer-offline'];
  await run('npm', ['install', ...flags, tarball], { cwd: folder });
  assert.ok((await readdir(join(folder, 'node_modules'))).includes('writ'));
  const program =
    "const { createVerifier } = await import('writ/verify'); console.log(typeof createVerifier)";
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: folder });
  assert.equal(stdout.trim(), 'function');
});
