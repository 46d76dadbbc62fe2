/**
 * Guarantees that Postgres is never started as root, which it refuses: names the user that stands in for root,
 * and tells whether that user may reach a folder.
 */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user to drop to, or undefined where this process is not root and may start Postgres as itself. */
export async function userInsteadOfRoot(): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['nobody', 'postgres']) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      // There is no such user here; the next name may exist.
    }
  }
  throw new Error('running as root, and neither the user nobody nor postgres exists to run Postgres as');
}

/** Whether every folder on the way to `folder`, itself included, may be entered by everybody. */
export async function isOpenToOthers(folder: string): Promise<boolean> {
  for (let current = folder; ; current = dirname(current)) {
    const { mode } = await stat(current);
    if ((mode & 0o001) === 0) return false;
    if (current === dirname(current)) return true;
  }
}
