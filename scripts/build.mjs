/**
 * `npm run build`: JavaScript and the template of the embedded database, both in `dist`. What has not changed since the
 * last build is not made again, and where nothing has, neither compiler nor database is started. Exit codes: 2 when
 * something has to be mended first, 1 when the sources do not compile.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const INPUTS = [
  'src',
  'migrations',
  'scripts/build.mjs',
  'tsconfig.json',
  'tsconfig.build.json',
  'package.json',
];
const OUTPUTS = ['dist/server.js', 'dist/cli.js', 'dist/embedded-template.br'];
/** Holds the hash of the inputs that the rest of `dist` was made from. */
const RECORD = 'dist/.build-inputs';

process.chdir(ROOT);
const inputs = hashInputs();
if (readIfPresent(RECORD) !== inputs || !OUTPUTS.every(existsSync)) {
  // What is there from now on may be half of one build and half of another.
  rmSync(RECORD, { force: true });
  compile();
  await makeTemplate();
  writeFileSync(RECORD, inputs);
}

/** Of contents: a fresh clone and a touched file differ in times alone. */
function hashInputs() {
  const files = INPUTS.flatMap((input) =>
    /\.\w+$/.test(input)
      ? [input]
      : readdirSync(input, { recursive: true, withFileTypes: true })
          .filter((item) => item.isFile())
          .map((item) => join(item.parentPath, item.name)),
  ).sort();
  const hash = createHash('sha256');
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${file} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

function compile() {
  const compiler = findCompiler();
  if (compiler === undefined) {
    console.error(
      'The build needs the development dependencies, and this installation has none: run `npm ci`, then `npm run build`, and `npm prune --omit=dev` to remove them again.',
    );
    process.exit(2);
  }
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    stdio: 'inherit',
  });
  if (status !== 0) process.exit(1);
}

function findCompiler() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  } catch {
    return undefined;
  }
}

async function makeTemplate() {
  const { makeEmbeddedTemplate } = await import(
    pathToFileURL(resolve('dist/storage/engine/embedded.js')).href
  );
  const scratch = mkdtempSync(join(tmpdir(), 'writ-template-'));
  try {
    await makeEmbeddedTemplate(resolve('dist/embedded-template.br'), scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function readIfPresent(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
