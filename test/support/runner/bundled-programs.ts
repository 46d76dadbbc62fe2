/**
 * Guarantees the programs of `src` as few files that behave as the many: a server that tests start takes a third of a
 * second of a processor instead of a whole one before its first line runs, as 660 modules of packages and sources need
 * not be found, read and linked one by one. A full run starts the programs as they are built.
 */
import { readFile } from 'node:fs/promises';
import { dirname, relative, resolve } from 'node:path';
import { build, type Plugin } from 'esbuild';

/** They find files of their own beside themselves. */
const LEFT_AS_PACKAGES = ['bcrypt', '@electric-sql/pglite'];
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
    plugins: [whereTheyWere(resolve(from))],
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
