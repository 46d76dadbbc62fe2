/**
 * Guarantees an otherwise empty folder in which the packed package is installed as `npm install` lays it out, with only
 * those packages beside it that its verifier needs. Nothing is fetched.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';

export const run = promisify(execFile);

/** Of the package's dependencies, those that `writ/verify` imports. */
export const VERIFIER_PACKAGES = ['@noble/ed25519', '@noble/hashes', 'ipaddr.js'] as const;

/** The path of the tarball that `npm pack` makes of the sources as they are. */
export async function packWrit(folder: string): Promise<string> {
  // A copy, built by itself: other tests run what is in dist/ at this moment.
  const copy = join(folder, 'sources');
  await mkdir(copy);
  for (const name of ['package.json', 'README.md', 'LICENSE', 'migrations']) {
    await cp(name, join(copy, name), { recursive: true });
  }
  const output = ['--outDir', join(copy, 'dist'), '--incremental', 'false', '--tsBuildInfoFile', 'null'];
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', ...output]);
  await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: copy });
  await rm(copy, { recursive: true });
  const [tarball, ...others] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  if (tarball === undefined || others.length > 0) throw new Error('npm pack makes one tarball');
  return join(folder, tarball);
}

/** The folder; it is removed after the test. */
export async function installPacked(t: Pick<TestContext, 'after'>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'writ-package-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const tarball = await packWrit(folder);
  const target = join(folder, 'node_modules/writ');
  await mkdir(target, { recursive: true });
  await run('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
  for (const name of VERIFIER_PACKAGES) {
    const link = join(folder, 'node_modules', name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(resolve('node_modules', name), link);
  }
  await writeFile(join(folder, 'package.json'), '{"name":"tool-server","private":true,"type":"module"}');
  return folder;
}
