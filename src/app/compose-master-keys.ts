/** Which master key is active is a fact of the database: it is read every second, and at once after a refused write. */

import { KmsError } from '../keys/kms/root-key-kms.ts';
import { learnRootKeys } from '../start/root-keys.ts';
import { listMasterKeys, type MasterKeyRow } from '../storage/signing-keys/master-key-store.ts';
import type { AppContext } from './app-context.ts';

export interface MasterKeysPart {
  refresh(): Promise<void>;
  /** The ids of keys that the database needs and this process was not given. */
  missing(): readonly string[];
}

export function composeMasterKeys({ database, provisioned, log }: AppContext): MasterKeysPart {
  const { masterKeys, rootKeys } = provisioned;
  let missing: readonly string[] = [];
  let active = masterKeys.active().kekId;
  const given = () => masterKeys.given().map(({ kekId }) => kekId);
  log.info({ active, given: given() }, 'master keys');

  let complaint: string | undefined;
  /** A service that does not answer stops nothing that runs under the keys that are known; it is asked again. */
  const learn = async (listed: readonly MasterKeyRow[], missing: readonly string[]): Promise<boolean> => {
    const rows = listed.filter(({ kekId }) => missing.includes(kekId));
    try {
      const { learnt } = await learnRootKeys(rootKeys, masterKeys, rows);
      complaint = undefined;
      return learnt > 0;
    } catch (error) {
      if (!(error instanceof KmsError)) throw error;
      if (error.sentence !== complaint) log.error({ kms: error.sentence }, NOT_UNWRAPPED);
      complaint = error.sentence;
      return false;
    }
  };

  const refresh = async (): Promise<void> => {
    const listed = await listMasterKeys(database);
    let followed = masterKeys.follow(listed);
    if (followed.missing.length > 0 && (await learn(listed, followed.missing)))
      followed = masterKeys.follow(listed);
    // What is remembered may be wrapped under the key that counts no more; what is under way still opens.
    if (followed.dropped) database.memories.forgetAll('a master key was retired');
    const isNew = followed.missing.some((kekId) => !missing.includes(kekId));
    missing = followed.missing;
    if (isNew) log.error({ missing, given: given() }, MISSING_KEY);
    const { kekId } = masterKeys.active();
    if (kekId !== active) log.info({ active: kekId, before: active }, 'another master key is active');
    active = kekId;
  };
  let isReading = false;
  const refreshNow = (): void => {
    if (isReading) return;
    isReading = true;
    void refresh()
      // The job reads again.
      .catch(() => {})
      .finally(() => {
        isReading = false;
      });
  };
  database.onInactiveKey(refreshNow);
  database.memories.add('active master key', (why) => {
    if (why === 'another history') refreshNow();
  });
  return { refresh, missing: () => missing };
}

const NOT_UNWRAPPED = 'The key management service does not unwrap a master key that the database needs.';

const MISSING_KEY =
  'The database is written under a master key that this process was not given, so it refuses what this process writes, and this process does not open what is under that key. Set MASTER_KEY to that key and MASTER_KEY_PREVIOUS to the one before, or MASTER_KEY_KMS and MASTER_KEY_PREVIOUS_KMS to what wrapped them, and start again.';
