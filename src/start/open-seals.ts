/**
 * From the master key to the seals of rows: the key is proven against the database, and a database from before rows had
 * seals is sealed. While no other process starts.
 */

import type { Config } from '../config.ts';
import { createKeyEncryption, type KeyEncryption } from '../keys/encryption/key-encryption.ts';
import { createRowSeals } from '../keys/encryption/row-seals.ts';
import { insertAuditEvents } from '../storage/audit/audit-store.ts';
import type { Database } from '../storage/engine/database.ts';
import { sealAllRows } from '../storage/seal-rows.ts';
import {
  type KeyWitnesses,
  readKekCheck,
  readKeyWitnesses,
  replaceKekCheck,
  writeKekCheck,
} from '../storage/signing-keys/kek-check.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { resolveMasterKey } from './master-key.ts';
import { StartError } from './start-error.ts';

export interface OpenSealsOptions {
  readonly database: Database;
  readonly config: Config;
  readonly newId: () => string;
}

/** The seals report to nobody. Rejects with `StartError` for another master key than the database's. */
export async function openSeals(options: OpenSealsOptions): Promise<{ kek: KeyEncryption; seals: RowSeals }> {
  const kek = await openMasterKey(options.database, options.config);
  const seals = createRowSeals({ kek, onForged: () => undefined });
  await sealIfUnsealed(options, kek, seals);
  return { kek, seals };
}

/**
 * Once, where the check value is from before rows had seals. Only who has the master key makes one that says so, so that
 * a row which loses its seal later, or a check value that is deleted, gets nothing sealed.
 */
async function sealIfUnsealed(
  { database, newId }: OpenSealsOptions,
  kek: KeyEncryption,
  seals: RowSeals,
): Promise<void> {
  const check = await readKekCheck(database);
  if (check === undefined || kek.readCheckValue(check.checkValue) === 'sealed') return;
  const rows = await sealAllRows(database, seals);
  await database.transaction(async (session) => {
    await replaceKekCheck(session, kek.checkValue());
    const event = auditEvent(SYSTEM, NO_REQUEST, {
      id: newId(),
      type: 'integrity.sealed',
      resource: { type: 'database', id: '*' },
      metadata: { rows },
    });
    await insertAuditEvents(session, [event]);
  });
}

/**
 * Nothing is written. The seals report to nobody. Rejects with `StartError` for another master key than the database's,
 * and for a database that no start has sealed.
 */
export async function readSeals(database: Database, config: Config): Promise<RowSeals> {
  const check = await readKekCheck(database);
  if (check !== undefined) {
    const kek = createKeyEncryption(resolveMasterKey(config, true));
    if (proveMasterKey(kek, check) === 'sealed') return createRowSeals({ kek, onForged: () => undefined });
  }
  throw new StartError([
    'The rows of this database are not sealed: Writ of this version has not been started on it. If the audit trail has the event integrity.sealed, it has been, and somebody took the row of kek_check away or put an older one back. A start puts that right, and, where the older one is there, seals every row that has no seal: look first.',
  ]);
}

async function openMasterKey(database: Database, config: Config): Promise<KeyEncryption> {
  const check = await readKekCheck(database);
  if (check !== undefined) {
    const kek = createKeyEncryption(resolveMasterKey(config, true));
    proveMasterKey(kek, check);
    return kek;
  }
  const witnesses = await readKeyWitnesses(database);
  const isInUse = witnesses.sealed.length + witnesses.kekIds.length > 0;
  const kek = createKeyEncryption(resolveMasterKey(config, isInUse));
  // Else a wrong key would take the database where somebody deleted the check value, and the right one be refused.
  if (isInUse && !fitsWitnesses(kek, witnesses)) throw otherMasterKey();
  await writeKekCheck(database, { kekId: kek.kekId, checkValue: kek.checkValue() });
  return kek;
}

/** Seals prove a key; what a row says of it counts only in a database from before rows had seals. */
function fitsWitnesses(kek: KeyEncryption, { sealed, kekIds }: KeyWitnesses): boolean {
  if (sealed.length === 0) return kekIds.includes(kek.kekId);
  const seals = createRowSeals({ kek, onForged: () => undefined });
  return sealed.some((row) => seals.whyNot(row) === undefined);
}

/** What the check value says. Throws `StartError` where it is another key's. */
function proveMasterKey(kek: KeyEncryption, check: { kekId: string; checkValue: Uint8Array }) {
  const says = kek.readCheckValue(check.checkValue);
  if (check.kekId === kek.kekId && says !== undefined) return says;
  throw otherMasterKey();
}

const otherMasterKey = (): StartError =>
  new StartError([
    'The master key does not match this database. Set MASTER_KEY or MASTER_KEY_FILE to the key that the database was initialised with.',
  ]);
