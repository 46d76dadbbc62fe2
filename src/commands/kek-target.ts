/** The master key that `writ kek rotate` puts in the place of the active one: MASTER_KEY, or a new one of a service. */

import type { KeyEncryption } from '../keys/encryption/key-encryption.ts';
import { type OpenedSeals, startErrorOf } from '../start/open-seals.ts';
import type { MasterKeyRow } from '../storage/signing-keys/master-key-store.ts';

export interface RotationTarget {
  readonly key: KeyEncryption;
  /** Null of one that comes from the environment or a file. */
  readonly wrappedRoot: Uint8Array | null;
}

/**
 * A service makes one for each rotation, but goes on with the one of a rotation that was ended in the middle. Rejects
 * with `StartError` where the service does not work.
 */
export async function targetOf(
  { masterKeys, rootKeys }: OpenedSeals,
  listed: readonly MasterKeyRow[],
): Promise<RotationTarget> {
  if (!rootKeys.makes) {
    const [key] = masterKeys.given();
    if (key === undefined) throw new Error('no master key is given');
    return { key, wrappedRoot: null };
  }
  const active = masterKeys.active();
  // One that every process was told of already, but that is not written under yet.
  const next = listed.find(({ kekId, state }) => state === 'next' && rootKeys.isByCurrent(kekId));
  const nextKey = next && masterKeys.find(next.kekId);
  if (nextKey !== undefined) return { key: nextKey, wrappedRoot: next?.wrappedRoot ?? null };
  const isUnderWay = listed.some(({ state }) => state === 'retiring');
  if (isUnderWay && rootKeys.isByCurrent(active.kekId)) return { key: active, wrappedRoot: null };
  const made = await rootKeys.make().catch(startErrorOf);
  masterKeys.give(made.key);
  return made;
}
