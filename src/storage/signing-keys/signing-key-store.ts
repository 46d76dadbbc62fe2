/** The signing keys, wrapped under the key-encryption key. */

import { asc, getTableColumns } from 'drizzle-orm';
import type { Session } from '../engine/database.ts';
import { signingKeys } from '../schema.ts';

export type SigningKeyRow = Omit<typeof signingKeys.$inferSelect, 'createdAt' | 'seal'>;

export async function readSigningKeys(session: Session): Promise<SigningKeyRow[]> {
  const { createdAt: _createdAt, seal: _seal, ...columns } = getTableColumns(signingKeys);
  return session.orm('read', (orm) =>
    orm.select(columns).from(signingKeys).orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)),
  );
}

/** Adds the key as the active one unless there is one already. */
export async function addFirstSigningKey(session: Session, key: Omit<SigningKeyRow, 'state'>): Promise<void> {
  await session.orm('write', (orm) =>
    orm
      .insert(signingKeys)
      .values({ ...key, state: 'active' })
      .onConflictDoNothing(),
  );
}
