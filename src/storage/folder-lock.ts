/**
 * At most one process per data folder: a lock file with the holder's process id and start time. A file whose
 * holder is gone (killed, or its id reused by a later process) is taken over.
 */

import { closeSync, linkSync, openSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class FolderHeldError extends Error {
  override readonly name = 'FolderHeldError';
}

interface Holder {
  readonly pid: number;
  /** Clock ticks since boot, from the process table; null where the platform does not tell. */
  readonly startedAt: string | null;
}

/** Throws `FolderHeldError` when a live process holds the folder. */
export function holdFolder(folder: string): { release(): void } {
  const path = join(folder, 'writ.lock');
  const own: Holder = { pid: process.pid, startedAt: startTimeOf(process.pid) };
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      if (linkIfFree(draft, path)) return { release: () => releaseIfOwn(path, own) };
      const holder = readHolder(path);
      // Gone since: whoever held it has left, so try again without removing what another may have put there.
      if (holder === 'absent') continue;
      if (holder !== 'unreadable' && isAlive(holder)) {
        throw new FolderHeldError(
          `The data folder ${folder} is in use by process ${holder.pid}. Stop it first; the embedded database serves one process.`,
        );
      }
      removeStale({ path, draft, stale: holder });
    }
  } finally {
    rmSync(draft, { force: true });
  }
  throw new FolderHeldError(`The data folder ${folder} is being taken by another process.`);
}

/**
 * Removes the lock of a dead holder. The marker makes one contender the remover, and it looks again under the
 * marker: without both, a slow contender could delete the lock that a quick one has just taken.
 */
function removeStale({
  path,
  draft,
  stale,
}: {
  path: string;
  draft: string;
  stale: Holder | 'unreadable';
}): void {
  const marker = `${path}.takeover`;
  if (!linkIfFree(draft, marker)) {
    const remover = readHolder(marker);
    if (remover === 'unreadable' || (remover !== 'absent' && !isAlive(remover)))
      rmSync(marker, { force: true });
    return;
  }
  try {
    const current = readHolder(path);
    if (isSame(current, stale)) rmSync(path, { force: true });
  } finally {
    rmSync(marker, { force: true });
  }
}

/** A hard link appears whole or not at all, so nobody reads a half-written lock. */
function linkIfFree(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    if (
      (error as NodeJS.ErrnoException).code !== 'EPERM' &&
      (error as NodeJS.ErrnoException).code !== 'ENOTSUP'
    )
      throw error;
  }
  // File systems without hard links: exclusive creation is the next best.
  try {
    const descriptor = openSync(path, 'wx', 0o600);
    writeFileSync(descriptor, readFileSync(draft));
    closeSync(descriptor);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function releaseIfOwn(path: string, own: Holder): void {
  if (isSame(readHolder(path), own)) unlinkSync(path);
}

function isSame(one: Holder | 'absent' | 'unreadable', other: Holder | 'unreadable'): boolean {
  if (typeof one === 'string' || typeof other === 'string') return one === other;
  return one.pid === other.pid && one.startedAt === other.startedAt;
}

function readHolder(path: string): Holder | 'absent' | 'unreadable' {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return 'unreadable';
    const { pid, startedAt } = value as Partial<Holder>;
    return Number.isInteger(pid) && typeof pid === 'number'
      ? { pid, startedAt: startedAt ?? null }
      : 'unreadable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'absent' : 'unreadable';
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const startedAt = startTimeOf(holder.pid);
  return startedAt === null || holder.startedAt === null || startedAt === holder.startedAt;
}

/** Field 22 of /proc/<pid>/stat (proc(5)); null elsewhere. */
function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
