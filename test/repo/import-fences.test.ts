/**
 * Guarantees that the import table of the house holds: lint refuses what a room may not import and accepts what it
 * may. The proof lints planted files under a copy of the configuration; the working tree stays as it is.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';

const BIOME = resolve('node_modules/@biomejs/biome/bin/biome');
const IMPORTS = 'lint/style/noRestrictedImports';

/** What each room may import, and a choice of what it may not. */
const ROOMS = {
  domain: {
    permitted: '../errors.ts ./x.ts @noble/hashes/sha2.js @noble/ed25519 picomatch ipaddr.js',
    forbidden:
      '../use-cases/ports.ts ../storage/x.ts ../keys/x.ts ../http/x.ts ../jobs/x.ts node:crypto crypto pg',
  },
  'use-cases': {
    permitted: '../errors.ts ./ports.ts ../domain/x.ts',
    forbidden: '../storage/x.ts ../keys/x.ts ../http/x.ts ../jobs/x.ts uuidv7 node:crypto pg',
  },
  keys: {
    permitted:
      '../errors.ts ./x.ts ../domain/x.ts ../use-cases/ports.ts bcrypt node:crypto node:worker_threads',
    forbidden: '../use-cases/x.ts ../storage/x.ts ../http/x.ts ../jobs/x.ts pg node:fs',
  },
  storage: {
    permitted:
      '../errors.ts ./x.ts ../domain/x.ts ../use-cases/ports.ts pg drizzle-orm drizzle-orm/pg-core ' +
      '@electric-sql/pglite node:fs node:fs/promises node:path node:url',
    forbidden: '../use-cases/x.ts ../keys/x.ts ../http/x.ts ../jobs/x.ts fastify bcrypt node:crypto',
  },
  http: {
    permitted:
      '../errors.ts ./x.ts ../domain/x.ts ../use-cases/x.ts fastify @fastify/rate-limit typebox typebox/value ' +
      'ioredis node:http node:net',
    forbidden: '../storage/x.ts ../keys/x.ts ../jobs/x.ts pg drizzle-orm bcrypt node:crypto node:fs',
  },
  jobs: {
    permitted: '../errors.ts ./x.ts ../use-cases/x.ts',
    forbidden: '../domain/x.ts ../storage/x.ts ../keys/x.ts ../http/x.ts pg node:crypto',
  },
};
const FORBIDDEN_EVERYWHERE = 'left-pad pino node:child_process ../app.ts ../config.ts ../../test/x.ts ..';

test('a room may not import what the table does not name', async (t) => {
  const planted = plantImports(([, room]) => `${room.forbidden} ${FORBIDDEN_EVERYWHERE}`);
  assert.deepEqual(await refusals(t, planted), refusedBy(IMPORTS, planted));
});

test('a room may import everything that the table names', async (t) => {
  const planted = plantImports(([, room]) => room.permitted);
  assert.deepEqual(await refusals(t, planted), {});
});

test('a fence cannot be walked around', async (t) => {
  const planted = {
    'src/domain/dot.ts': "export * from '../storage/x.ts';",
    'src/domain/inner.ts': "export * from '../storage/x.ts';",
    'src/domain/through-a-file.ts': "export * from '../storage/x.ts';",
    'src/domain/through-a-package.ts': "export * from '@noble/hashes/../../pg';",
    'src/domain/inner/deeper.ts': "export * from '../../storage/x.ts';",
    'src/domain/type.ts': "import type { Pool } from 'pg';\nexport type P = Pool;",
    'src/domain/dynamic.ts': "export const pg = () => import('pg');",
    'src/domain/effect.ts': "import 'pg';",
    'src/use-cases/through-a-room.ts': "export * from '../storage/x.ts';",
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

test('files may not import each other in a circle', async (t) => {
  const planted = {
    'src/domain/hen.ts': "import { egg } from './egg.ts';\nexport const hen = () => egg;",
    'src/domain/egg.ts': "import { hen } from './hen.ts';\nexport const egg = () => hen;",
  };
  assert.deepEqual(await refusals(t, planted), refusedBy('lint/suspicious/noImportCycles', planted));
});

test('http takes only types from the domain, keys and storage only types from the ports', async () => {
  const typesOnly = { http: '../domain/', keys: '../use-cases/', storage: '../use-cases/' };
  const values: string[] = [];
  for (const [room, from] of Object.entries(typesOnly)) {
    for (const file of await readdir(join('src', room))) {
      const statements = (await readFile(join('src', room, file), 'utf8')).split(';');
      for (const statement of statements.filter((text) => text.includes(`from '${from}`))) {
        if (!/^\s*(import|export) type\b/m.test(statement))
          values.push(`src/${room}/${file}: ${statement.trim()}`);
      }
    }
  }
  assert.deepEqual(values, []);
});

type Files = Readonly<Record<string, string>>;

/** One file for each import, so that no refusal can hide behind another. */
function plantImports(choose: (room: [string, { permitted: string; forbidden: string }]) => string): Files {
  const files = Object.entries(ROOMS).flatMap((room) =>
    choose(room)
      .split(' ')
      .map((specifier, index) => [`src/${room[0]}/planted-${index}.ts`, `export * from '${specifier}';`]),
  );
  return Object.fromEntries(files);
}

function refusedBy(rule: string, planted: Files): Record<string, string[]> {
  return Object.fromEntries(Object.keys(planted).map((path) => [path, [rule]]));
}

/** The rules that refuse each file as errors, under the configuration of this repository. */
async function refusals(t: TestContext, planted: Files): Promise<Record<string, string[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-fences-'));
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
