/** A secret without its value, as every statement reads it. */

import type { JsonObject } from '../../domain/json/strict-json.ts';
import type { SecretAttributes, SecretRecord } from '../../use-cases/secrets/ports.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { secrets } from '../schema.ts';

/** What a change may give another value; `metadata` as well, which is kept in another form than a record has it. */
const KEPT_ATTRIBUTES = [
  'secretType',
  'tier',
  'description',
  'tags',
  'expiresAt',
  'rotateAfterDays',
  'canary',
] as const;
const KEPT = [
  'id',
  'path',
  'namespace',
  'key',
  'version',
  'createdAt',
  'updatedAt',
  'rotationDueAt',
  ...KEPT_ATTRIBUTES,
] as const;

/** The members of `attributeRow`. */
export const ATTRIBUTE_MEMBERS = [...KEPT_ATTRIBUTES, 'metadata'] as const;

export interface SecretRow extends Omit<SecretRecord, 'metadata'> {
  /** JSON as it was sent. */
  readonly metadata: string | null;
}

/** Of `row`, an alias of `secrets`. */
export const secretColumns = (row: string): string =>
  selectList<SecretRow>(columns(secrets, row, [...KEPT, 'metadata']));

export function attributeRow({ metadata, ...kept }: SecretAttributes) {
  return { ...kept, metadata: metadata === null ? null : JSON.stringify(metadata) };
}

/** The record alone: the row may hold what was read of others beside it. */
export function secretRecordOf(row: SecretRow): SecretRecord {
  const record: Record<string, unknown> = {
    metadata: row.metadata === null ? null : (JSON.parse(row.metadata) as JsonObject),
  };
  for (const member of KEPT) record[member] = row[member];
  return record as unknown as SecretRecord;
}
