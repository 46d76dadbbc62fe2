/**
 * A migrated, empty database as one file of the build: a first start unpacks it in a tenth of the time that making
 * and migrating takes. A template that other migrations or another PGlite made is not used, and neither is a damaged one.
 */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { MIGRATIONS } from './migrations.ts';

/** In `dist`; the sources have none, so that a run from them migrates. */
export const TEMPLATE_FILE = fileURLToPath(new URL('../../embedded-template.br', import.meta.url));

/** The databases of a cluster hold the same catalog, 7 MB apart: a window of 16 MB makes the file a third as large. */
const COMPRESSION = {
  [constants.BROTLI_PARAM_QUALITY]: 5,
  [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
};

interface Entry {
  /** Relative to the folder, its parts separated by `/`. */
  readonly path: string;
  /** Bytes; null for a folder. PostgreSQL needs its empty ones. */
  readonly size: number | null;
}

/** What a template must have been made with to be a database of this build. */
export function templateFingerprint(): string {
  const manifest = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'));
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  // The migrator goes by the moment of a migration: with another one, it would make the same change again.
  const migrations = readMigrationFiles(MIGRATIONS).map(({ hash, folderMillis }) => [folderMillis, hash]);
  return JSON.stringify({ layout: 1, pglite: version, migrations });
}

/** One line of fingerprint, then compressed: one line of entries, then their bytes. `folder` is a database at rest. */
export function packTemplate(folder: string): Uint8Array {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((item) => ({ at: join(item.parentPath, item.name), isFolder: item.isDirectory() }))
    .sort((a, b) => (a.at < b.at ? -1 : 1));
  const bodies = found.map(({ at, isFolder }) => (isFolder ? null : readFileSync(at)));
  const entries = found.map(
    ({ at }, index): Entry => ({
      path: relative(folder, at).replaceAll('\\', '/'),
      size: bodies[index]?.length ?? null,
    }),
  );
  const packed = Buffer.concat([
    Buffer.from(`${JSON.stringify(entries)}\n`),
    ...bodies.filter((body) => body !== null),
  ]);
  return Buffer.concat([
    Buffer.from(`${templateFingerprint()}\n`),
    brotliCompressSync(packed, { params: COMPRESSION }),
  ]);
}

export function templateFits(file: string): boolean {
  return readBody(file) !== undefined;
}

/**
 * Makes `folder` from the template and says whether it did; false where there is none that fits. The folder appears
 * whole or not at all: a start that was killed meanwhile leaves a draft, which the next one removes. The caller holds
 * the lock of the folder around it.
 */
export function unpackTemplate(folder: string, file: string): boolean {
  const draft = `${folder}.unpacking`;
  rmSync(draft, { recursive: true, force: true });
  const template = decode(readBody(file));
  if (template === undefined) return false;
  mkdirSync(draft, { mode: 0o700 });
  let at = template.start;
  for (const { path, size } of template.entries) {
    if (size === null) mkdirSync(join(draft, path), { mode: 0o700 });
    else writeFileSync(join(draft, path), template.content.subarray(at, at + size), { mode: 0o600 });
    at += size ?? 0;
  }
  renameSync(draft, folder);
  return true;
}

interface Template {
  readonly entries: readonly Entry[];
  readonly content: Buffer;
  /** Where the first file begins. */
  readonly start: number;
}

/** Undefined where the file was damaged: the start migrates instead. */
function decode(body: Buffer | undefined): Template | undefined {
  if (body === undefined) return undefined;
  try {
    const content = brotliDecompressSync(body);
    const start = content.indexOf('\n') + 1;
    const entries = JSON.parse(content.toString('utf8', 0, start)) as readonly Entry[];
    const end = entries.reduce((sum, { size }) => sum + (size ?? 0), start);
    return end === content.length ? { entries, content, start } : undefined;
  } catch {
    return undefined;
  }
}

/** The compressed part, if the file is there and fits. */
function readBody(file: string): Buffer | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    // Anything else than a missing file is for the operator to read, as is every file of the program.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const end = bytes.indexOf('\n');
  return bytes.toString('utf8', 0, end) === templateFingerprint() ? bytes.subarray(end + 1) : undefined;
}

/** Appears whole or not at all. */
export function writeTemplate(file: string, template: Uint8Array): void {
  const draft = join(dirname(file), `.embedded-template.${process.pid}`);
  writeFileSync(draft, template);
  renameSync(draft, file);
}
