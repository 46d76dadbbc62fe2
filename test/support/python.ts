/**
 * Guarantees a virtual environment of Python with the packages of a list beside this file. It is made once and kept
 * beside the packages of this repository, which `npm ci` removes; without Python, or a package index, the tests that
 * need it are skipped, and with REQUIRE_PYTHON=1 that is a failure.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = resolve('node_modules/.cache');
/** For what never comes: a package index may be slow, and so may a busy machine. */
const TIMEOUT_MS = 300_000;

export type PythonEnvironment =
  | { readonly ok: true; readonly python: string }
  /** As the `skip` of a test. */
  | { readonly ok: false; readonly reason: string };

export async function pythonEnvironment(
  requirements:
    | 'python-requirements.txt'
    | 'python-gateway-requirements.txt'
    | 'python-client-requirements.txt' = 'python-requirements.txt',
): Promise<PythonEnvironment> {
  try {
    return { ok: true, python: await makeEnvironment(resolve('test/support', requirements)) };
  } catch (error) {
    const reason = `there is no Python with the packages of the tests: ${error instanceof Error ? error.message : error}`;
    if (process.env['REQUIRE_PYTHON'] === '1') throw new Error(reason, { cause: error });
    return { ok: false, reason };
  }
}

async function makeEnvironment(requirements: string): Promise<string> {
  const name = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 16);
  const target = join(CACHE, `python-${name}`);
  const python = join(target, 'bin/python');
  if (existsSync(python)) return python;
  await mkdir(CACHE, { recursive: true });
  // Made aside and moved when whole, so that test files beside each other never meet half of it.
  const folder = await mkdtemp(join(CACHE, 'python-making-'));
  try {
    await run('python3', ['-m', 'venv', folder], { timeout: TIMEOUT_MS });
    const flags = ['--quiet', '--no-compile', '--no-input', '--disable-pip-version-check', '--no-deps'];
    const install = ['-m', 'pip', 'install', ...flags, '--requirement', requirements];
    await run(join(folder, 'bin/python'), install, { timeout: TIMEOUT_MS });
    await rename(folder, target).catch((error: unknown) => {
      if (!existsSync(python)) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return python;
}
