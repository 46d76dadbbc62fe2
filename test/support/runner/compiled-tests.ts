/**
 * Guarantees that a run tests the sources as they were when it began, compiled once: every process of the run loads
 * JavaScript from a folder of the run's own, whose source maps lead back to the lines of the sources. Types are not
 * checked here; `npm run typecheck` does that.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundlePrograms } from './bundled-programs.ts';

/** In the repository, so that packages are found from there; ignored by git. */
const PARENT = '.test-build';
/** What sources and tests read by a path relative to themselves. */
const READ_FROM_THERE = ['package.json', 'migrations', 'docs', 'test/vectors'];

export interface CompiledTests {
  readonly folder: string;
  /** The JavaScript of a TypeScript file of this repository. */
  compiled(source: string): string;
  remove(): Promise<void>;
}

/** Throws where a file is not TypeScript at all; what the compiler says of it is on standard output. */
export async function compileTests({ isFull }: { isFull: boolean }): Promise<CompiledTests> {
  await removeLeftBehind();
  const folder = join(PARENT, String(process.pid));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    await runCompiler(['-p', 'tsconfig.test.json', '--outDir', folder]);
    for (const path of READ_FROM_THERE) await link(path, join(folder, path));
    await linkTemplate(folder);
    await makePrograms(folder, isFull);
  } catch (error) {
    await remove();
    throw error;
  }
  const compiled = (source: string) => join(folder, relative('.', source).replace(/\.ts$/, '.js'));
  return { folder, compiled, remove };
}

/** The file of the build, so that neither makes it again; these sources say whether it fits. */
async function linkTemplate(folder: string): Promise<void> {
  const template = resolve('dist/embedded-template.br');
  const scratch = resolve(folder, 'template');
  await mkdir(dirname(template), { recursive: true });
  await mkdir(scratch);
  const engine = pathToFileURL(resolve(folder, 'src/storage/engine/embedded.js')).href;
  const { makeEmbeddedTemplate } = (await import(
    engine
  )) as typeof import('../../../src/storage/engine/embedded.ts');
  await makeEmbeddedTemplate(template, scratch);
  await link(template, join(folder, 'src/embedded-template.br'));
}

/** What a test starts as the built program: these sources, file by file in a full run. */
async function makePrograms(folder: string, isFull: boolean): Promise<void> {
  const [sources, programs] = [join(folder, 'src'), join(folder, 'dist')];
  if (isFull) return link(sources, programs);
  const loader = relative(programs, join(folder, 'test/support/runner/load-programs.js'));
  await bundlePrograms(sources, programs, loader);
  await link(resolve('dist/embedded-template.br'), join(programs, 'embedded-template.br'));
}

async function runCompiler(args: readonly string[]): Promise<void> {
  const compiler = join(
    dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
    'bin/tsc',
  );
  const child = spawn(process.execPath, [compiler, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the tests cannot be compiled: tsc ended with ${code}`);
}

async function link(path: string, at: string): Promise<void> {
  await mkdir(dirname(at), { recursive: true });
  // The compiler copies what is imported, which may not be all of it.
  await rm(at, { recursive: true, force: true });
  await symlink(relative(dirname(resolve(at)), resolve(path)), at);
}

/** A run that was killed could not remove its folder; one whose process lives is still going on. */
async function removeLeftBehind(): Promise<void> {
  for (const name of await readdir(PARENT).catch(() => [])) {
    if (!isRunning(Number(name))) await rm(join(PARENT, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return Number.isInteger(pid) && process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is one all the same.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
