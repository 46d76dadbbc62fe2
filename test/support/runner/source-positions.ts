/** Where a line of a run's compiled JavaScript stands in the sources, by the source maps beside it. */
import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const maps = new Map<string, SourceMap | undefined>();

/** The path from the root of the repository; of a file that was not compiled, its own. */
export function sourceFile(file: string): string {
  const path = file.startsWith('file:') ? fileURLToPath(file) : file;
  const [source] = mapOf(path)?.payload.sources ?? [];
  return relative('.', source === undefined ? path : resolve(dirname(path), source));
}

/** `test/x.test.ts:12`. Lines count from 1. */
export function sourcePosition(file: string, line: number, column: number): string {
  const map = mapOf(file);
  const entry = map?.findEntry(line - 1, column - 1);
  const isMapped = entry !== undefined && 'originalLine' in entry;
  return `${sourceFile(file)}:${isMapped ? entry.originalLine + 1 : line}`;
}

function mapOf(file: string): SourceMap | undefined {
  if (!maps.has(file)) maps.set(file, readMap(file));
  return maps.get(file);
}

function readMap(file: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')) as SourceMapPayload);
  } catch {
    return undefined; // It was written as it runs.
  }
}
