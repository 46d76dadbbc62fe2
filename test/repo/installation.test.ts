/**
 * Guarantees the ways to run Writ without Docker, in a copy of what a clone holds: an installation without development
 * dependencies, as docs/operating.md describes it, and the package that `npm pack` makes, installed elsewhere.
 * Packages come from npm's cache where it has them.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { onlyInFullRun } from '../support/effort.ts';
import { fencesOf, readText } from '../support/markdown.ts';
import { addressOf, startNode } from '../support/processes.ts';

const CLONED = [
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'],
  ...['LICENSE', 'README.md', 'scripts', 'src', 'migrations'],
];
const QUIET = ['--prefer-offline', '--no-audit', '--no-fund', '--no-update-notifier'];
const execute = promisify(execFile);

/** `package.json` calls npm within npm, so what it is told is told by the environment. */
async function npm(cwd: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return execute('npm', [...args, ...QUIET], { cwd, env: environment(), maxBuffer: 2 ** 26 });
}

function environment(): NodeJS.ProcessEnv {
  const { NODE_ENV: _, ...env } = process.env;
  return env;
}

async function aFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-test-installation-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts it on an embedded database of its own, and issues a token with the key that it prints. */
async function issuesAToken(t: TestContext, args: readonly string[], cwd: string): Promise<void> {
  const started = await startNode(t, args, { DATA_DIR: join(await aFolder(t), 'data'), PORT: '0' }, { cwd });
  const url = await addressOf(started);
  const [key = ''] = /ak_live_[0-9a-f]{64}/.exec(started.stdout()) ?? [];
  const answer = await fetch(`${url}/token/issue`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: '{"plan":{"goal":"look","steps":[{"action":"get_weather","mcp":"weather-mcp"}]}}',
  });
  assert.equal(answer.status, 200, await answer.text());
  assert.equal(await started.stop(), 0, started.stderr());
}

test('Writ runs without Docker and without development dependencies', { skip: onlyInFullRun }, async (t) => {
  const folder = await aFolder(t);
  const clone = join(folder, 'clone');
  await mkdir(clone);
  for (const path of CLONED) await cp(path, join(clone, path), { recursive: true });

  await t.test('a start that cannot build says so in one sentence and exits with 2', async () => {
    await npm(clone, 'ci', '--omit=dev');
    const start = spawnSync('npm', ['start', '--silent'], {
      cwd: clone,
      env: environment(),
      encoding: 'utf8',
    });
    assert.equal(start.status, 2);
    assert.match(start.stderr, /^The build needs the development dependencies[^\n]*\n$/);
  });

  await t.test('the packages are installed without a warning of an engine', async () => {
    const { stderr } = await npm(clone, 'ci');
    assert.doesNotMatch(stderr, /EBADENGINE/);
  });

  await t.test('the package holds what runs and what is read, and nothing of the build', async () => {
    const { stdout } = await npm(clone, 'pack', '--json', '--pack-destination', folder);
    const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as { files: { path: string }[] }[];
    const paths = (packed?.files ?? []).map(({ path }) => path);
    for (const path of [
      'dist/cli.js',
      'dist/server.js',
      'dist/embedded-template.br',
      'migrations/meta/_journal.json',
    ]) {
      assert.ok(paths.includes(path), path);
    }
    const expected =
      /^(dist\/[\w/-]+\.(js|js\.map|d\.ts)|dist\/embedded-template\.br|migrations\/[\w/]+\.(sql|json)|LICENSE|README\.md|package\.json)$/;
    assert.deepEqual(
      paths.filter((path) => !expected.test(path)),
      [],
    );
  });

  await t.test('the package serves from where it is installed', async (t) => {
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, 'package.json'), '{"private":true}');
    await npm(elsewhere, 'install', join(folder, `writ-${versionOf(clone)}.tgz`));
    const help = await execute('npx', ['--no-install', 'writ', '--help'], {
      cwd: elsewhere,
      env: environment(),
    });
    assert.match(help.stdout, /^Usage: writ /);
    await issuesAToken(t, ['node_modules/.bin/writ', 'serve'], elsewhere);
  });

  await t.test('the commands of docs/operating.md leave a server that runs', async (t) => {
    const [commands = ''] = fencesOf(readText('docs/operating.md'), 'sh').filter((fence) =>
      /npm prune/.test(fence),
    );
    const lines = commands.trim().split('\n');
    assert.equal(lines.pop(), 'node dist/server.js');
    assert.deepEqual(lines, ['npm ci', 'npm run build', 'npm prune --omit=dev']);
    for (const line of lines) await npm(clone, ...line.split(' ').slice(1));
    assert.ok(!existsSync(join(clone, 'node_modules/typescript')));
    // The SDK of AWS is the operator's to bring.
    const aws = await startNode(
      t,
      ['dist/server.js'],
      { DATA_DIR: join(await aFolder(t), 'data'), PORT: '0', MASTER_KEY_KMS: 'aws:alias/writ' },
      { cwd: clone },
    );
    assert.equal(await aws.ended, 2);
    assert.match(
      aws.stderr(),
      /^ {2}- aws:alias\/writ is a key of AWS, and the package \S+ is not installed\./m,
    );
    await issuesAToken(t, ['dist/server.js'], clone);
    // What is built is not built again, so `npm start` needs no compiler either.
    await npm(clone, 'run', 'build');
  });
});

function versionOf(clone: string): string {
  return (JSON.parse(readText(join(clone, 'package.json'))) as { version: string }).version;
}
