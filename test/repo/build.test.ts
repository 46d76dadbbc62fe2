/**
 * Guarantees that `npm run build` makes what has changed and nothing else, never takes half a build for a whole one,
 * and says what is missing where the compiler is. Compiler and database are stand-ins that put their calls on record.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, cp, mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const COMPILER = `
const { appendFileSync, existsSync, mkdirSync, writeFileSync } = require('node:fs');
appendFileSync('calls', 'compiler ');
if (existsSync('broken')) process.exit(2);
mkdirSync('dist/storage/engine', { recursive: true });
for (const name of ['server', 'cli']) writeFileSync('dist/' + name + '.js', '');
writeFileSync('dist/storage/engine/embedded.js', ${JSON.stringify(`
import { appendFileSync, writeFileSync } from 'node:fs';
export async function makeEmbeddedTemplate(file) {
  appendFileSync('calls', 'template ');
  writeFileSync(file, '');
}`)});
`;

async function aProject(t: TestContext, { compiler }: { compiler: boolean } = { compiler: true }) {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-build-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const path of ['src', 'migrations', 'scripts', 'node_modules/typescript/bin']) {
    await mkdir(join(folder, path), { recursive: true });
  }
  await cp('scripts/build.mjs', join(folder, 'scripts/build.mjs'));
  for (const path of ['src/server.ts', 'migrations/0000.sql', 'tsconfig.json', 'tsconfig.build.json']) {
    await writeFile(join(folder, path), '');
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  if (compiler) {
    await writeFile(join(folder, 'node_modules/typescript/package.json'), '{"version":"0.0.0"}');
    await writeFile(join(folder, 'node_modules/typescript/bin/tsc'), COMPILER);
  }
  const calls = (): string =>
    existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8') : '';
  const build = () => spawnSync(process.execPath, [join(folder, 'scripts/build.mjs')], { encoding: 'utf8' });
  return { folder, calls, build };
}

test('a build with nothing to do starts neither compiler nor database', async (t) => {
  const { folder, calls, build } = await aProject(t);
  assert.equal(build().status, 0);
  assert.equal(calls(), 'compiler template ');
  await utimes(join(folder, 'src/server.ts'), new Date(), new Date());
  assert.equal(build().status, 0);
  assert.equal(calls(), 'compiler template ');
});

test('a change of anything that goes into it is built', async (t) => {
  const { folder, calls, build } = await aProject(t);
  build();
  const paths = ['src/server.ts', 'src/new.ts', 'migrations/0000.sql', 'tsconfig.json', 'package.json'];
  for (const [index, path] of paths.entries()) {
    await appendFile(join(folder, path), '\n');
    assert.equal(build().status, 0, path);
    assert.equal(calls(), 'compiler template '.repeat(2 + index), path);
  }
});

test('an output that is gone is made again', async (t) => {
  const { folder, calls, build } = await aProject(t);
  build();
  await rm(join(folder, 'dist/embedded-template.br'));
  assert.equal(build().status, 0);
  assert.equal(calls(), 'compiler template '.repeat(2));
});

test('a build that failed is not taken for one that is done, even when the change is undone', async (t) => {
  const { folder, calls, build } = await aProject(t);
  build();
  await writeFile(join(folder, 'broken'), '');
  await writeFile(join(folder, 'src/server.ts'), 'x');
  assert.equal(build().status, 1);
  assert.equal(build().status, 1);
  await writeFile(join(folder, 'src/server.ts'), '');
  await rm(join(folder, 'broken'));
  assert.equal(build().status, 0);
  assert.equal(calls(), 'compiler template compiler compiler compiler template ');
});

test('without a compiler the build says in one sentence what to do, and exits with 2', async (t) => {
  const { build } = await aProject(t, { compiler: false });
  const { status, stdout, stderr } = build();
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^The build needs the development dependencies[^\n]*`npm ci`[^\n]*\n$/);
});
