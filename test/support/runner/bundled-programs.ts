/**
 * Guarantees the programs of `src` as few files that behave as the many: a server that tests start takes a third of a
 * second of a processor instead of a whole one before its first line runs, as 660 modules of packages and sources need
 * not be found, read and linked one by one. A full run starts the programs as they are built.
 */
import { readFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
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
/** For the packages that are CommonJS. */
const REQUIRE =
  "import { createRequire as requireIn } from 'node:module';\nconst require = requireIn(import.meta.url);";

/** `from` holds `server.js` and `cli.js` as compiled; the files of `to` take their place. */
export async function bundlePrograms(from: string, to: string): Promise<void> {
  await build({
    entryPoints: ['server.js', 'cli.js'].map((name) => resolve(from, name)),
    outdir: to,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external: LEFT_AS_PACKAGES,
    banner: { js: REQUIRE },
    plugins: [whereTheyWere(resolve(from)), cheapBcrypt(resolve('.'))],
    logLevel: 'warning',
  });
}

/** What a source finds by its own address, it finds from where it would lie below the folder of the bundle. */
function whereTheyWere(folder: string): Plugin {
  return {
    name: 'where-they-were',
    setup({ onLoad }) {
      onLoad({ filter: /\.js$/ }, async ({ path }) => {
        if (dirname(path) !== folder && !path.startsWith(`${folder}/`)) return undefined;
        const address = `new URL(${JSON.stringify(`./${relative(folder, path)}`)}, import.meta.url).href`;
        return { contents: (await readFile(path, 'utf8')).replaceAll('import.meta.url', address) };
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
