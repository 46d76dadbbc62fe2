/** The signing keys, wrapped under the key-encryption key. */

import { asc, getTableColumns } from 'drizzle-orm';
import type { RowSeals } from '../../use-cases/ports.ts';
import type { Session } from '../engine/database.ts';
import { messageOf, sealedRow } from '../engine/sealed-rows.ts';
import { signingKeys } from '../schema.ts';

export type SigningKeyRow = Omit<typeof signingKeys.$inferSelect, 'createdAt'>;

export async function readSigningKeys(session: Session): Promise<SigningKeyRow[]> {
  const { createdAt: _createdAt, ...columns } = getTableColumns(signingKeys);
  return session.orm('read', (orm) =>
    orm.select(columns).from(signingKeys).orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)),
  );
}

/** Without those that are not what Writ wrote; they are reported. */
export async function readWholeSigningKeys(session: Session, seals: RowSeals): Promise<SigningKeyRow[]> {
  const rows = await readSigningKeys(session);
  return rows.filter((row) => seals.fits(sealedRow('signing_keys', row, row.seal)));
}

/** Adds the key as the active one unless there is one already. */
export async function addFirstSigningKey(
  session: Session,
  key: Omit<SigningKeyRow, 'state' | 'seal'>,
  seals: RowSeals,
): Promise<void> {
  const row = { ...key, state: 'active' } as const;
  await session.orm('write', (orm) =>
    orm
      .insert(signingKeys)
      .values({ ...row, seal: seals.of(messageOf('signing_keys', row)) })
      .onConflictDoNothing(),
  );
}
