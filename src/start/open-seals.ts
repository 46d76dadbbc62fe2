/**
 * From the master keys to the seals of rows: the keys are proven against the database, and a database from before rows had
 * seals is sealed. While no other process starts.
 */

import type { Config } from '../config.ts';
import { createKeyEncryption, type KeyEncryption } from '../keys/encryption/key-encryption.ts';
import {
  createMasterKeys,
  type FollowedMasterKeys,
  findGiven,
  type ListedMasterKey,
} from '../keys/encryption/master-keys.ts';
import { createRowSeals } from '../keys/encryption/row-seals.ts';
import { insertAuditEvents } from '../storage/audit/audit-store.ts';
import type { Database } from '../storage/engine/database.ts';
import { sealAllRows } from '../storage/seal-rows.ts';
import {
  addMasterKey,
  type KeyWitnesses,
  listMasterKeys,
  readKeyWitnesses,
  replaceCheckValue,
} from '../storage/signing-keys/master-key-store.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { resolveMasterKeys } from './master-key.ts';
import { StartError } from './start-error.ts';

export interface OpenSealsOptions {
  readonly database: Database;
  readonly config: Config;
  readonly newId: () => string;
}

/** The seals report to nobody. */
export interface OpenedSeals {
  readonly masterKeys: FollowedMasterKeys;
  readonly seals: RowSeals;
}

/** Rejects with `StartError` where a master key that the database needs is not given. */
export async function openSeals(options: OpenSealsOptions): Promise<OpenedSeals> {
  const masterKeys = await openMasterKeys(options.database, options.config);
  const seals = silentSeals(masterKeys);
  await sealIfUnsealed(options, masterKeys, seals);
  return { masterKeys, seals };
}

const silentSeals = (masterKeys: FollowedMasterKeys): RowSeals =>
  createRowSeals({ masterKeys, onForged: () => undefined });

/**
 * Once, where the check value is from before rows had seals. Only who has the master key makes one that says so, so that
 * a row which loses its seal later, or a check value that is deleted, gets nothing sealed.
 */
async function sealIfUnsealed(
  { database, newId }: OpenSealsOptions,
  masterKeys: FollowedMasterKeys,
  seals: RowSeals,
): Promise<void> {
  const key = masterKeys.active();
  if (isSealed(key, await listMasterKeys(database))) return;
  const rows = await sealAllRows(database, seals);
  await database.transaction(async (session) => {
    await replaceCheckValue(session, { kekId: key.kekId, checkValue: key.checkValue() });
    const event = auditEvent(SYSTEM, NO_REQUEST, {
      id: newId(),
      type: 'integrity.sealed',
      resource: { type: 'database', id: '*' },
      metadata: { rows },
    });
    await insertAuditEvents(session, [event]);
  });
}

const isSealed = (key: KeyEncryption, listed: readonly ListedMasterKey[]): boolean =>
  listed.some((row) => row.kekId === key.kekId && key.readCheckValue(row.checkValue) === 'sealed');

/**
 * Nothing is written. Rejects with `StartError` where a master key that the database needs is not given, and for a database
 * that no start has sealed.
 */
export async function readSeals(database: Database, config: Config): Promise<OpenedSeals> {
  const listed = await listMasterKeys(database);
  if (listed.length > 0) {
    const masterKeys = requireMasterKeys(givenKeys(config, true), listed);
    if (isSealed(masterKeys.active(), listed)) return { masterKeys, seals: silentSeals(masterKeys) };
  }
  throw new StartError([
    'The rows of this database are not sealed: Writ of this version has not been started on it. If the audit trail has the event integrity.sealed, it has been, and somebody took the rows of master_keys away or put an older one back. A start puts that right, and, where the older one is there, seals every row that has no seal: look first.',
  ]);
}

async function openMasterKeys(database: Database, config: Config): Promise<FollowedMasterKeys> {
  const listed = await listMasterKeys(database);
  if (listed.length > 0) return requireMasterKeys(givenKeys(config, true), listed);
  const witnesses = await readKeyWitnesses(database);
  const isInUse = witnesses.sealed.length + witnesses.kekIds.length > 0;
  const given = givenKeys(config, isInUse);
  // Else a wrong key would take the database where somebody emptied the list, and the right one be refused.
  const fitting = isInUse ? given.filter((key) => fitsWitnesses(key, witnesses)) : given.slice(0, 1);
  if (fitting.length === 0) throw otherMasterKey(witnesses.kekIds, given);
  for (const [index, key] of fitting.entries()) {
    // With rows under both keys that are given, one was taking the place of the other.
    await addMasterKey(database, {
      kekId: key.kekId,
      checkValue: key.checkValue(),
      state: index === 0 ? 'active' : 'retiring',
    });
  }
  return requireMasterKeys(given, await listMasterKeys(database));
}

/** In the order of the settings, each once. */
function givenKeys(config: Config, databaseHoldsWrappedKeys: boolean): readonly KeyEncryption[] {
  const keys = resolveMasterKeys(config, databaseHoldsWrappedKeys).map(createKeyEncryption);
  return keys.filter((key, index) => keys.findIndex(({ kekId }) => kekId === key.kekId) === index);
}

/** Seals prove a key; what a row says of it counts only in a database from before rows had seals. */
function fitsWitnesses(key: KeyEncryption, { sealed, kekIds }: KeyWitnesses): boolean {
  if (sealed.length === 0) return kekIds.includes(key.kekId);
  const seals = silentSeals(createMasterKeys([key]));
  return sealed.some((row) => seals.whyNot(row) === undefined);
}

/** Throws `StartError` where one that is listed, and not retired, is not given, or its check value is another key's. */
function requireMasterKeys(
  given: readonly KeyEncryption[],
  listed: readonly ListedMasterKey[],
): FollowedMasterKeys {
  const needed = listed.filter(({ state }) => state !== 'retired');
  const missing = needed.filter((row) => findGiven(given, row) === undefined);
  const hasActive = needed.some(({ state }) => state === 'active');
  if (missing.length > 0 || !hasActive)
    throw otherMasterKey(
      missing.map(({ kekId }) => kekId),
      given,
    );
  const masterKeys = createMasterKeys(given);
  masterKeys.follow(listed);
  return masterKeys;
}

/** One sentence that names what is needed and what is there. An id tells nothing of its key. */
function otherMasterKey(needed: readonly string[], given: readonly KeyEncryption[]): StartError {
  const needs = needed.length === 0 ? 'a key that its rows do not name' : needed.map(named).join(' and ');
  const names = given.map(({ kekId }) => named(kekId)).join(' and ');
  return new StartError([
    `The master key does not match this database: it needs ${needs}, and given ${given.length === 1 ? 'is' : 'are'} ${names}. Set MASTER_KEY or MASTER_KEY_PREVIOUS, or the file of one, to each key that is needed.`,
  ]);
}

const named = (kekId: string): string => (/^[0-9a-f]{16}$/.test(kekId) ? kekId : JSON.stringify(kekId));
