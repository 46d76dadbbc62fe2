/**
 * Guarantees that `src` keeps the import law of `docs/architecture.md`, and that each kind of breach would be found:
 * one of each is planted beside the real files, in memory.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { plain, readText, tableOf } from '../support/markdown.ts';
import { breachesOf, LAYERS } from './import-law.ts';
import { createImportReader, type SourceTexts } from './source-imports.ts';

const REAL = readSources();
const READER = createImportReader();
after(() => READER.close());
const REAL_IMPORTS = await READER.importsOf(REAL);
const REAL_BREACHES = new Set(breachesOf(REAL, REAL_IMPORTS));
const HEADER = '/** Planted. */\n';

test('every file of src keeps the law', () => {
  assert.ok(Object.keys(REAL).length > 150, 'the sources were found');
  assert.deepEqual([...REAL_BREACHES], []);
});

test('the law is the table of docs/architecture.md', () => {
  const rows = tableOf(readText('docs/architecture.md'), 'layer').map(([layer, imports = '']) => ({
    layer: plain(layer),
    imports,
  }));
  const above = rows
    .map(({ layer }) => layer)
    .slice(
      0,
      rows.findIndex(({ layer }) => layer === 'start'),
    );
  let earlier = ['errors', ...above];
  for (const { layer, imports } of rows) {
    const named = [...imports.matchAll(/`([\w-]+)`/g)].map((match) => match[1] ?? '');
    if (imports.includes('everything above')) earlier = [...earlier, ...named];
    const stated = imports.includes('everything above') ? earlier : named;
    assert.deepEqual([...(LAYERS[layer]?.imports ?? [])].sort(), [...stated].sort(), layer);
    assert.equal(LAYERS[layer]?.ports === true, imports.includes('ports (types)'), layer);
  }
  assert.deepEqual(
    Object.keys(LAYERS).filter((layer) => !rows.some((row) => row.layer === layer)),
    ['errors'],
  );
});

const FORBIDDEN: readonly [path: string, imported: string][] = [
  ['src/errors.ts', './domain/json/strict-json.ts'],
  ['src/domain/planted.ts', '../use-cases/ports.ts'],
  ['src/domain/planted.ts', '../storage/schema.ts'],
  ['src/domain/planted.ts', '../config.ts'],
  ['src/use-cases/planted.ts', '../keys/signing/key-ring.ts'],
  ['src/use-cases/planted.ts', '../storage/schema.ts'],
  ['src/use-cases/planted.ts', '../http/routing/route.ts'],
  ['src/use-cases/planted.ts', '../platform/ids.ts'],
  ['src/keys/planted.ts', '../storage/schema.ts'],
  ['src/keys/planted.ts', '../use-cases/retry-guarded-write.ts'],
  ['src/storage/planted.ts', '../keys/signing/key-ring.ts'],
  ['src/storage/planted.ts', '../http/routing/route.ts'],
  ['src/storage/planted.ts', '../use-cases/retry-guarded-write.ts'],
  ['src/http/planted.ts', '../storage/schema.ts'],
  ['src/http/planted.ts', '../keys/signing/key-ring.ts'],
  ['src/http/planted.ts', '../platform/log.ts'],
  ['src/platform/planted.ts', '../domain/json/strict-json.ts'],
  ['src/platform/planted.ts', '../use-cases/retry-guarded-write.ts'],
  ['src/platform/planted.ts', '../config.ts'],
  ['src/config.ts', './platform/log.ts'],
  ['src/start/planted.ts', '../app/build-app.ts'],
  ['src/start/planted.ts', '../commands/serve.ts'],
  ['src/app/planted.ts', '../commands/serve.ts'],
  ['src/app/planted.ts', '../server.ts'],
  ['src/commands/planted.ts', '../cli.ts'],
  ['src/server.ts', './commands/serve.ts'],
  ['src/verify.ts', './use-cases/ports.ts'],
  ['src/verify/planted.ts', '../storage/schema.ts'],
  ['src/verify/planted.ts', '../keys/signing/key-ring.ts'],
  ['src/http/planted.ts', '../verify.ts'],
  ['src/app/planted.ts', '../verify/ed25519-key.ts'],
];

test('an import that the table of layers does not name is found', async () => {
  for (const [path, imported] of FORBIDDEN) {
    const to = new URL(imported, `file:///${path}`).pathname.slice(1);
    assert.ok(REAL[to] !== undefined, `${to} exists`);
    const found = await plant({ [path]: `import type {} from '${imported}';` });
    assert.ok(found.includes(`layer: ${path} → ${to}`), `${path} may not import ${to}`);
  }
});

test('keys, storage and platform take the types of a port and no value', async () => {
  for (const layer of ['keys', 'storage', 'platform']) {
    const path = `src/${layer}/planted.ts`;
    for (const port of ['../use-cases/ports.ts', '../use-cases/audit/ports.ts']) {
      const to = port.replace('..', 'src');
      assert.deepEqual(await plant({ [path]: `export type * from '${port}';` }), []);
      for (const value of [`import { type X } from '${port}';`, `export * from '${port}';`]) {
        assert.deepEqual(await plant({ [path]: value }), [`value of a port: ${path} → ${to}`]);
      }
    }
  }
});

test('no way of naming a module passes unseen', async () => {
  const path = 'src/domain/planted.ts';
  const ways = [
    "import { x } from '../storage/schema.ts';",
    "import x from '../storage/schema.ts';",
    "import * as x from '../storage/schema.ts';",
    "import '../storage/schema.ts';",
    "import { type X } from '../storage/schema.ts';",
    "import type { X } from '../storage/schema.ts';",
    "import x = require('../storage/schema.ts');",
    "export * from '../storage/schema.ts';",
    "export * as x from '../storage/schema.ts';",
    "export { x } from '../storage/schema.ts';",
    "export type { X } from '../storage/schema.ts';",
    "export const x = () => import('../storage/schema.ts');",
    'export const x = () => import(`../storage/schema.ts`);',
    "export type X = import('../storage/schema.ts').X;",
    "export type X = typeof import('../storage/schema.ts');",
    "export const x = new URL('../storage/schema.ts', import.meta.url);",
    "export const x = new Worker(new URL('./../storage/schema.ts', import.meta.url));",
    "const at = '../storage/schema.ts';\nexport const x = () => require(at);",
    "declare module '../storage/schema.ts' {\n  export const x: 1;\n}",
    '/// <reference path="../storage/schema.ts" />',
    "import { x } from './/.././storage/../storage/schema.ts';",
  ];
  for (const way of ways) {
    assert.deepEqual(await plant({ [path]: way }), [`layer: ${path} → src/storage/schema.ts`], way);
  }
});

test('what is no import is taken for none', async () => {
  const harmless = [
    "// import '../storage/schema.ts';",
    "/* export * from '../storage/schema.ts'; */",
    'export const x = "import y from \'../storage/schema.ts\'";',
    "export const x = `see ../storage/schema.ts`;\nexport const y = /'..\\/storage\\/schema.ts'/;",
  ];
  for (const text of harmless) assert.deepEqual(await plant({ 'src/domain/planted.ts': text }), [], text);
});

test('a path that cannot be followed is found', async () => {
  const path = 'src/domain/planted.ts';
  const found = (text: string) => plant({ [path]: text });
  for (const specifier of ['./no-such-file.ts', './scopes/scope', './scopes/scope.js', '../../test/x.ts']) {
    assert.deepEqual(await found(`import '${specifier}';`), [`no such file in src: ${path} → ${specifier}`]);
  }
  for (const specifier of [
    '/src/storage/schema.ts',
    'file:///src/storage/schema.ts',
    '#storage',
    '..',
    'writ/x',
    '@noble/hashes/../../pg',
  ]) {
    assert.deepEqual(await found(`import '${specifier}';`), [
      `no package and no relative path: ${path} → ${specifier}`,
    ]);
  }
  for (const text of [
    'export const x = (at: string) => import(at);',
    'export const x = (y: 1) => import(`./$' + '{y}.ts`);',
  ]) {
    assert.deepEqual(await found(text), [`computed import: ${path}`]);
  }
});

test('an import against the order of the subjects is found in every layer', async () => {
  const against: Record<string, string> = {
    'src/use-cases/audit/planted.ts': '../authentication/ports.ts',
    'src/use-cases/authentication/planted.ts': '../principals/ports.ts',
    'src/use-cases/principals/planted.ts': '../secrets/ports.ts',
    'src/use-cases/secrets/planted.ts': '../intent-tokens/ports.ts',
    'src/use-cases/intent-tokens/planted.ts': '../scoped-tokens/ports.ts',
    'src/use-cases/scoped-tokens/planted.ts': '../approvals/ports.ts',
    'src/storage/audit/planted.ts': '../principals/agent-lock.ts',
    'src/storage/scoped-tokens/planted.ts': '../approvals/approval-store.ts',
    'src/domain/secrets/planted.ts': '../approvals/approval-decision.ts',
    'src/http/routes/secret-planted.ts': './scoped-token-routes.ts',
    'src/http/routes/audit-planted.ts': './approval-routes.ts',
  };
  for (const [path, imported] of Object.entries(against)) {
    const to = new URL(imported, `file:///${path}`).pathname.slice(1);
    assert.ok(REAL[to] !== undefined, `${to} exists`);
    const found = await plant({ [path]: `import type {} from '${imported}';` });
    assert.ok(found.includes(`subject: ${path} → ${to}`), `${path} may not import ${to}`);
  }
});

test('a circle of files is found, also one of types', async () => {
  const hen = { 'src/domain/json/hen.ts': "import type { Egg } from './egg.ts';" };
  assert.deepEqual(await plant({ ...hen, 'src/domain/json/egg.ts': "export type * from './hen.ts';" }), [
    'circle of files: src/domain/json/egg.ts, src/domain/json/hen.ts',
  ]);
  assert.deepEqual(await plant({ 'src/domain/json/self.ts': "import './self.ts';" }), [
    'circle of files: src/domain/json/self.ts',
  ]);
});

test('a circle of folders is found where no file is in one', async () => {
  const found = await plant({ 'src/domain/json/planted.ts': "import type {} from '../formats/rfc3339.ts';" });
  assert.deepEqual(found, ['circle of folders: src/domain/formats, src/domain/json']);
});

test('a file in no layer, of no resource, of a taken name, too long or without a header is found', async () => {
  assert.deepEqual(await plant({ 'src/helpers/planted.ts': '' }), ['no layer: src/helpers/planted.ts']);
  assert.deepEqual(await plant({ 'src/planted.ts': '' }), ['no layer: src/planted.ts']);
  assert.deepEqual(await plant({ 'src/http/routes/planted.ts': '' }), [
    'no resource: src/http/routes/planted.ts',
  ]);
  assert.deepEqual(await plant({ 'src/http/server/health-routes.ts': '' }), [
    'same name: src/http/routes/health-routes.ts, src/http/server/health-routes.ts',
  ]);
  assert.deepEqual(await plant({ 'src/domain/planted.ts': '//\n'.repeat(250) }), [
    'over 250 lines: src/domain/planted.ts',
  ]);
  const bare = { ...REAL, 'src/domain/planted.ts': 'export const x = 1;\n' };
  assert.deepEqual(added(breachesOf(bare, REAL_IMPORTS)), ['no header comment: src/domain/planted.ts']);
  const long = Object.fromEntries(Object.keys(REAL).map((path) => [path, `${HEADER}${'//\n'.repeat(150)}`]));
  assert.deepEqual(added(breachesOf(long, REAL_IMPORTS)), ['too few files under 150 lines']);
});

/** What these files break beside the real ones. */
async function plant(files: Readonly<Record<string, string>>): Promise<string[]> {
  const texts = Object.fromEntries(Object.entries(files).map(([path, text]) => [path, HEADER + text]));
  const imports = new Map([...REAL_IMPORTS, ...(await READER.importsOf(texts))]);
  return added(breachesOf({ ...REAL, ...texts }, imports));
}

function added(breaches: readonly string[]): string[] {
  return breaches.filter((breach) => !REAL_BREACHES.has(breach));
}

function readSources(): SourceTexts {
  const names = readdirSync('src', { recursive: true, encoding: 'utf8' }).map((name) =>
    name.replaceAll('\\', '/'),
  );
  const paths = names.filter((name) => name.endsWith('.ts')).map((name) => `src/${name}`);
  return Object.fromEntries(paths.map((path) => [path, readFileSync(path, 'utf8')]));
}
