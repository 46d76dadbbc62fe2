/** What a change of secrets sends to the statements that write it: rows with their seals, and the sealed values. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { SecretChange } from '../../use-cases/secrets/ports.ts';
import { messageOf } from '../engine/sealed-rows.ts';
import { Rollback } from '../engine/storage-errors.ts';
import { attributeRow, type SecretRow } from './secret-rows.ts';

/** A row that is held, with what its seal covers beside its record. */
export interface HeldRow extends SecretRow {
  readonly expired: boolean;
  readonly firstReadableVersion: number;
}

export interface Sealing {
  readonly held: readonly HeldRow[];
  readonly seals: RowSeals;
}

export type Written = Exclude<SecretChange, { kind: 'delete' }>;

export function creationRow(
  { id, path, namespace, key, attributes }: Extract<SecretChange, { kind: 'create' }>,
  { seals }: Sealing,
) {
  const sealHex = sealHexOf(seals, { id, path, ...attributes, version: 1, firstReadableVersion: 1 });
  return { id, path, namespace, key, ...attributeRow(attributes), sealHex };
}

export function versionRow(
  { id, version, attributes, hidesEarlier }: Extract<SecretChange, { kind: 'add-version' }>,
  { held, seals }: Sealing,
) {
  const row = held.find((known) => known.id === id);
  // It was deleted and made again since it was looked at.
  if (row === undefined) throw new Rollback();
  const firstReadableVersion = hidesEarlier ? version : row.firstReadableVersion;
  const sealHex = sealHexOf(seals, { id, path: row.path, ...attributes, version, firstReadableVersion });
  return { id, version, firstReadableVersion, ...attributeRow(attributes), sealHex };
}

const sealHexOf = (seals: RowSeals, row: Parameters<typeof messageOf<'secrets'>>[1]): string =>
  seals.hexOf(messageOf('secrets', row));

/** In the order of the parameters of `SEAL`: as lists and not as JSON, which has no bytes. */
export function sealedColumns(changes: readonly Written[]): readonly (readonly unknown[])[] {
  return [
    changes.map((change) => change.id),
    changes.map((change) => (change.kind === 'create' ? 1 : change.version)),
    changes.map((change) => change.sealed.wrappedKey),
    changes.map((change) => change.sealed.kekId),
    changes.map((change) => change.sealed.nonce),
    changes.map((change) => change.sealed.ciphertext),
  ];
}
