/**
 * At most one process per data folder: a lock file with the holder's process id and start time. A file whose
 * holder is gone (killed, or its id reused by a later process) is taken over.
 */

import { closeSync, linkSync, openSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class FolderHeldError extends Error {
  override readonly name = 'FolderHeldError';
}

interface LockOwner {
  readonly pid: number;
  /** Clock ticks since boot, from the process table; null where the platform does not tell. */
  readonly startedAt: string | null;
}

/** Throws `FolderHeldError` when a live process holds the folder. */
export function acquireDirectoryLock(folder: string): { release(): void } {
  const path = join(folder, 'writ.lock');
  const own: LockOwner = { pid: process.pid, startedAt: startTimeOf(process.pid) };
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    // Whoever removes a stale lock has not used up a try: else all could give up and nobody hold the folder.
    for (let tries = 0; tries < 3; ) {
      if (linkIfFree(draft, path)) return { release: () => releaseIfOwn(path, own) };
      const holder = readHolder(path);
      // Gone since: whoever held it has left, so try again without removing what another may have put there.
      if (holder !== 'absent') {
        if (holder !== 'unreadable' && isAlive(holder)) {
          throw new FolderHeldError(
            `The data folder ${folder} is in use by process ${holder.pid}. Stop it first; the embedded database serves one process.`,
          );
        }
        if (releaseStale({ path, draft, stale: holder })) continue;
      }
      tries += 1;
    }
  } finally {
    rmSync(draft, { force: true });
  }
  throw new FolderHeldError(`The data folder ${folder} is being taken by another process.`);
}

/**
 * Removes the lock of a dead holder, and says whether it did. The marker makes one contender the remover, and it looks
 * again under the marker: without both, a slow contender could delete the lock that a quick one has just taken. A
 * marker bears the names of the dead it is about, the holder and those who died removing it, so nobody has to remove
 * another's marker to go on: that would be the same race once more.
 */
function releaseStale({
  path,
  draft,
  stale,
}: {
  path: string;
  draft: string;
  stale: LockOwner | 'unreadable';
}): boolean {
  const markers = [`${path}.takeover-${nameOf(stale)}`];
  for (let marker = markers[0] ?? ''; !linkIfFree(draft, marker); ) {
    const remover = readHolder(marker);
    if (remover === 'absent' || (remover !== 'unreadable' && isAlive(remover))) return false;
    marker = `${marker}-${nameOf(remover)}`;
    markers.push(marker);
  }
  try {
    if (!isSame(readHolder(path), stale)) return false;
    rmSync(path, { force: true });
    return true;
  } finally {
    // The lock is gone or another's by now, so whoever becomes the remover of this one again removes nothing.
    for (const marker of markers) rmSync(marker, { force: true });
  }
}

/** Part of a file's name, so of what a file says only digits. */
const nameOf = (holder: LockOwner | 'unreadable'): string =>
  holder === 'unreadable' ? holder : `${holder.pid}.${String(holder.startedAt).replace(/\D/g, '')}`;

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

function releaseIfOwn(path: string, own: LockOwner): void {
  if (isSame(readHolder(path), own)) unlinkSync(path);
}

function isSame(one: LockOwner | 'absent' | 'unreadable', other: LockOwner | 'unreadable'): boolean {
  if (typeof one === 'string' || typeof other === 'string') return one === other;
  return one.pid === other.pid && one.startedAt === other.startedAt;
}

function readHolder(path: string): LockOwner | 'absent' | 'unreadable' {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return 'unreadable';
    const { pid, startedAt } = value as Partial<LockOwner>;
    return Number.isInteger(pid) && typeof pid === 'number'
      ? { pid, startedAt: startedAt ?? null }
      : 'unreadable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'absent' : 'unreadable';
  }
}

function isAlive(holder: LockOwner): boolean {
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
