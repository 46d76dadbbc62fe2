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
import { KmsError } from '../keys/kms/root-key-kms.ts';
import { insertAuditEvents } from '../storage/audit/audit-store.ts';
import type { Database } from '../storage/engine/database.ts';
import { sealAllRows } from '../storage/seal-rows.ts';
import {
  addMasterKey,
  type KeyWitnesses,
  listMasterKeys,
  type MasterKeyRow,
  readKeyWitnesses,
  replaceCheckValue,
} from '../storage/signing-keys/master-key-store.ts';
import { auditEvent, NO_REQUEST, SYSTEM } from '../use-cases/audit/build-audit-event.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { resolveMasterKeys } from './master-key.ts';
import { createRootKeys, isWrapped, learnRootKeys, type RootKeys } from './root-keys.ts';
import { StartError } from './start-error.ts';

export interface OpenSealsOptions {
  readonly database: Database;
  readonly config: Config;
  readonly newId: () => string;
}

/** The seals report to nobody. */
export interface OpenedSeals {
  readonly masterKeys: FollowedMasterKeys;
  readonly rootKeys: RootKeys;
  readonly seals: RowSeals;
}

/** Rejects with `StartError` where a master key that the database needs is not given, or a service does not work. */
export async function openSeals(options: OpenSealsOptions): Promise<OpenedSeals> {
  const { masterKeys, rootKeys } = await openMasterKeys(options.database, options.config).catch(startErrorOf);
  const seals = silentSeals(masterKeys);
  await sealIfUnsealed(options, masterKeys, seals);
  return { masterKeys, rootKeys, seals };
}

/** What a key management service does not do is for a person to mend. */
export function startErrorOf(error: unknown): never {
  throw error instanceof KmsError ? new StartError([error.sentence]) : error;
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
    const { masterKeys, rootKeys } = await requireMasterKeys(config, listed).catch(startErrorOf);
    if (isSealed(masterKeys.active(), listed))
      return { masterKeys, rootKeys, seals: silentSeals(masterKeys) };
  }
  throw new StartError([
    'The rows of this database are not sealed: Writ of this version has not been started on it. If the audit trail has the event integrity.sealed, it has been, and somebody took the rows of master_keys away or put an older one back. A start puts that right, and, where the older one is there, seals every row that has no seal: look first.',
  ]);
}

type OpenedKeys = Omit<OpenedSeals, 'seals'>;

async function openMasterKeys(database: Database, config: Config): Promise<OpenedKeys> {
  if ((await listMasterKeys(database)).length === 0) await listFirstMasterKeys(database, config);
  const opened = await requireMasterKeys(config, await listMasterKeys(database));
  const { rootKeys, masterKeys } = opened;
  // The service that is to wrap the next master key is asked now, while a person looks, and not when it is needed.
  if (rootKeys.makes && !masterKeys.inUse().some(rootKeys.isByCurrent)) await rootKeys.make();
  return opened;
}

/** Of a new database, and of one whose list somebody emptied. */
async function listFirstMasterKeys(database: Database, config: Config): Promise<void> {
  const witnesses = await readKeyWitnesses(database);
  const isInUse = witnesses.sealed.length + witnesses.kekIds.length > 0;
  const rootKeys = await createRootKeys(config);
  if (!isInUse && rootKeys.makes) {
    const { key, wrappedRoot } = await rootKeys.make();
    const { kekId } = key;
    await addMasterKey(database, { kekId, checkValue: key.checkValue(), state: 'active', wrappedRoot });
    return;
  }
  const given = givenKeys(config, isInUse);
  // Else a wrong key would take the database where somebody emptied the list, and the right one be refused.
  const fitting = isInUse ? given.filter((key) => fitsWitnesses(key, witnesses)) : given.slice(0, 1);
  if (fitting.length === 0) throw rootKeys.makes ? lostRootKey() : otherMasterKey(witnesses.kekIds, given);
  for (const [index, key] of fitting.entries()) {
    // With rows under both keys that are given, one was taking the place of the other.
    await addMasterKey(database, {
      kekId: key.kekId,
      checkValue: key.checkValue(),
      state: index === 0 ? 'active' : 'retiring',
    });
  }
}

/** In the order of the settings, each once. */
function givenKeys(config: Config, databaseHoldsWrappedKeys: boolean): KeyEncryption[] {
  const keys = resolveMasterKeys(config, databaseHoldsWrappedKeys).map(createKeyEncryption);
  return keys.filter((key, index) => keys.findIndex(({ kekId }) => kekId === key.kekId) === index);
}

/** Seals prove a key; what a row says of it counts only in a database from before rows had seals. */
function fitsWitnesses(key: KeyEncryption, { sealed, kekIds }: KeyWitnesses): boolean {
  if (sealed.length === 0) return kekIds.includes(key.kekId);
  const seals = silentSeals(createMasterKeys([key]));
  return sealed.some((row) => seals.whyNot(row) === undefined);
}

/**
 * Rejects with `StartError` where one that is listed, and not retired, is neither given nor unwrapped, or its check value is
 * another key's; with `KmsError` where a service does not work.
 */
async function requireMasterKeys(config: Config, listed: readonly MasterKeyRow[]): Promise<OpenedKeys> {
  const given = givenKeys(config, true);
  const inUse = listed.filter(({ state }) => state !== 'retired');
  // Nothing is under one that is next: a process without it says so when it serves.
  const needed = inUse.filter(({ state }) => state !== 'next');
  const isMissing = (row: MasterKeyRow): boolean => findGiven(given, row) === undefined;
  const rootKeys = await createRootKeys(config);
  await learnRootKeys(rootKeys, { give: (key) => void given.push(key) }, inUse.filter(isMissing));
  const missing = needed.filter(isMissing);
  const wrapped = missing.filter(isWrapped).map(({ kekId }) => kekId);
  if (wrapped.length > 0) throw notUnwrapped(wrapped, rootKeys.keyNames);
  const hasActive = needed.some(({ state }) => state === 'active');
  if (missing.length > 0 || !hasActive) {
    const ids = missing.map(({ kekId }) => kekId);
    throw otherMasterKey(ids, given);
  }
  const masterKeys = createMasterKeys(given);
  masterKeys.follow(listed);
  return { masterKeys, rootKeys };
}

const notUnwrapped = (kekIds: readonly string[], keyNames: readonly string[]): StartError =>
  new StartError([
    `The database needs the master key ${kekIds.map(named).join(' and ')}, which a key management service has wrapped, and ${keyNames.length === 0 ? 'no service is set' : `${keyNames.join(' and ')} ${keyNames.length === 1 ? 'does' : 'do'} not open it`}. Set MASTER_KEY_KMS or MASTER_KEY_PREVIOUS_KMS to the key of the service that wrapped it.`,
  ]);

const lostRootKey = (): StartError =>
  new StartError([
    'The database has rows under a master key that a key management service wrapped, and no row of master_keys. Restore the rows of that table from a backup of this database: the service alone cannot make the key again.',
  ]);

/** One sentence that names what is needed and what is there. An id tells nothing of its key. */
function otherMasterKey(needed: readonly string[], given: readonly KeyEncryption[]): StartError {
  const needs = needed.length === 0 ? 'a key that its rows do not name' : needed.map(named).join(' and ');
  const names = given.length === 0 ? 'none' : given.map(({ kekId }) => named(kekId)).join(' and ');
  return new StartError([
    `The master key does not match this database: it needs ${needs}, and given ${given.length < 2 ? 'is' : 'are'} ${names}. Set MASTER_KEY or MASTER_KEY_PREVIOUS, or the file of one, to each key that is needed.`,
  ]);
}

const named = (kekId: string): string => (/^[0-9a-f]{16}$/.test(kekId) ? kekId : JSON.stringify(kekId));
