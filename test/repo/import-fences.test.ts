/**
 * Guarantees that lint keeps packages and globals where `docs/architecture.md` lets them be: it refuses what a layer may
 * not import and accepts what it may. Paths between files are the import law's. The proof lints planted files under a
 * copy of the configuration; the working tree stays as it is.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { plain, readText, tableOf } from '../support/markdown.ts';

const BIOME = resolve('node_modules/@biomejs/biome/bin/biome');
const IMPORTS = 'lint/style/noRestrictedImports';

/** Packages that each layer may import, and a choice of those that it may not. */
const LAYERS = {
  domain: {
    permitted: '@noble/hashes/sha2.js @noble/ed25519 ipaddr.js',
    forbidden: 'node:crypto crypto node:fs uuidv7 pg fastify typebox bcrypt picomatch',
  },
  'use-cases': {
    permitted: '',
    forbidden: 'uuidv7 node:crypto pg @noble/hashes/sha2.js picomatch fastify typebox bcrypt lru-cache',
  },
  verify: {
    permitted: '',
    forbidden: 'node:crypto crypto node:fs jose pg fastify @noble/hashes/sha2.js @noble/ed25519 ipaddr.js',
  },
  keys: {
    permitted: '@aws-sdk/client-kms bcrypt node:crypto node:worker_threads',
    forbidden: 'pg node:fs fastify uuidv7 lru-cache @noble/ed25519',
  },
  storage: {
    permitted:
      'pg drizzle-orm drizzle-orm/pg-core @electric-sql/pglite node:fs node:fs/promises node:net node:path node:url node:zlib',
    forbidden: 'fastify bcrypt node:crypto uuidv7 typebox',
  },
  http: {
    permitted: 'fastify @fastify/rate-limit typebox typebox/value node:http node:net',
    forbidden: 'pg drizzle-orm bcrypt node:crypto node:fs picomatch uuidv7',
  },
  platform: {
    permitted: 'pino lru-cache standardwebhooks uuidv7 prom-client node:module node:crypto',
    forbidden: 'pg fastify bcrypt node:fs typebox',
  },
};
const FORBIDDEN_EVERYWHERE = 'left-pad node:child_process dotenv ..';
const RELATIVE = './x.ts ../errors.ts ../storage/x.ts ../../test/x.ts';

test('a layer may not import a package that the table does not name', async (t) => {
  const planted = plantImports(({ forbidden }) => `${forbidden} ${FORBIDDEN_EVERYWHERE}`);
  assert.deepEqual(await refusals(t, planted), refusedBy(IMPORTS, planted));
});

test('a layer may import every package that the table names, and lint says nothing of paths', async (t) => {
  const planted = plantImports(({ permitted }) => `${permitted} ${RELATIVE}`.trim());
  assert.deepEqual(await refusals(t, planted), {});
});

test('no way of naming a package passes unseen', async (t) => {
  const planted = {
    'src/domain/inner/deeper.ts': "export * from 'pg';",
    'src/domain/type.ts': "import type { Pool } from 'pg';\nexport type P = Pool;",
    'src/domain/dynamic.ts': "export const pg = () => import('pg');",
    'src/domain/effect.ts': "import 'pg';",
    'src/use-cases/inner/deeper.ts': "export * from 'pg';",
  };
  assert.deepEqual(await refusals(t, planted), refusedBy(IMPORTS, planted));
});

test('the domain has no clock, no randomness, no I/O and nothing that a browser lacks', async (t) => {
  const globals =
    'Date process fetch crypto Buffer performance setTimeout setInterval console globalThis'.split(' ');
  const planted = Object.fromEntries(
    globals.map((name) => [`src/domain/uses-${name}.ts`, `export const used = () => ${name};`]),
  );
  assert.deepEqual(await refusals(t, planted), refusedBy('lint/style/noRestrictedGlobals', planted));

  const random = { 'src/domain/random.ts': 'export const roll = () => Math.random();' };
  assert.deepEqual(await refusals(t, random), refusedBy('lint/nursery/noJsRestrictedProperties', random));

  const elsewhere = {
    'src/keys/now.ts': 'export const now = () => [Date.now(), Math.random(), Math.max(1, 2)];',
  };
  const arithmetic = { 'src/domain/larger.ts': 'export const larger = () => Math.max(1, 2);' };
  assert.deepEqual(await refusals(t, { ...elsewhere, ...arithmetic }), {});
});

test('the library for verifiers has nothing that a browser or a worker lacks', async (t) => {
  const globals = 'process Buffer require global window document globalThis console'.split(' ');
  const planted = Object.fromEntries([
    ...globals.map((name) => [`src/verify/uses-${name}.ts`, `export const used = () => ${name};`]),
    ['src/verify.ts', 'export const used = () => process;'],
  ]);
  assert.deepEqual(await refusals(t, planted), refusedBy('lint/style/noRestrictedGlobals', planted));
  const harmless = {
    'src/verify/asks.ts': 'export const x = () => [fetch, crypto, performance, Date, AbortSignal, URL];',
  };
  assert.deepEqual(await refusals(t, harmless), {});
});

test('files may not import each other in a circle', async (t) => {
  const planted = {
    'src/domain/hen.ts': "import { egg } from './egg.ts';\nexport const hen = () => egg;",
    'src/domain/egg.ts': "import { hen } from './hen.ts';\nexport const egg = () => hen;",
  };
  assert.deepEqual(await refusals(t, planted), refusedBy('lint/suspicious/noImportCycles', planted));
});

test('the table of docs/architecture.md names the packages that lint lets in', async () => {
  const { overrides } = JSON.parse(await readFile('biome.json', 'utf8')) as { overrides: Override[] };
  const rows = new Map(
    tableOf(readText('docs/architecture.md'), 'layer').map((row) => [plain(row[0]), row[2] ?? '']),
  );
  for (const layer of Object.keys(LAYERS)) {
    const { linter } =
      overrides.find(({ includes }) => includes.includes(`src/${layer}/**`)) ?? assert.fail(layer);
    const group = linter.rules.style.noRestrictedImports.options.patterns[0]?.group ?? [];
    const permitted = group.filter((glob) => /^!(?!\.)/.test(glob)).map((glob) => glob.slice(1));
    const named = [...(rows.get(layer) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    // What lies inside a package that is let in, is let in with it.
    const whole = permitted.filter(
      (name) => !/\/\*\*$|^node:fs\/promises$/.test(name) || name === '@fastify/**',
    );
    assert.deepEqual(
      [...new Set(named.map((name) => name.replace(/^@fastify\/.*/, '@fastify/**')))].sort(),
      whole.sort(),
      layer,
    );
  }
});

interface Override {
  readonly includes: readonly string[];
  readonly linter: {
    readonly rules: {
      readonly style: {
        readonly noRestrictedImports: {
          readonly options: { readonly patterns: readonly { readonly group: readonly string[] }[] };
        };
      };
    };
  };
}

type Files = Readonly<Record<string, string>>;

/** One file for each import, so that no refusal can hide behind another. */
function plantImports(choose: (layer: { permitted: string; forbidden: string }) => string): Files {
  const files = Object.entries(LAYERS).flatMap(([name, layer]) =>
    choose(layer)
      .split(' ')
      .map((specifier, index) => [`src/${name}/planted-${index}.ts`, `export * from '${specifier}';`]),
  );
  return Object.fromEntries(files);
}

function refusedBy(rule: string, planted: Files): Record<string, string[]> {
  return Object.fromEntries(Object.keys(planted).map((path) => [path, [rule]]));
}

/** The rules that refuse each file as errors, under the configuration of this repository. */
async function refusals(t: TestContext, planted: Files): Promise<Record<string, string[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-lint-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const file of ['biome.json', '.gitignore', 'package.json']) await cp(file, join(folder, file));
  for (const [path, text] of Object.entries(planted)) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), `${text}\n`);
  }
  const args = [
    BIOME,
    'lint',
    '--reporter=json',
    '--max-diagnostics=none',
    '--diagnostic-level=error',
    'src',
  ];
  const printed = await new Promise<string>((done) => {
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 1024 ** 3 }, (_error, stdout) => done(stdout));
  });
  const report = JSON.parse(printed) as { diagnostics: { category: string; location: { path: string } }[] };
  const rules: Record<string, string[]> = {};
  for (const { category, location } of report.diagnostics) {
    rules[location.path] = [...(rules[location.path] ?? []), category];
  }
  return rules;
}
