/**
 * Guarantees the programs of `src` as one file that behaves as the many: a server that tests start takes a sixth of a
 * second of a processor instead of a whole one before its first line runs, as 660 modules of packages and sources need
 * not be found, read, linked and, after the first time, compiled. A full run starts the programs as they are built.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { TEST_BCRYPT_COST } from '../bcrypt-cost.ts';

/** They find files of their own beside themselves. */
const LEFT_AS_PACKAGES = ['bcrypt', '@electric-sql/pglite'];
/**
 * The least that bcrypt knows, as in the tests' own process: at the least that the configuration admits, hashes are a
 * fifth of what servers of a short run cost, which start a hundred times.
 */
const CHEAP_BCRYPT = `
import bcrypt from 'bcrypt';
export default { ...bcrypt, hash: (text) => bcrypt.hash(text, ${TEST_BCRYPT_COST}) };`;

/** Each is loaded when it is asked for, as a process is one of them. */
const PROGRAMS = `
export const serve = () => import('./server.js');
export const run = async (argv, io) => (await import('./commands/run.js')).run(argv, io);`;
/** As `load-programs.ts` calls it. */
const WRAPPED = { before: '(function (require, module, PROGRAMS_META) {', after: '})' };
const FILE = 'programs.cjs';
/** What is started: as `src/server.ts` and `src/cli.ts` are. */
const STARTED = {
  'server.js': 'await programs.serve();',
  'cli.js': 'process.exit(await programs.run(process.argv.slice(2), process));',
};

/**
 * `from` holds `server.js` and `cli.js` as compiled, and the files of `to` take their place; `loader` is the address of
 * `load-programs.ts`.
 */
export async function bundlePrograms(from: string, to: string, loader: string): Promise<void> {
  await build({
    stdin: { contents: PROGRAMS, resolveDir: resolve(from) },
    outfile: join(to, FILE),
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    external: LEFT_AS_PACKAGES,
    banner: { js: WRAPPED.before },
    footer: { js: WRAPPED.after },
    plugins: [whereTheyWere(resolve(from)), cheapBcrypt(resolve('.'))],
    logLevel: 'warning',
  });
  await mkdir(to, { recursive: true });
  for (const [name, start] of Object.entries(STARTED)) {
    const load = `const programs = loadPrograms(new URL('${FILE}', import.meta.url), '${name}');`;
    await writeFile(
      join(to, name),
      `#!/usr/bin/env node\nimport { loadPrograms } from '${loader}';\n${load}\n${start}\n`,
    );
  }
}

/** What a source finds by its own address, it finds from where it would lie below the folder of the bundle. */
function whereTheyWere(folder: string): Plugin {
  return {
    name: 'where-they-were',
    setup({ onLoad }) {
      onLoad({ filter: /\.js$/ }, async ({ path }) => {
        if (dirname(path) !== folder && !path.startsWith(`${folder}/`)) return undefined;
        const address = `new URL(${JSON.stringify(`./${relative(folder, path)}`)}, PROGRAMS_META.url).href`;
        const text = await readFile(path, 'utf8');
        return {
          contents: text
            .replaceAll('import.meta.url', address)
            .replaceAll('import.meta.resolve', 'PROGRAMS_META.resolve'),
        };
      });
    },
  };
}

/** The sources import a package that hashes cheaply; what it is made of is the package itself. */
function cheapBcrypt(folder: string): Plugin {
  return {
    name: 'cheap-bcrypt',
    setup({ onLoad, onResolve }) {
      onResolve({ filter: /^bcrypt$/ }, ({ namespace }) =>
        namespace === 'cheap' ? { path: 'bcrypt', external: true } : { path: 'bcrypt', namespace: 'cheap' },
      );
      onLoad({ filter: /./, namespace: 'cheap' }, () => ({ contents: CHEAP_BCRYPT, resolveDir: folder }));
    },
  };
}
