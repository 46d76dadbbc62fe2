/**
 * Loads the programs of a short run with what V8 has made of them before: the first process that ends leaves the
 * functions that it has compiled to those that come after it, for which that is half of their start.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { constants, Script } from 'node:vm';
import type { run } from '../../../src/commands/run.ts';

interface Programs {
  /** Starts the server if the process was started as one. */
  readonly serve: () => Promise<unknown>;
  readonly run: typeof run;
}

type Wrapped = (
  require: NodeJS.Require,
  module: { exports: unknown },
  meta: Pick<ImportMeta, 'url' | 'resolve'>,
) => void;

/** `program`: whose functions are left and taken; a command has other ones than the server. */
export function loadPrograms(url: URL, program: string): Programs {
  const file = fileURLToPath(url);
  const left = `${file}.${program}`;
  const cachedData = existsSync(left) ? readFileSync(left) : undefined;
  const script = new Script(readFileSync(file, 'latin1'), {
    filename: file,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  if (cachedData === undefined) process.once('exit', () => leaveCompiled(script, left));
  const module = { exports: {} };
  (script.runInThisContext() as Wrapped)(createRequire(url), module, {
    url: url.href,
    resolve: (name) => import.meta.resolve(name),
  });
  return module.exports as Programs;
}

/** Whole or not there. Who may not write there leaves nothing. */
function leaveCompiled(script: Script, left: string): void {
  try {
    const mine = `${left}-${process.pid}`;
    writeFileSync(mine, script.createCachedData());
    renameSync(mine, left);
  } catch {
    // The next one compiles for itself.
  }
}
