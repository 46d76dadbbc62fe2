/**
 * Guarantees that the files of a short run share few processes, and the same ones in every run. Node.js, the packages
 * and the sources take more than a second of a processor before the first test of a process, and the tests after it
 * run several times slower until their code is compiled: in a process for each of 170 files, that is a third of all.
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CompiledTests } from './compiled-tests.ts';

/** As many as run at once on two processors, so that all begin together and none is begun when the others end. */
const PROCESSES = 4;
/** What makes a process worth its start. */
const FILES_WORTH_A_PROCESS = 16;

/** `node --test` sorts what it runs by path, and this is ahead of the tests. */
const GROUPS_FOLDER = 'groups';

/** What `test/storage/opened.ts` exports for tests on both databases. Of the embedded one, each process makes its own. */
const EMBEDDED_DATABASE = /\bBACKENDS\b/;
/** They do everything twice, and once of it on a slow database. */
const WEIGHT_OF_SHARING = 3;

/**
 * Files that share the embedded database stay together and come first. The others are dealt from the longest to the
 * shortest, each to the group that has least: what a file costs is not known beforehand, and its length tells it well
 * enough that all groups end within a few seconds. A file without company is its own entry, as every file of a full run
 * is: there, no test can lean on what another left behind.
 */
export function dealFiles(paths: readonly string[], atMost = PROCESSES): string[][] {
  const files = paths.map((path) => {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    return { path, length: 1 + text.length, isSharing: EMBEDDED_DATABASE.test(text) };
  });
  const sharing = files.filter(({ isSharing }) => isSharing);
  const others = files.filter(({ isSharing }) => !isSharing).sort((a, b) => b.length - a.length);
  const count = Math.min(atMost, Math.ceil(files.length / FILES_WORTH_A_PROCESS));
  const groups = Array.from({ length: count }, (_, index) => {
    const dealt = index === 0 ? sharing : [];
    const lengths = dealt.reduce((sum, { length }) => sum + length, 0);
    return { paths: dealt.map(({ path }) => path), weight: WEIGHT_OF_SHARING * lengths };
  });
  for (const { path, length } of others) {
    const [lightest] = groups.toSorted((a, b) => a.weight - b.weight);
    if (lightest === undefined) continue;
    lightest.paths.push(path);
    lightest.weight += length;
  }
  return groups.map(({ paths: dealt }) => dealt);
}

export function isGroupEntry(file: string): boolean {
  return basename(dirname(file)) === GROUPS_FOLDER;
}

/** `runner` is the address of `run-in-turn.ts` as compiled. */
export function groupText(runner: string, paths: readonly string[]): string {
  return `import { runInTurn } from '${runner}';\nawait runInTurn(${JSON.stringify(paths, null, 2)});\n`;
}

/** What `node --test` is told to run. */
export async function writeGroups(tests: CompiledTests, files: readonly string[]): Promise<string[]> {
  const folder = join(tests.folder, GROUPS_FOLDER);
  await mkdir(folder, { recursive: true });
  const runner = pathToFileURL(tests.compiled('test/support/runner/run-in-turn.ts')).href;
  return Promise.all(
    dealFiles(files).map(async (group, index) => {
      const paths = group.map((file) => resolve(tests.compiled(file)));
      if (paths[0] !== undefined && paths.length === 1) return paths[0];
      const entry = join(folder, `${String(index + 1).padStart(2, '0')}.test.js`);
      await writeFile(entry, groupText(runner, paths));
      return entry;
    }),
  );
}
