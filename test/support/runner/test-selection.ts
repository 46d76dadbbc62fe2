/**
 * Guarantees that what `npm test` was asked to run is told apart from the runner's own flags, and that what those
 * files need is found out from their text and from the text of what they import.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const FLAGS_WITH_A_VALUE = new Set([
  '--test-name-pattern',
  '--test-skip-pattern',
  '--test-concurrency',
  '--test-timeout',
  '--test-shard',
]);
const RELATIVE_IMPORT = /(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g;

const FULL = '--effort=full';
/** They test Writ through other people's programs, minutes long: for a full run, or for whoever names them. */
const ONLY_IN_FULL_RUN = [
  'test/clients/',
  'test/verify/documented-programs.test.ts',
  'test/verify/fastmcp.test.ts',
  'test/verify/package.test.ts',
  'test/verify/python-attacks.test.ts',
  'test/verify/runtimes.test.ts',
].map((path) => join(path));

export interface Selection {
  /** Every round and every file; else each guarantee once (`effort.ts`). */
  readonly isFull: boolean;
  readonly flags: readonly string[];
  readonly files: readonly string[];
}

/** Flags go to `node --test`; a folder stands for the test files in it; no file at all for every one in `test`. */
export function selectTests(args: readonly string[]): Selection {
  const isFull = args.includes(FULL);
  const flags: string[] = [];
  const paths: string[] = [];
  const others = args.filter((arg) => arg !== FULL);
  others.forEach((arg, index) => {
    const isValueOfFlag = FLAGS_WITH_A_VALUE.has(others[index - 1] ?? '');
    (arg.startsWith('-') || isValueOfFlag ? flags : paths).push(arg);
  });
  const files = paths.length > 0 ? paths.flatMap(testFilesAt) : testFilesAt('test').filter(isInRun(isFull));
  return { isFull, flags, files: files.sort() };
}

function isInRun(isFull: boolean): (file: string) => boolean {
  return (file) => isFull || !ONLY_IN_FULL_RUN.some((path) => file.startsWith(path));
}

function testFilesAt(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const entries = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return entries.filter((entry) => entry.endsWith('.test.ts')).map((entry) => join(path, entry));
}

/** Whether any of the files, or a file outside `src` that they import in turn, mentions `mark`. */
export function anyMentions(files: readonly string[], mark: string): boolean {
  const pending = files.map((file) => resolve(file));
  const seen = new Set(pending);
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''; // A string may look like an import.
    if (text.includes(mark)) return true;
    for (const [, specifier = ''] of text.matchAll(RELATIVE_IMPORT)) {
      const imported = resolve(dirname(file), specifier);
      if (!seen.has(imported) && imported.endsWith('.ts') && !imported.startsWith(resolve('src'))) {
        seen.add(imported);
        pending.push(imported);
      }
    }
  }
  return false;
}
