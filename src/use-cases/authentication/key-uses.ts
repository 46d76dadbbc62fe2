/**
 * When, and from where, each API key was last used: noted in memory by every request, written by a job, each key at most
 * once a minute. A crash loses what was not written yet; a write that fails is made up for by the next, and fails no request.
 */

import type { CredentialStore, KeyUse } from './ports.ts';

const PAUSE_MS = 60_000;
/** In one statement. */
const AT_ONCE = 1000;

export interface NotedUse {
  at: Date;
  ipAddress: string | null;
  /** The use that was written last, and when: at 0 none. */
  writtenUseMs: number;
  writtenAtMs: number;
}

export interface KeyUses {
  /** By key id. Requests note in it (`authenticate-api-key.ts`). */
  readonly noted: Map<string, NotedUse>;
  /** Writes what is due, or `all` that was not written yet. Rejects when it could not be written, and keeps it. */
  write(all?: 'all'): Promise<void>;
}

export function createKeyUses(deps: {
  readonly store: Pick<CredentialStore, 'noteUses'>;
  readonly now: () => Date;
}): KeyUses {
  const noted = new Map<string, NotedUse>();
  return {
    noted,
    write: async (all) => {
      const nowMs = deps.now().getTime();
      const due: KeyUse[] = [];
      for (const [keyId, { at, ipAddress, writtenUseMs, writtenAtMs }] of noted) {
        const mayBeWritten = all === 'all' || nowMs - writtenAtMs >= PAUSE_MS;
        if (at.getTime() > writtenUseMs) {
          if (mayBeWritten) due.push({ keyId, at, ipAddress });
        } else if (mayBeWritten) noted.delete(keyId);
      }
      for (let start = 0; start < due.length; start += AT_ONCE) {
        const batch = due.slice(start, start + AT_ONCE);
        await deps.store.noteUses(batch);
        for (const { keyId, at } of batch) {
          const use = noted.get(keyId);
          if (use === undefined) continue;
          use.writtenUseMs = at.getTime();
          use.writtenAtMs = nowMs;
        }
      }
    },
  };
}
